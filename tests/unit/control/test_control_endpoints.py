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
from modelworks.control.endpoints import EndpointState, Served, Watch
from modelworks.control.traffic import Traffic
from modelworks.core import codec

pytestmark = pytest.mark.unit


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.ready, self.metrics, self.asked = 200, b"", 0
        self.awake = threading.Event()
        self.awake.set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.awake.wait(60)
        health = self.path == "/v2/health/ready"
        body = b"" if health else self.server.metrics
        self.server.asked += not health
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
    server.awake.set()
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


def metrics(success, failed=0, under_2ms=0, model="fraud"):
    pairs = f'model="{model}",version="1.0.0"'
    requests = "modelworks_requests_total"
    bucket = f'modelworks_request_duration_seconds_bucket{{{pairs},stage="total"'
    return f"""\
{requests}{{{pairs},outcome="success",code="2xx"}} {success}
{requests}{{{pairs},outcome="failed",code="5xx"}} {failed}
{bucket},le="0.002"}} {under_2ms}
{bucket},le="+Inf"}} {under_2ms}
""".encode()


def test_no_server(watch):
    assert watch.look() == watch.states() == ()
    assert watch.model("fraud") == Traffic()


def test_a_server_its_rate_and_its_latency(home, watch, server):
    lists(home, server.url)
    server.metrics = metrics(10, 1)
    (state,) = watch.look()
    assert (state.answers, state.ready) == (True, True)
    assert state.models == (Served("fraud", "1.0.0", Traffic(11, 1)),)
    server.metrics = metrics(100, 11, under_2ms=90)
    (state,) = watch.look()
    assert watch.states() == (state,)
    (served,) = state.models
    assert served.traffic == state.total == watch.model("fraud") == watch.version("fraud", "1.0.0")
    found = state.total
    (point,) = found.recent
    assert (found.requests, found.failures) == (111, 11)
    assert found.rate == point.rate > 0
    assert found.failed == pytest.approx(found.rate / 10)
    assert (found.p50, found.p99) == pytest.approx((0.001, 0.00198))
    assert watch.version("fraud", "2.0.0") == watch.model("x") == Traffic()
    assert codec.decode(EndpointState, codec.encode(state)) == state


def test_two_servers_of_one_model_add_up(home, watch, server):
    lists(home, server.url)
    lists(home, server.url.replace("127.0.0.1", "localhost"), name="other")
    for count in (10, 110):
        server.metrics = metrics(count, under_2ms=count)
        first, second = watch.look()
    found = watch.model("fraud")
    assert found.requests == 220
    assert found.rate == pytest.approx(first.total.rate + second.total.rate)
    assert len(found.recent) == 1


def test_a_server_that_began_anew_has_no_negative_rate(home, watch, server):
    lists(home, server.url)
    for count in (1000, 3):
        server.metrics = metrics(count, under_2ms=count)
        (state,) = watch.look()
    assert state.total.requests == 3
    assert state.total.rate > 0
    assert state.total.p99 == pytest.approx(0.00198)


def test_a_server_that_drains_is_not_ready(home, watch, server):
    lists(home, server.url)
    server.ready = 503
    (state,) = watch.look()
    assert (state.answers, state.ready) == (True, False)


def test_a_server_that_falls_silent_has_no_rate_and_keeps_its_past(home, watch, server):
    lists(home, server.url)
    for count in (0, 100):
        server.metrics = metrics(count)
        watch.look()
    server.metrics = b"\xff"
    (state,) = watch.look()
    assert not state.answers
    assert (state.total.requests, state.total.rate) == (100, 0.0)
    assert [point.rate > 0 for point in state.total.recent] == [True, False]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        metrics("NaN"),
        metrics(-1),
        metrics("1e300"),
        metrics("many"),
        metrics(1).replace(b'le="0.002"', b'le="NaN"'),
        metrics(1).replace(b'le="0.002"', b'less="0.002"'),
    ],
)
def test_metrics_that_are_none(home, watch, server, body):
    lists(home, server.url)
    server.metrics = body
    (state,) = watch.look()
    assert (state.answers, state.ready, state.models) == (False, True, ())


def test_an_answer_too_long_is_not_read(home, watch, server, monkeypatch):
    monkeypatch.setattr(endpoints, "MAX_BYTES", 20)
    lists(home, server.url)
    server.metrics = metrics(10)
    assert not watch.look()[0].answers


def test_a_server_that_hangs_is_not_waited_for(home, watch, server, monkeypatch):
    monkeypatch.setattr(endpoints, "DEADLINE_SECONDS", 0.05)
    lists(home, server.url)
    server.awake.clear()
    begun = time.monotonic()
    (state,) = watch.look()
    assert (state.answers, state.ready) == (False, False)
    assert time.monotonic() - begun < 30


def test_nobody_listens(home, watch):
    lists(home, "http://127.0.0.1:1")
    lists(home, "nonsense://", name="odd")
    assert [state.answers for state in watch.look()] == [False, False]


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
    times = []
    for count in range(6):
        server.metrics = metrics(count)
        times.append([point.at_ns for point in watch.look()[0].total.recent])
    assert [len(points) for points in times] == [0, 1, 2, 2, 2, 2]
    assert times[-1] == sorted(times[-1])
    assert times[-1][0] == times[-2][1]
    path.unlink()
    assert watch.look() == ()
    assert watch.model("fraud") == Traffic()


def test_the_thread_begins_and_ends(home, server):
    lists(home, server.url)
    watch = Watch(home, period=0.01)
    watch.start()
    watch.start()
    end = time.monotonic() + 20
    while server.asked < 3 and time.monotonic() < end:
        time.sleep(0.01)
    watch.close()
    watch.close()
    assert watch.states()[0].answers
    asked = server.asked
    time.sleep(0.05)
    assert server.asked == asked >= 3
