"""The closed loop counts what was answered, and knows a broken connection from a failure."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.measure.closed import closed_loop

pytestmark = pytest.mark.unit


@pytest.fixture
def url() -> Iterator[str]:
    """Every third answer is a 503; /gone hangs up."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        seen = 0

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/gone":
                self.close_connection = True
                return
            Handler.seen += 1
            self.send_response(503 if Handler.seen % 3 == 0 else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_answers_and_failures_are_counted(url):
    found = closed_loop(f"{url}/x", b"{}", 60.0, warm=0, most=30)
    assert (found.requests, found.failed) == (20, 10)
    assert 0 < found.p50 <= found.p99
    assert found.rate > 0


def test_the_clock_ends_it(url):
    found = closed_loop(f"{url}/x", b"{}", 0.05, warm=1)
    assert 0 < found.requests + found.failed < 100_000


def test_hanging_up_is_unavailable(url):
    with pytest.raises(UnavailableError):
        closed_loop(f"{url}/gone", b"{}", 1.0)


def test_nobody_there():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(UnavailableError) as caught:
            closed_loop(f"http://127.0.0.1:{held.getsockname()[1]}/x", b"{}", 1.0)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize("text", ["", "https://127.0.0.1/x", "127.0.0.1:80/x"])
def test_no_url(text):
    with pytest.raises(InvalidError):
        closed_loop(text, b"", 1.0)
