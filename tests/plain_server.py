"""A tiny HTTP/1.1 server of raw sockets and threads whose every answer a test decides."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

BEGIN = b"HTTP/1.1 200 OK\r\n"


def answer(body: bytes = b"{}", status: str = "200 OK", further: str = "") -> bytes:
    """A whole answer with its length."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{further}\r\n"
    return head.encode() + body


@dataclass(frozen=True)
class Taken:
    """A request as it came.

    Attributes:
        number: of the server's requests, from 0.
        head: without the empty line.
        body: of it.
    """

    number: int
    head: bytes
    body: bytes

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()


Decide = Callable[[Taken], list[bytes] | bytes | None]
"""An answer, its pieces (sent one by one), or None: the server hangs up. Pieces that end with an
empty one end the connection after them."""


class PlainServer:
    """Serves from threads, one a connection.

    Args:
        decide: the answer to a request.
        unix: path of a socket to listen on; None = a free port of 127.0.0.1.
        context: of TLS.
    """

    def __init__(
        self, decide: Decide, unix: Path | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        self._decide = decide
        self._context = context
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.requests = 0
        self.connections = 0
        if unix is None:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
            self.port = self._listener.getsockname()[1]
            scheme = "http" if context is None else "https"
            host = "127.0.0.1" if context is None else "localhost"
            self.url = f"{scheme}://{host}:{self.port}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(unix))
            self._listener.listen(512)
            self.url = f"unix://{unix}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(taken,), daemon=True)
            with self._lock:
                self.connections += 1
                self._open.add(taken)
                self._threads.append(thread)
            thread.start()

    def _serve(self, taken: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(taken.close)
            if self._context is not None:
                taken = stack.enter_context(self._context.wrap_socket(taken, server_side=True))
            self._answer(taken)

    def _answer(self, taken: socket.socket) -> None:
        """Request after request, until somebody ends the connection."""
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                more = taken.recv(65536)
                if not more:
                    return
                buffer += more
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            length = int(fields.get(b"content-length", 0))
            while len(buffer) < length:
                buffer += taken.recv(1 << 20)
            body, buffer = buffer[:length], buffer[length:]
            with self._lock:
                number = self.requests
                self.requests += 1
            pieces = self._decide(Taken(number, head, body))
            for piece in [pieces] if isinstance(pieces, bytes) else pieces or [b""]:
                if not piece:
                    return
                taken.sendall(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(10)
        with self._lock:
            left = list(self._open)
            threads = list(self._threads)
        for one in left:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
