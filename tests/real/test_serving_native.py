"""Native models behind a real server: their process is killed, stopped, starved, and misbehaves."""

import http.client
import json
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from modelworks.core.served import ServedModel
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list
from native_models import body, line_of, native, served

pytestmark = pytest.mark.real
PATH = "/v2/models/native/infer"
DOUBLE = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'


def call(address, method, path, data=None, timeout=30):
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request(method, path, data)
        answer = connection.getresponse()
        content = answer.read()
        found = json.loads(content) if content[:1] in b"{[" and content else content
        return answer.status, found, dict(answer.getheaders())
    finally:
        connection.close()


def ask(server, first=1.0, path=PATH):
    return call(server.address, "POST", path, body(first))


def pid_of(server):
    status, answer, _ = ask(server)
    assert status == 200, answer
    return next(o for o in answer["outputs"] if o["name"] == "pid")["data"][0]


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come about in time")


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def processes_of(server):
    """Every descendant of a server, by pid."""
    found, todo = set(), [server.pid]
    while todo:
        for task in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            try:
                children = {int(pid) for pid in task.read_text().split()}
            except OSError:
                continue
            todo += children - found
            found |= children
    return found


def state(server):
    index = call(server.address, "POST", "/v2/repository/index", b"{}")[1]
    [entry] = [entry for entry in index if entry["name"] == "native"]
    return entry["state"], entry.get("reason", "")


def stands_again(server, times):
    return server.log.count("process stands again") == times


@pytest.fixture
def both(tmp_path):
    """A list of a native model, which takes a second to load, and of one that converts."""
    double = models.double(tmp_path / "double.onnx")
    folder = native(tmp_path / "native", load_s=0.3, deadline_s=3, memory_gib=1)
    return serve_list(
        tmp_path / "served.json",
        [served(folder), ServedModel("double", "1.0.0", str(double), "sha256:1")],
    )


class Asking(threading.Thread):
    """One client without a pause: what it was answered, when."""

    def __init__(self, server, path, data):
        super().__init__(daemon=True)
        self.server, self.path, self.data = server, path, data
        self.answers = []
        self.over = threading.Event()

    def run(self):
        host, port = self.server.address.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        while not self.over.is_set():
            connection.request("POST", self.path, self.data)
            answer = connection.getresponse()
            content = answer.read()
            again = answer.getheader("Retry-After")
            self.answers.append((time.monotonic(), answer.status, again, content))
            if answer.status == 503:
                time.sleep(0.005)
        connection.close()

    def stop(self):
        self.over.set()
        self.join(20)
        assert not self.is_alive()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_process_is_replaced_and_harms_no_other_model(both, workers):
    with Server(["--served", str(both), "--workers", str(workers)]) as server:
        others = [Asking(server, "/v2/models/double/infer", DOUBLE) for _ in range(2)]
        # As many that some ask each worker, whichever of them their connections came to.
        mine = [Asking(server, PATH, body(1.0)) for _ in range(4 * workers - 2)]
        for client in (*others, *mine):
            client.start()
        until(lambda: len(processes_of(server)) >= 3 * workers - 1, 10)  # with the spares
        pids = {pid_of(server) for _ in range(30)}
        seen = []
        for times in (1, 2):
            victim = min(pids)
            time.sleep(2.0)  # the spare has imported by now, also where neighbours are busy
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            until(partial(stands_again, server, times), 10)
            seen.append(time.monotonic() - killed)
            until(lambda: ask(server)[0] == 200, 5)
            pids = {pid_of(server) for _ in range(30)}
            assert victim not in pids
            until(lambda: len(processes_of(server)) >= 3 * workers - 1, 10)
        for client in (*others, *mine):
            client.stop()
        assert {status for client in others for _, status, _, _ in client.answers} == {200}
        answers = [answer for client in mine for answer in client.answers]
        refused = [answer for answer in answers if answer[1] != 200]
        assert {(status, again) for _, status, again, _ in refused} == {(503, "1")}
        assert all(b"process" in content for *_, content in refused)
        assert min(seen) < 2.0, seen  # neighbours may have kept the other's spare from importing
        assert len(answers) > 50


