"""A gateway on a loop in a thread, upstreams that do as a test says, and raw sockets to talk."""

import asyncio
import contextlib
import functools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import uvloop

from modelworks.core import codec
from modelworks.core.discovery import Finder
from modelworks.core.routes import Arm, Endpoint, Route, Snapshot, Span
from modelworks.edge.journal import Journal
from modelworks.edge.limits import Limits
from modelworks.edge.listener import Listener, bind
from modelworks.gateway.caller import Caller
from modelworks.gateway.checks import Checks
from modelworks.gateway.counts import Counts
from modelworks.gateway.front import Front, Ways
from modelworks.gateway.names import Names
from modelworks.gateway.own import Own
from modelworks.gateway.shadows import Shadows
from modelworks.gateway.table import Maker
from modelworks.protocol.routes.access import Access
from modelworks.protocol.routes.limits import Table as LimitTable

LIMITS = replace(Limits(), linger_s=1.0, idle_timeout_s=20.0, max_body_bytes=1 << 40)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


def one(*urls: str, name: str = "r", **route: Any) -> Route:
    """A route of one arm."""
    arm = Arm(name=f"{name}/1", endpoints=tuple(Endpoint(url) for url in urls))
    return Route(name=name, arms=(arm,), spans=(Span(0, 10_000, arm.name),), **route)


def snapshot(*routes: Route, generation: int = 1, **more: Any) -> Snapshot:
    return Snapshot(generation=generation, routes=routes, **more)


def as_json(made: Snapshot) -> bytes:
    return json.dumps(codec.encode(made)).encode()


@functools.cache
def _context() -> ssl.SSLContext:
    """The system's authorities, read once."""
    return ssl.create_default_context()


