"""A real listener on a loop in a thread, and raw sockets to talk to it."""

import asyncio
import contextlib
import socket
import threading
import time
from dataclasses import replace
from typing import Self

import uvloop

from exchanges import kinds as exchanges
from modelworks.edge.limits import Limits
from modelworks.edge.listener import Listener, bind

SMALL = replace(
    exchanges.LIMITS,
    min_body_rate=1024,
    write_timeout_s=1.0,
    linger_s=1.0,
    max_pipelined=8,
    max_connections=64,
)


class Served:
    """A listener in a thread of its own; what is in `held` and `streams` the test answers."""

    def __init__(
        self, limits: Limits, *, uvloop: bool = True, tls=None, journal=None, keys=None
    ) -> None:
        self.uvloop = uvloop
        self.tls = tls
        self.journal = journal
        self.keys = keys
        self.grpc = None  # set by those who want calls
        self.held = []
        self.streams = []
        self.seen = []
        self.limits = limits
        self.loop = None
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)

    def _main(self) -> None:
        (uvloop if self.uvloop else asyncio).run(self._run())

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.listener = Listener(
            self.handle, self.limits, self.tls, self.journal, keys=self.keys, grpc=self.grpc
        )
        sock = self.bound()
        await self.listener.start(sock)
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        await self.listener.drain(0.1)

    def bound(self) -> socket.socket:
        """Where to listen."""
        sock = bind("127.0.0.1", 0)
        self.port = sock.getsockname()[1]
        return sock

    def handle(self, exchange) -> None:
        self.seen.append(exchange)
        path = exchange.path
        if path == b"/hold":
            self.held.append(exchange)
        elif path.startswith(b"/stream"):
            self.streams.append(exchange.stream(200, b"text/plain", ((b"X-One", b"1"),)))
            if path == b"/stream-boom":
                raise ValueError("in the middle")
        elif path == b"/boom":
            raise ValueError("a secret of the server")
        elif path == b"/boom-after":
            exchange.reply(200, b"said", b"text/plain")
            raise ValueError("too late")
        elif path == b"/big":
            exchange.reply(200, b"x" * 3_000_000, b"text/plain")
        elif path == b"/empty":
            exchange.reply(204, b"", b"")
        elif path == b"/extra":
            exchange.reply(200, b"{}", b"application/json", ((b"X-One", b"1"), (b"X-Two", b"2")))
        else:
            said = b"%b %b?%b %b" % (exchange.method, path, exchange.query, exchange.body)
            exchange.reply(200, said, b"text/plain")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(15)
        assert not self._thread.is_alive()

    def call(self, work, *arguments):
        """Run on the loop's thread and wait."""

        async def run():
            return work(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def stream(self, place: int = -1):
        """The stream that was begun last, or at a place; waits for it."""
        self.until(lambda: len(self.streams) > max(place, 0))
        return self.streams[place]

    def drain(self, seconds: float) -> None:
        asyncio.run_coroutine_threadsafe(self.listener.drain(seconds), self.loop).result(60)

    def until(self, condition, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "what was waited for did not come"
            time.sleep(0.01)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def talk(self, data: bytes, *, pause: float = 0.0, pieces: int = 1) -> bytes:
        """Send, close our sending side, and read to the end."""
        with self.connect() as sock:
            step = max(1, len(data) // pieces)
            with contextlib.suppress(ConnectionError):
                for i in range(0, len(data), step):
                    sock.sendall(data[i : i + step])
                    if pause:
                        time.sleep(pause)
                sock.shutdown(socket.SHUT_WR)
            return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    """To the end; a reset is told apart."""
    parts = []
    while True:
        data = sock.recv(65536)
        if not data:
            return b"".join(parts)
        parts.append(data)