def test_the_end_of_an_idle_process_is_seen_at_once_everywhere(both):
    with Server(["--served", str(both)]) as server:
        os.kill(pid_of(server), signal.SIGKILL)
        ready = "/v2/models/native/ready"
        until(lambda: call(server.address, "GET", ready)[0] == 503, 0.4)
        assert state(server)[0] == "UNAVAILABLE"
        assert "SIGKILL" in state(server)[1]
        metrics = call(server.address, "GET", "/metrics")[1].decode()
        assert 'modelworks_model_ready{model="native",version="1.0.0"} 0' in metrics
        status, answer, headers = ask(server)
        assert (status, headers["Retry-After"]) == (503, "1"), answer
        assert call(server.address, "GET", "/v2/health/ready")[0] == 200  # the other one answers
        until(lambda: call(server.address, "GET", ready)[0] == 200, 10)
        assert state(server) == ("READY", "")
        metrics = call(server.address, "GET", "/metrics")[1].decode()
        assert 'modelworks_model_ready{model="native",version="1.0.0"} 1' in metrics
        assert ask(server)[0] == 200


def test_what_the_model_does_wrong_is_said_and_stays_there(both):
    with Server(["--served", str(both)]) as server:
        first = pid_of(server)
        for asked, status, word in (
            (1003, 400, f"model.py, line {line_of('too large')}: ValueError: the first number"),
            (1004, 500, "KeyError"),
            (1005, 500, "needs more memory than the 1 GiB"),
            (1007, 500, "not permitted"),
            (1008, 500, "not permitted"),
            (1009, 500, "Permission denied"),
            (1010, 500, "Permission denied"),
            (1011, 500, "shape [1, 2], and its signature says [-1, 3]"),
            (1012, 500, "not permitted"),
            (1006, 200, ""),
        ):
            got, answer, _ = ask(server, asked)
            assert got == status, (asked, answer)
            assert word in answer.get("error", ""), answer
        assert pid_of(server) == first
        assert not list(Path(both).parent.rglob("left"))


@pytest.mark.parametrize(
    ("asked", "status", "word"),
    [
        (1000, 503, "ended itself with code 3"),
        (1001, 503, "SIGABRT"),
        (1002, 504, "took longer than 3 s"),
        (1013, 503, "SIGSEGV"),
        (1015, 504, "took longer than 3 s"),
        (1016, 503, "broke its protocol"),
    ],
)
def test_what_ends_the_process_is_named_and_mended(both, asked, status, word):
    with Server(["--served", str(both)]) as server:
        first = pid_of(server)
        got, answer, headers = ask(server, asked)
        assert got == status, answer
        assert word in answer["error"]
        assert got == 504 or headers["Retry-After"] == "1"
        until(lambda: ask(server)[0] == 200, 5)
        assert pid_of(server) != first
        until(lambda: gone(first))


def test_a_stopped_process_is_ended_and_replaced(both):
    with Server(["--served", str(both)]) as server:
        first = pid_of(server)
        os.kill(first, signal.SIGSTOP)
        until(lambda: "SIGSTOP" in state(server)[1], 5)
        until(lambda: ask(server)[0] == 200, 5)
        assert gone(first)


def test_a_model_that_never_loads_again_is_unavailable_and_tried_later(both):
    with Server(["--served", str(both)]) as server:
        marker = both.parent / "native" / "model" / "broken"
        marker.touch()
        os.kill(pid_of(server), signal.SIGKILL)
        until(lambda: "the weights are gone; the next try is in" in state(server)[1], 10)
        assert f"model.py, line {line_of('are gone')}: OSError" in state(server)[1]
        status, answer, headers = ask(server)
        assert (status, "Retry-After" in headers) == (503, True), answer
        assert "the weights are gone" in answer["error"]
        assert call(server.address, "POST", "/v2/models/double/infer", DOUBLE)[0] == 200
        marker.unlink()
        until(lambda: ask(server)[0] == 200, 15)


