"""Servers of this machine, asked over real sockets; dead, slow and lying ones too."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modelworks.client.endpoints import Endpoint
from modelworks.control import endpoints
from modelworks.control.endpoints import Served, Watch
from modelworks.core import codec

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch):
    monkeypatch.setattr(endpoints, "FRESH_SECONDS", 0.0)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.ready, self.stats, self.pause = 200, b"{}", 0.0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(self.server.pause)
        health = self.path == "/v2/health/ready"
        body = b"" if health else self.server.stats
        self.send_response(self.server.ready if health else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def watch(home):
    watch = Watch(home)
    yield watch
    watch.close()


def lists(home, url, pid=None, name="up"):
    folder = home.run / "endpoints"
    folder.mkdir(exist_ok=True)
    entry = Endpoint(name, url, pid or os.getpid(), 1, "up")
    path = folder / f"{name}.json"
    path.write_text(json.dumps(codec.encode(entry)))
    return path


def stats(success, fail=0, ns=0):
    done = {"success": {"count": success, "ns": ns}, "fail": {"count": fail, "ns": 0}}
    entry = {"name": "fraud", "version": "1.0.0", "inference_stats": done}
    return json.dumps({"model_stats": [entry]}).encode()


def test_no_server(watch):
    assert watch.look() == ()


def test_a_server_and_its_rate(home, watch, server):
    lists(home, server.url)
    server.stats = stats(10, 1, ns=30_000)
    (state,) = watch.look()
    assert state.ready
    assert state.models == (Served("fraud", "1.0.0", 10, 1, 3000),)
    assert state.rate == 0.0
    server.stats = stats(110, 1)
    (state,) = watch.look()
    first, second = state.recent
    assert (first.requests, second.requests) == (11, 111)
    assert state.rate == second.rate == pytest.approx(100e9 / (second.at_ns - first.at_ns))


def test_a_server_that_began_anew_has_no_negative_rate(home, watch, server):
    lists(home, server.url)
    server.stats = stats(1000)
    watch.look()
    server.stats = stats(3)
    assert watch.look()[0].rate == 0.0


def test_a_server_that_drains_is_not_ready(home, watch, server):
    lists(home, server.url)
    server.ready = 503
    assert not watch.look()[0].ready


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'{"model_stats": 3}', b'{"model_stats": [3]}', b"\xff"]
)
def test_statistics_that_are_none(home, watch, server, body):
    lists(home, server.url)
    server.stats = body
    (state,) = watch.look()
    assert (state.ready, state.models, state.recent) == (True, (), ())


def test_an_answer_too_long_is_not_read(home, watch, server, monkeypatch):
    monkeypatch.setattr(endpoints, "MAX_BYTES", 20)
    lists(home, server.url)
    server.stats = stats(10)
    assert watch.look()[0].models == ()


def test_a_server_that_hangs_is_not_waited_for(home, watch, server, monkeypatch):
    monkeypatch.setattr(endpoints, "DEADLINE_SECONDS", 0.05)
    lists(home, server.url)
    server.pause = 2.0
    begun = time.monotonic()
    (state,) = watch.look()
    assert not state.ready
    assert time.monotonic() - begun < 1.9


def test_nobody_listens(home, watch, server):
    lists(home, "http://127.0.0.1:1")
    lists(home, "nonsense://", name="odd")
    assert [state.ready for state in watch.look()] == [False, False]


def test_entries_of_the_dead_are_removed(home, watch):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    path = lists(home, "http://127.0.0.1:1", pid=child.pid)
    assert watch.look() == ()
    assert not path.exists()


def test_looks_are_remembered_within_bounds_and_forgotten_with_the_server(
    home, watch, server, monkeypatch
):
    monkeypatch.setattr(endpoints, "KEPT", 3)
    path = lists(home, server.url)
    for count in range(6):
        server.stats = stats(count)
        states = watch.look()
    assert [point.requests for point in states[0].recent] == [3, 4, 5]
    path.unlink()
    watch.look()
    assert watch._points == {}


def test_questions_at_once_share_one_answer(home, watch, server, monkeypatch):
    monkeypatch.setattr(endpoints, "FRESH_SECONDS", 60.0)
    lists(home, server.url)
    server.stats = stats(1)
    assert watch.look() is watch.look()
