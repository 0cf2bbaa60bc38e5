"""HTTP over a Unix socket, for urllib3."""

import socket
from typing import Any

from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError


class _UnixConnection(HTTPConnection):
    """Connects to a path; `host` is only what the Host header says."""

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__("localhost", **options)
        self._path = path

    def _new_conn(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if isinstance(self.timeout, int | float):
                sock.settimeout(self.timeout)
            sock.connect(self._path)
        except TimeoutError as error:
            sock.close()
            raise ConnectTimeoutError(self, f"no answer at {self._path}") from error
        except OSError as error:
            sock.close()
            raise NewConnectionError(self, f"{self._path}: {error}") from error
        return sock


class UnixPool(HTTPConnectionPool):
    """Kept-alive connections to one path.

    Args:
        path: of the socket.
        maxsize: connections that are kept.
    """

    def __init__(self, path: str, maxsize: int) -> None:
        super().__init__("localhost", maxsize=maxsize, retries=False)
        self._path = path

    def _new_conn(self) -> _UnixConnection:
        return _UnixConnection(self._path, timeout=self.timeout.connect_timeout)