def test_unloading_ends_the_process_and_loading_brings_a_new_one(both):
    with Server(["--served", str(both)]) as server:
        first = pid_of(server)
        assert call(server.address, "POST", "/v2/repository/models/native/unload", b"{}")[0] == 200
        until(lambda: gone(first), 5)
        until(lambda: processes_of(server) == set(), 5)  # the spare goes too
        assert call(server.address, "POST", "/v2/repository/models/native/load", b"{}")[0] == 200
        assert pid_of(server) != first


def test_a_model_that_is_down_can_be_unloaded_and_loaded(both):
    with Server(["--served", str(both)]) as server:
        marker = both.parent / "native" / "model" / "broken"
        marker.touch()
        os.kill(pid_of(server), signal.SIGKILL)
        until(lambda: "the weights are gone" in state(server)[1], 10)
        load = "/v2/repository/models/native/load"
        status, answer, _ = call(server.address, "POST", load, b"{}")
        assert status == 400, answer
        assert "the weights are gone" in answer["error"]
        assert call(server.address, "POST", "/v2/repository/models/native/unload", b"{}")[0] == 200
        assert state(server)[0] == "UNAVAILABLE"
        assert "unloaded on request" in state(server)[1]
        until(lambda: processes_of(server) == set(), 5)
        marker.unlink()
        assert call(server.address, "POST", load, b"{}")[0] == 200
        assert state(server) == ("READY", "")
        assert ask(server)[0] == 200


def test_an_untrusted_model_is_never_started(tmp_path):
    double = models.double(tmp_path / "double.onnx")
    path = serve_list(
        tmp_path / "served.json",
        [
            served(native(tmp_path / "native"), trusted=False),
            ServedModel("double", "1.0.0", str(double), "sha256:1"),
        ],
    )
    with Server(["--served", str(path)]) as server:
        assert "without its owner's recorded word" in state(server)[1]
        assert ask(server)[0] == 503
        assert processes_of(server) == set()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_server_leaves_no_process_behind(both, workers):
    with Server(["--served", str(both), "--workers", str(workers)]) as server:
        until(lambda: ask(server)[0] == 200)
        until(lambda: len(processes_of(server)) >= 3 * workers - 1, 10)  # with the spares
        left = processes_of(server)
        threading.Thread(target=_quietly, args=(server,), daemon=True).start()
        time.sleep(0.3)  # one of them loops for ever now
        for pid in left:
            if b"worker_child" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        server.kill()
        until(lambda: all(gone(pid) for pid in left), 5)


def _quietly(server):
    try:
        ask(server, 1002)
    except OSError:
        return


def test_sigterm_answers_what_waits_and_ends_the_process(both):
    with Server(["--served", str(both)]) as server:
        until(lambda: ask(server)[0] == 200)
        client = Asking(server, PATH, body(1.0))
        client.start()
        until(lambda: len(client.answers) > 20)
        left = processes_of(server)
        client.stop()
        server.terminate()
        assert server.wait() == 0
        assert {status for _, status, _, _ in client.answers} == {200}
        until(lambda: all(gone(pid) for pid in left), 5)
        assert "Traceback" not in server.log


def test_a_disk_filling_model_is_ended(tmp_path):
    folder = native(tmp_path / "native", deadline_s=20)
    path = serve_list(tmp_path / "served.json", [served(folder)])
    with Server(["--served", str(path)]) as server:
        status, answer, _ = ask(server, 1014)
        assert status in {500, 503}, answer
        assert "1073741824 bytes" in answer["error"] or "File too large" in answer["error"]
        until(lambda: ask(server)[0] == 200, 10)
