"""Connections for the load generator: opened at first in order, later without waiting."""

import contextlib
import errno
import socket
import ssl

from modelworks.measure.target import Target

_BUSY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_HANDSHAKE_S = 5.0


class Sockets:
    """Makes connections to one target.

    Args:
        target: of every connection.

    Raises:
        InvalidError: certificates that cannot be read.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._context = target.context()
        self._family = socket.AF_UNIX if target.unix else socket.AF_INET
        self._address: object = target.unix

    def open(self) -> socket.socket:
        """A connected socket.

        Raises:
            UnavailableError: nothing listens there.
        """
        opened = self._target.connect(self._context)
        if not self._target.unix:
            self._family = opened.family
            self._address = opened.getpeername()
        return opened

    def begin(self) -> socket.socket:
        """A socket that connects to where the last one did; writable once it has.

        A TLS handshake is waited for: it stands in the way of the other connections.

        Raises:
            OSError: it cannot.
        """
        if self._context is not None:
            return self._secured(self._context)
        made = socket.socket(self._family, socket.SOCK_STREAM)
        made.settimeout(0)
        if self._family != socket.AF_UNIX:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = made.connect_ex(self._address)  # type: ignore[arg-type] # what getpeername gave
        if code not in {0, errno.EINPROGRESS}:
            made.close()
            raise OSError(code, "no connection")
        return made

    def connected(self, sock: socket.socket) -> bool:
        """Whether a socket that became writable is connected."""
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0

    @staticmethod
    def would_block(error: OSError) -> bool:
        """Whether the operation is only to be tried again later."""
        return isinstance(error, _BUSY)

    def _secured(self, context: ssl.SSLContext) -> socket.socket:
        made = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            made.settimeout(_HANDSHAKE_S)
            made.connect(self._address)  # type: ignore[arg-type] # what getpeername gave
            return context.wrap_socket(made, server_hostname=self._target.host)
        except OSError:
            with contextlib.suppress(OSError):
                made.close()
            raise