class Door:
    """A gateway's front in a thread of its own; no process, no signals."""

    def __init__(
        self,
        *routes: Route,
        ways: Ways | None = None,
        limits: Limits = LIMITS,
        zone: str = "",
        checks: float = 0.0,
        journal: Journal | None = None,
        shadows: Shadows | None = None,
        finder: Finder | None = None,
        **more: Any,
    ) -> None:
        self.counts = Counts()
        self.front = Front(ways or Ways(), self.counts, shadows or Shadows(), journal)
        self.own = Own(self.front)
        self.limits = limits
        table = LimitTable()
        self.names = Names(lambda _: finder)
        self.maker = Maker(
            self.counts,
            zone,
            lambda given: Access(given, None, table),
            _context(),
            self.names.expand,
        )
        self.names.follow(snapshot(*routes))
        self.front.swap(self.maker.make(snapshot(*routes, **more), None))
        self._checks = checks
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), daemon=True)

    async def _run(self) -> None:
        self.front.loop = asyncio.get_running_loop()
        sock = bind("127.0.0.1", 0)
        self.port = sock.getsockname()[1]
        self.listener = Listener(
            lambda exchange: None,
            self.limits,
            made=lambda hub: Caller(hub, self.front, self.own),
        )
        await self.listener.start(sock)
        self._stop = asyncio.Event()
        checking = None
        if self._checks:
            checking = asyncio.create_task(Checks(self.front, self._checks).run())
        self._ready.set()
        await self._stop.wait()
        if checking is not None:
            checking.cancel()
        await self.listener.drain(0.1)
        self.front.shadows.close()
        for place in self.front.table.places.values():
            place.end()
        await asyncio.sleep(0.01)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.front.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(15)
        assert not self._thread.is_alive()

    def swap(self, *routes: Route, generation: int = 2, **more: Any) -> None:
        """Other routes, made here and taken by the loop."""
        made = self.maker.make(snapshot(*routes, generation=generation, **more), self.front.table)
        self.call(lambda: self.front.swap(made))

    def call(self, work: Callable[[], Any]) -> Any:
        """Run on the loop's thread and wait."""

        async def run() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.front.loop).result(10)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def talk(self, data: bytes, *, pieces: int = 1) -> bytes:
        """Send, close our sending side, and read to the end."""
        with self.connect() as sock:
            step = max(1, len(data) // pieces)
            with contextlib.suppress(ConnectionError):
                for i in range(0, len(data), step):
                    sock.sendall(data[i : i + step])
                sock.shutdown(socket.SHUT_WR)
            parts = []
            while part := sock.recv(65536):
                parts.append(part)
            return b"".join(parts)

    def ask(self, target: str = "/x", body: bytes | None = None, **headers: str) -> tuple:
        """One request; status, headers (lower case), body."""
        method = "GET" if body is None else "POST"
        lines = [f"{method} {target} HTTP/1.1", "Host: a", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        with self.connect() as sock:
            sock.sendall("\r\n".join([*lines, "", ""]).encode() + (body or b""))
            return read_answer(sock)

    def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "what was waited for did not come"
            time.sleep(0.005)

    def route(self, name: str = "r"):
        """Its counts."""
        return self.counts.routes[name]


def read_head(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, and what was read behind them."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        assert part, data
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(first.split(" ")[1]), headers, rest


def read_answer(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One whole answer, de-chunked."""
    status, headers, body = read_head(sock)
    if headers.get("transfer-encoding") == "chunked":
        while not body.endswith(b"0\r\n\r\n"):
            part = sock.recv(65536)
            assert part, "the answer was cut off"
            body += part
        plain, rest = b"", body
        while True:
            size, _, rest = rest.partition(b"\r\n")
            if int(size, 16) == 0:
                return status, headers, plain
            plain += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
    length = headers.get("content-length")
    body = bytearray(body)
    while length is None or len(body) < int(length):
        part = sock.recv(65536)
        if not part:
            assert length is None, "the answer was cut off"
            break
        body += part
    return status, headers, bytes(body)


class Asked:
    """One request as an upstream got it."""

    def __init__(self, sock: socket.socket, head: bytes, body: bytes, connection: int) -> None:
        self.sock = sock
        self.head = head
        self.body = body
        self.connection = connection
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                assert name.lower() not in self.headers, f"{name} comes twice"
                self.headers[name.lower()] = value.strip()


class Upstream:
    """A server of one thread a connection; `act(asked)` answers on `asked.sock`, False = close."""

    def __init__(self, act: Callable[[Asked], Any] | None = None, port: int = 0) -> None:
        self.act = act or (lambda asked: asked.sock.sendall(OK))
        self.asked: list[Asked] = []
        self.ended = 0
        self._connections = 0
        self._socks: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self._server.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nobody listens any more, and every connection is reset."""
        self.over = True
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for sock in list(self._socks):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self.over:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            self._socks.add(sock)
            self._connections += 1
            number = self._connections
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), sock:
            data = b""
            while not self.over:
                while b"\r\n\r\n" not in data:
                    part = sock.recv(65536)
                    if not part:
                        return
                    data += part
                head, _, data = data.partition(b"\r\n\r\n")
                body, data = self._body(sock, head, data)
                asked = Asked(sock, head, body, number)
                if asked.target == "/v2/health/ready":
                    sock.sendall(OK)
                    continue
                self.asked.append(asked)
                if self.act(asked) is False:
                    return
        self._socks.discard(sock)
        self.ended += 1

    @staticmethod
    def _body(sock: socket.socket, head: bytes, data: bytes) -> tuple[bytes, bytes]:
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            plain = b""
            while True:
                while b"\r\n" not in data:
                    data += sock.recv(65536)
                size, _, data = data.partition(b"\r\n")
                need = int(size, 16)
                while len(data) < need + 2:
                    data += sock.recv(65536)
                plain, data = plain + data[:need], data[need + 2 :]
                if not need:
                    return plain, data
        _, _, rest = lower.partition(b"content-length:")
        length = int(rest.split(b"\r\n")[0]) if rest else 0
        while len(data) < length:
            part = sock.recv(65536)
            if not part:
                return data, b""
            data += part
        return data[:length], data[length:]
