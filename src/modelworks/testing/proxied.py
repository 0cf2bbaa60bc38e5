"""What stands behind a proxy in tests: small servers that say who they are, and its callers."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

from modelworks.core.routes import BUCKETS, Arm, Endpoint, Route, Snapshot, Span

MODEL = "fraud"
PATH = f"/v2/models/{MODEL}/infer"


class Upstream(ThreadingHTTPServer):
    """A server behind the proxy.

    Attributes:
        said: what it answers.
        status: of its answers.
        slow_s: how long it takes.
        ready: whether it takes requests.
        asked: requests but for looks at its health.
        headers: of the last one.
        bodies: sizes of what came.
        held: its connections.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, said: str, port: int) -> None:
        self.said = said
        self.status = 200
        self.slow_s = 0.0
        self.ready = True
        self.asked = 0
        self.headers: Mapping[str, str] = {}
        self.bodies: Counter[int] = Counter()
        self.lock = threading.Lock()
        self.held: list[socket.socket] = []
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection, which ends with the server."""
        found, address = super().get_request()
        self.held.append(found)
        return found, address

    def handle_error(self, *_: Any) -> None:
        """A connection that ended: nothing."""

    @property
    def url(self) -> str:
        """Of it."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """A look at its health."""
        self._say(200 if self.server.ready else 503, b"ready")

    def do_POST(self) -> None:
        """A request."""
        size = len(self.rfile.read(int(self.headers.get("content-length", 0))))
        with self.server.lock:
            self.server.asked += 1
            self.server.headers = {name.lower(): text for name, text in self.headers.items()}
            self.server.bodies[size] += 1
        time.sleep(self.server.slow_s)
        self._say(self.server.status, self.server.said.encode())

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_: Any) -> None:
        """Nothing."""

    def log_error(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def upstream(said: str, port: int) -> Iterator[Upstream]:
    """One, from its start to its end."""
    server = Upstream(said, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        for held in server.held:
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def arm(name: str, *urls: str, **fields: Any) -> Arm:
    """An arm with its servers."""
    return Arm(name, endpoints=tuple(Endpoint(url) for url in urls), **fields)


def snapshot(arms: list[Arm], shares: Sequence[float], **fields: Any) -> Snapshot:
    """One route of a model, whose first arm is the stable one."""
    spans, at = [], 0
    for one, share in zip(arms, shares, strict=True):
        width = round(share * BUCKETS)
        if width:
            spans.append(Span(at, at + width, one.name))
        at += width
    route = Route("fraud", tuple(arms), tuple(spans), model=MODEL, **fields)
    return Snapshot(1, (route,))


class Caller:
    """Asks through a proxy, on connections that it keeps.

    Args:
        port: of the proxy.
    """

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._pool = urllib3.PoolManager(maxsize=8, retries=False, timeout=urllib3.Timeout(10))

    def ask(
        self, headers: Mapping[str, str] | None = None, path: str = PATH, body: bytes = b"{}"
    ) -> tuple[int, str]:
        """Status and what was said."""
        found = self._pool.request(
            "POST", self._url + path, body=body, headers=dict(headers or {}), preload_content=True
        )
        return found.status, found.data.decode()

    def who(self, headers: Mapping[str, str] | None = None) -> str:
        """Who answered, with 200.

        Raises:
            AssertionError: something else came.
        """
        status, said = self.ask(headers)
        assert status == 200, (status, said)
        return said

    def cookie(self) -> tuple[str, str]:
        """What a caller without a cookie is given, and who answered."""
        found = self._pool.request("POST", self._url + PATH, body=b"{}")
        assert found.status == 200, found.status
        return found.headers["set-cookie"].partition(";")[0], found.data.decode()
