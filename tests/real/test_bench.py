"""`modelworks bench` against real servers: ours, a plain one of another library; wrk beside it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

import pytest

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.measure import picture, wrk
from modelworks.measure.aim import Asked, aim
from modelworks.measure.charts import Chart
from modelworks.measure.exchange import get_json
from modelworks.measure.inputs import Wanted
from modelworks.measure.load import Load, run
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.observe import observe
from modelworks.measure.parallel import run_parallel
from modelworks.measure.target import parse_target
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server

pytestmark = [pytest.mark.real, pytest.mark.alone]
TINY = """
import asyncio, sys, uvloop
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}"
class Tiny(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(ANSWER)
async def main():
    server = await asyncio.get_running_loop().create_server(Tiny, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
uvloop.run(main())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = models.double(tmp_path_factory.mktemp("bench") / "double.onnx", width=30)
    with Server(["--file", str(path), "--name", "double"]) as running:
        yield running


@contextlib.contextmanager
def tiny_server(code):
    """Runs that code until the block ends; gives its target."""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield parse_target(f"http://127.0.0.1:{process.stdout.readline().strip()}/x")
        finally:
            process.stdin.close()


@pytest.fixture(scope="module")
def tiny():
    """The least that a server can do, so that the generator is what is measured."""
    with tiny_server(TINY) as target:
        yield target


def bench(*arguments):
    return [sys.executable, "-m", "modelworks.cli.main", "bench", *arguments]


def told(*arguments):
    done = subprocess.run(
        bench(*arguments, "--json"), capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_our_server_whole(server, tmp_path):
    page = tmp_path / "page.html"
    found = told(
        *("double", "--url", server.url, "-c", "1,4,16", "-s", "1", "--warm", "0.2", "--check"),
        *("--html", str(page)),
    )
    assert found["server_pids"] == [server.pid]
    assert found["wrong_answers"] == 0
    assert page.stat().st_size > 10_000
    points = found["sweeps"][0]["points"]
    for point in points:
        assert point["failed"] == 0
        assert point["predictions_s"] > 50
        assert 1 < point["cpu_us_a_prediction"] < 20_000
        assert 1 <= point["batches"]["mean"] <= point["connections"]
    assert points[-1]["batches"]["mean"] > points[0]["batches"]["mean"] == 1


def test_the_servers_own_count_is_the_generators(server):
    target = parse_target(f"{server.url}/v2/models/double")
    found = aim(target, Asked(Wanted(rows=3, binary=True)))
    load = Load(found.target, found.requests, connections=5, seconds=1, warm_s=0.2, rows=3)
    point = observe(load, run, found.server)
    assert point.loaded.failed == 0
    assert point.batches.rows == 3 * point.loaded.every
    assert sum(size * count for size, count in point.batches.sizes) == point.batches.rows


@pytest.mark.parametrize(
    "arguments",
    [
        ("--binary", "--batch", "8"),
        ("--rows", json.dumps([[0.5] * 30] * 3), "--batch", "2"),
        ("--rate", "100,200", "--arrivals", "poisson", "--deadline", "1000"),
        ("--processes", "2"),
        ("--requests", "50"),
        ("--generator", "auto", "-s", "1"),
    ],
    ids=["binary", "rows", "open", "processes", "requests", "auto"],
)
def test_every_way_to_ask(server, arguments):
    found = told("double", "--url", server.url, "-c", "4", "-s", "0.5", "--warm", "0", *arguments)
    for point in found["sweeps"][0]["points"]:
        assert point["failed"] == 0, point
        assert point["latency"]["count"] > 10


def test_overload_is_shown_and_refusals_are_not_mixed_into_latencies(tmp_path):
    """A server that can hold two requests, of a model that takes milliseconds."""
    path = models.heavy(tmp_path / "heavy.onnx", layers=16, width=1024)
    served = ["--file", str(path), "--name", "heavy"]
    with Server([*served, "--max-queue-size", "2"]) as running:
        target = parse_target(f"{running.url}/v2/models/heavy")
        found = aim(target, Asked(Wanted(bodies=4)))
        load = Load(found.target, found.requests, connections=4, seconds=1.0, warm_s=0.2)
        alone = run(Load(found.target, found.requests, seconds=1.0))
        flooded = Load(
            load.target,
            load.requests,
            connections=64,
            rate=max(30.0, 6 * alone.throughput),
            seconds=1.5,
            deadline_s=1.0,
            warm_s=0.2,
        )
        over = run(flooded)
    assert alone.failed == 0
    assert over.statuses.get(503, 0) > 0, over.statuses
    assert over.refused.count == over.statuses[503]
    assert over.latency.count == over.statuses[200]
    assert set(over.statuses) == {200, 503}


def test_it_is_fast_enough_for_one_core(tiny):
    """CPU time, not wall time: other work on the machine slows it, but makes it use no more."""
    requests = [request_bytes(tiny, Body(b"[1.5, 2.5]" * 30)) for _ in range(64)]
    load = Load(tiny, requests, connections=64, seconds=2.0, warm_s=0.2)
    found = run(load)
    assert found.failed == 0
    used = found.cpu * (load.seconds + load.warm_s)
    assert found.every / used > 25_000


@pytest.fixture
def unhurried():
    """A server whose pace is a clock's, so that both generators have time to spare."""
    later = "self.transport.write(ANSWER)"
    code = TINY.replace(later, f"asyncio.get_running_loop().call_later(0.02, lambda: {later})")
    assert code != TINY
    with tiny_server(code) as target:
        yield target


def test_wrk_sees_what_our_generator_sees(unhurried):
    if shutil.which("wrk") is None:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say("needs wrk: apt-get install wrk")
    requests = [request_bytes(unhurried, Body(b"[1.5]"))]
    load = Load(unhurried, requests, connections=8, seconds=1.0, warm_s=0.0)
    rounds = [(run(load), wrk.run_wrk(load)) for _ in range(5)]
    ratio = statistics.median(ours.throughput / theirs.throughput for ours, theirs in rounds)
    assert 0.75 < ratio < 1.33, ratio
    middle = statistics.median(
        ours.service.percentile(50) / theirs.latency.percentile(50) for ours, theirs in rounds
    )
    assert 0.75 < middle < 1.33, middle
    for ours, theirs in rounds:
        assert ours.failed == theirs.failed == 0
        assert ours.service.percentile(0.1) >= 19_000_000
        # wrk's histogram came over whole: a latency a request, and more after a stall.
        assert theirs.latency.count >= theirs.answered > 100
        # Little's law: connections = throughput x time in the system.
        inside = ours.throughput * ours.latency.latency().mean
        assert 7 < inside < 8.2, inside


def test_two_processes_share_the_load(tiny):
    requests = [request_bytes(tiny, Body(b"[1.5]"))]
    load = Load(tiny, requests, most=1001, connections=5, seconds=30, warm_s=0)
    found = run_parallel(load, 2)
    assert found.latency.count == found.every == 1001
    assert found.failed == 0
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        nobody = parse_target(f"http://127.0.0.1:{held.getsockname()[1]}/x")
        with pytest.raises(UnavailableError, match="no connection"):
            run_parallel(Load(nobody, requests, connections=2), 2)


def test_a_picture(tiny, tmp_path):
    pytest.importorskip("matplotlib", reason='pip install "modelworks[plots]"')
    body, path = tmp_path / "body.json", tmp_path / "a.png"
    body.write_text("[1]")
    told(tiny.url, "--body", str(body), "-c", "1,2", "-s", "0.3", "--png", str(path))
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) > 20_000
    with pytest.raises(InvalidError, match="cannot be written"):
        picture.write_png(tmp_path / "none" / "a.png", "title", [Chart("t", "x", "y", ())])


def test_ctrl_c_prints_what_was_measured(server):
    command = bench("double", "--url", server.url, "-c", "2", "-s", "60", "--warm", "0", "--json")
    with subprocess.Popen(
        ["env", "--default-signal=INT", *command],  # a shell's background jobs ignore it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        before = requests_of(server)
        end = time.monotonic() + 60
        while requests_of(server) < before + 200 and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    found = json.loads(out)
    assert found["sweeps"][0]["points"][0]["interrupted"]
    assert found["sweeps"][0]["points"][0]["answered"] > 100


def requests_of(server) -> int:
    stats = get_json(parse_target(f"{server.url}/v2/models/double/stats"))
    return stats["model_stats"][0]["inference_count"]
