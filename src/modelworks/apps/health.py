"""Whether the server of this container is ready: 0 is yes. `python -m modelworks.apps.health`.

For health checks in images that have no `curl`. It reads the server's own settings. Where there is
a Unix socket, that is asked: the port may be shared with others, and may want a certificate of its
callers. Else the port is; its certificate is not looked at, for the answer does not leave the
machine.
"""

import os
import socket
import ssl
import sys
from typing import Final

_PREFIX: Final = "MODELWORKS_SERVER_"
_ASK: Final = b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_GOOD: Final = b"HTTP/1.1 200 "
_WAIT_S: Final = 5.0


def ready(host: str, port: int, *, tls: bool = False, wait_s: float = _WAIT_S) -> str:
    """Why it is not ready; empty = it is.

    Args:
        host: to ask; where the server listens on all addresses, this machine's own.
        port: of it.
        tls: it speaks TLS.
        wait_s: for each step.
    """
    here = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - what a server may listen on
    try:
        with (
            socket.create_connection((here, port), timeout=wait_s) as plain,
            _wrapped(plain, tls=tls) as asked,
        ):
            return _asked(asked)
    except OSError as error:
        return f"{here}:{port} does not answer: {error}"


def ready_unix(path: str, *, wait_s: float = _WAIT_S) -> str:
    """The same of the server that listens on a Unix socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.settimeout(wait_s)
            asked.connect(path)
            return _asked(asked)
    except OSError as error:
        return f"{path} does not answer: {error}"


def _asked(asked: socket.socket) -> str:
    asked.sendall(_ASK)
    answer = asked.recv(256)
    if answer.startswith(_GOOD):
        return ""
    said = answer.partition(b"\r")[0].decode(errors="replace")
    return f"not ready: {said or 'no answer'}"


def _wrapped(plain: socket.socket, *, tls: bool) -> socket.socket:
    if not tls:
        return plain
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)


def main() -> int:
    """Ask the server that has this environment."""
    told = {
        name.removeprefix(_PREFIX): value
        for name, value in os.environ.items()
        if name.startswith(_PREFIX)
    }
    if path := told.get("UNIX"):
        why = ready_unix(path)
    else:
        port, tls = int(told.get("PORT", "8000")), bool(told.get("TLS_CERT"))
        why = ready(told.get("HOST", ""), port, tls=tls)
    if why:
        print(why, file=sys.stderr)  # noqa: T201 - what `docker inspect` shows
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main())
