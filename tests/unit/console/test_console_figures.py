"""The console's arithmetic: expositions, quantiles, rates, sparklines, words."""

import math
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.client.endpoints import Endpoint
from modelworks.console import charts, show
from modelworks.console.exposition import Counts, read
from modelworks.console.observer import Observer
from modelworks.core.model import Evidence, Verdict

pytestmark = pytest.mark.unit

TEXT = """\
# HELP modelworks_requests_total x
modelworks_requests_total{model="",version="",outcome="invalid",code="4xx"} 9
modelworks_requests_total{model="m",version="1.0.0",outcome="success",code="2xx"} 90
modelworks_requests_total{model="m",version="1.0.0",outcome="failed",code="5xx"} 10
modelworks_requests_total{model="m",version="1.0.0",outcome="cancelled",code="none"} 5
modelworks_request_duration_seconds_bucket{model="m",version="1.0.0",stage="total",le="0.001"} 50
modelworks_request_duration_seconds_bucket{model="m",version="1.0.0",stage="total",le="0.01"} 90
modelworks_request_duration_seconds_bucket{model="m",version="1.0.0",stage="total",le="+Inf"} 90
modelworks_request_duration_seconds_bucket{model="m",version="1.0.0",stage="queue",le="+Inf"} 7
other_metric{model="m"} 3
other 3
"""


def test_an_exposition_is_counted_by_model_and_version():
    assert read(TEXT) == {
        ("m", "1.0.0"): Counts(105.0, 10.0, {0.001: 50.0, 0.01: 90.0, math.inf: 90.0})
    }


def test_quantiles_are_linear_within_a_bucket():
    counts = read(TEXT)["m", "1.0.0"]
    assert counts.quantile(0.25) == pytest.approx(0.00045)
    assert counts.quantile(50 / 90) == pytest.approx(0.001)
    assert counts.quantile(70 / 90) == pytest.approx(0.0055)
    assert Counts().quantile(0.5) is None
    assert Counts(1, 0, {0.1: 0.0, math.inf: 1.0}).quantile(0.99) == 0.1


def test_a_server_that_began_anew_counts_from_zero():
    old, new = Counts(100, 1, {math.inf: 100.0}), Counts(3, 0, {math.inf: 3.0})
    assert new.since(old) == new
    assert old.since(new) == Counts(97, 1, {math.inf: 97.0})


@given(st.lists(st.floats(0, 1e9), max_size=80))
def test_a_sparkline_stays_in_its_box(values):
    line, area = charts.sparkline(values, 60)
    points = [tuple(map(float, p.split(","))) for p in line.split()]
    assert len(points) == min(len(values), 60)
    assert all(0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT for x, y in points)
    assert bool(area) == bool(values)


@pytest.mark.parametrize(
    ("span", "text"),
    [(None, "\u2013"), (0.00035, "0.35 ms"), (0.0421, "42 ms"), (0.2, "200 ms"), (2.5, "2.5 s")],
)
def test_seconds(span, text):
    assert show.seconds(span) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.01, "0"), (0.5, "0.5"), (38.4, "38"), (12400, "12,400")]
)
def test_rate(value, text):
    assert show.rate(value) == text


def test_figures_of_evidence_leave_lists_out():
    evidence = Evidence(
        "parity",
        Verdict.PASSED,
        "x",
        {"max_absolute": 1.234567e-7, "rows": 5, "worst": [1], "ok": True, "why": "", "unit": "s"},
    )
    assert show.figures(evidence) == [
        ("max absolute", "1.23e-07"),
        ("rows", "5"),
        ("ok", "yes"),
        ("unit", "s"),
    ]


@pytest.fixture
def counted() -> Iterator[tuple[str, list[int]]]:
    """A server whose counter goes up with each look."""
    count = [0]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            count[0] += 100
            body = (
                f'modelworks_requests_total{{model="m",version="1",outcome="success"}} {count[0]}\n'
                'modelworks_request_duration_seconds_bucket{model="m",version="1",stage="total"'
                f',le="0.002"}} {count[0]}\n'
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", count
    server.shutdown()
    thread.join(10)
    server.server_close()


def _endpoint(url: str, name: str = "up") -> Endpoint:
    return Endpoint(name, url, 1, 0, "up")


def test_the_observer_turns_counters_into_rates(counted):
    url, _ = counted
    listed = [_endpoint(url), _endpoint("http://127.0.0.1:9", "gone")]
    observer = Observer(lambda: listed)
    observer.look()
    assert observer.model("m").past == ()
    time.sleep(0.05)
    observer.look()
    up, gone = observer.view()
    assert up.answers
    assert not gone.answers
    assert up.total.rate > 0
    assert up.traffic["m", "1"].p99 == pytest.approx(0.00198)
    assert observer.model("m").rate == up.total.rate == observer.version("m", "1").rate
    assert observer.version("m", "2").rate == observer.model("x").rate == 0
    listed.clear()
    observer.look()
    assert observer.view() == ()
    assert observer.model("m").past == ()


def test_two_servers_of_one_model_add_up(counted):
    url, _ = counted
    other = url.replace("127.0.0.1", "localhost")
    observer = Observer(lambda: [_endpoint(url), _endpoint(other)])
    observer.look()
    time.sleep(0.05)
    observer.look()
    first, second = observer.view()
    total = first.total.rate + second.total.rate
    assert observer.model("m").rate == pytest.approx(total)


def test_the_observers_thread_begins_and_ends(counted):
    url, count = counted
    observer = Observer(lambda: [_endpoint(url)], period=0.01)
    observer.start()
    observer.start()
    end = time.monotonic() + 20
    while count[0] < 300 and time.monotonic() < end:
        time.sleep(0.01)
    observer.close()
    observer.close()
    assert count[0] >= 300
    assert observer.view()
