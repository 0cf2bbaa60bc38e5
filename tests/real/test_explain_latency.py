"""explain-latency and learn mode over the wire: real servers, a slow model, clients that wait."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server

pytestmark = [pytest.mark.real, pytest.mark.alone]
WIDTH = 256
INPUT = {"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": [0.5] * WIDTH}
COMMAND = (sys.executable, "-m", "modelworks.cli.main", "explain-latency")
BODY = json.dumps({"inputs": [INPUT]}).encode()


@pytest.fixture(scope="module")
def heavy(tmp_path_factory):
    """Milliseconds a call, and hardly more for many rows."""
    return models.heavy(tmp_path_factory.mktemp("models") / "heavy.onnx", layers=40, width=WIDTH)


def serving(path, *arguments):
    return Server(["--file", str(path), "--name", "m", *arguments])


class Clients:
    """Each waits for its answer before it asks again; every answer has to be 200."""

    def __init__(self, address, count):
        self.address = address
        self.answered = 0
        self.problems = []
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def _ask(self):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            self._go_on(connection)
        except (OSError, http.client.HTTPException) as error:
            self.problems.append(repr(error))
        finally:
            connection.close()

    def _go_on(self, connection):
        while not self._over.is_set():
            connection.request("POST", "/v2/models/m/infer", BODY)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                self.problems.append(body)
            with self._lock:
                self.answered += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(30)


def typed(*arguments, url, check=0):
    done = subprocess.run(
        [*COMMAND, *arguments, "--url", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == check, done.stderr + done.stdout
    return done


def document(url, *arguments):
    return json.loads(typed("m", "--json", *arguments, url=url).stdout)


def counted(url, requests):
    """The document in which all workers have counted what they answered."""
    for _ in range(20):
        whole = document(url)
        if whole["stages"]["total"]["count"] == requests:
            break
        time.sleep(0.2)
    return whole


def test_all_workers_are_explained_and_a_window_is_watched(heavy):
    with serving(heavy, "--workers", "2") as server:
        with Clients(server.address, 6) as clients:
            window = document(server.url, "--seconds", "2")
        whole = counted(server.url, clients.answered)
        text = typed("m:1.0.0", url=server.url).stdout
    assert clients.problems == []
    assert whole["stages"]["total"]["count"] == clients.answered
    assert len(whole["workers"]) == 2
    assert sum(worker["calls"] for worker in whole["workers"]) == whole["calls"]
    assert 1.9 <= window["seconds"] < 20
    assert 0 < window["stages"]["total"]["count"] < clients.answered
    assert sum(row["calls"] for row in window["batches"]) == window["calls"]
    parts = [row for row in window["waterfall"] if row["stage"] != "total"]
    # calls that were under way at either end of the window have some of their stages in it
    assert sum(row["share"] for row in parts) == pytest.approx(1, abs=0.15)
    for word in ("queue", "compute", "why they were not larger", "calls run", "what would help"):
        assert word in text
    assert f"{clients.answered} requests answered" in text


def test_a_goal_is_learnt_within_the_limits(heavy):
    goal, size = 2000.0, 16
    arguments = ("--latency-goal-ms", str(goal), "--max-batch-size", str(size))
    with serving(heavy, *arguments) as server:
        with Clients(server.address, 12) as clients:
            until = time.monotonic() + 40
            while time.monotonic() < until:
                time.sleep(2)
                learning = document(server.url)["learning"]
                if {"keep", "back"} & {one["step"] for one in learning["decisions"]}:
                    break
            window = document(server.url, "--seconds", "2")
        text = typed("m", url=server.url).stdout
        log = server.log
    assert clients.problems == []
    decisions = window["learning"]["decisions"]
    assert decisions[0]["step"] == "start"
    assert {"keep", "back"} & {one["step"] for one in decisions}, decisions
    assert all(1 <= one["setting"]["max_batch_size"] <= size for one in decisions)
    assert all(0 <= one["setting"]["max_delay_ms"] <= goal / 2 for one in decisions)
    assert all(one["seen"]["requests"] >= 100 for one in decisions[1:])
    assert window["workers"][0]["max_batch_size"] == window["learning"]["setting"]["max_batch_size"]
    total = window["waterfall"][-1]
    assert total["p99"]["ns"] < goal * 1e6
    assert "learnt by worker 0" in text
    assert "m:1.0.0: start: batches of" in log


def test_a_goal_that_no_setting_meets_is_told_at_once(heavy):
    with serving(heavy, "--latency-goal-ms", "0.05") as server:
        with Clients(server.address, 2) as clients:
            time.sleep(3)
        found = document(server.url)
        log = server.log
    assert clients.problems == []
    assert found["learning"]["missed"]
    assert found["learning"]["decisions"][0]["step"] == "impossible"
    assert found["learning"]["setting"]["max_delay_ms"] == 0  # what is nearest to it stays
    assert any("goal of 0.05 ms is missed" in one["finding"] for one in found["verdict"])
    assert "impossible" in log


def test_a_worker_killed_within_the_window_loses_no_count(heavy):
    with serving(heavy, "--workers", "2") as server, Clients(server.address, 4) as clients:
        time.sleep(1)
        watching = subprocess.Popen(
            [*COMMAND, "m", "--json", "--seconds", "4", "--url", server.url],
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(1.5)
        victim = document(server.url)["workers"][0]["pid"]
        os.kill(victim, signal.SIGKILL)
        out, _ = watching.communicate(timeout=60)
    assert watching.returncode == 0, out
    found = json.loads(out)
    assert found["stages"]["total"]["count"] > 0
    assert all(row["calls"] > 0 for row in found["batches"])
    assert clients.answered > 0


@contextmanager
def foreign(server):
    """Another inference server: it has the model `m` and no page on latency."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            known = {"/v2": server, "/v2/models/m": {"name": "m", "inputs": []}}
            body = known.get(self.path)
            data = json.dumps(body or {"error": "not found"}).encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        thread.join(10)
        listening.server_close()


def test_what_another_server_does_not_tell_is_said_with_the_cure(heavy):
    with foreign({"name": "triton", "version": "2.50"}) as url:
        done = typed("m", url=url, check=4)
        assert "triton 2.50" in done.stderr
        assert "modelworks bench" in done.stderr
        typed("nobody", url=url, check=3)
    with foreign({"name": "modelworks", "version": "0.0.1"}) as url:
        assert "update it" in typed("m", url=url, check=4).stderr
    typed("m", url="http://127.0.0.1:9", check=6)
    with serving(heavy) as server:
        assert "no model 'nobody'" in typed("nobody", url=server.url, check=3).stderr
        assert "too few" in typed("m", url=server.url).stdout
        assert json.loads(typed("m", "--json", url=server.url).stdout)["verdict"]
