"""The server as processes: start, drain under load, a killed worker, changed lists, exit codes."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from modelworks.core.served import ServedModel
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list

pytestmark = pytest.mark.real
BODY = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'
SETTLED_S = 0.8  # a worker counts what it noted within half a second; this is a busy machine's


@pytest.fixture
def double(tmp_path):
    return models.double(tmp_path / "double.onnx")


def call(address, method, path, body=None, headers=None, timeout=20):
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data[:1] in b"{[" else data
    finally:
        connection.close()


def infer(address, model="double", version=""):
    path = f"/v2/models/{model}{'/versions/' + version if version else ''}/infer"
    return call(address, "POST", path, BODY)


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come about in time")


@dataclass
class Load:
    """Clients that ask without a pause; a refused connection ends one, all else is 200."""

    address: str
    keep_alive: bool
    clients: int = 4
    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def one(self):
        host, port = self.address.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        try:
            while not self.stop.is_set() and self.ask(connection):
                pass
        finally:
            connection.close()

    def ask(self, connection):
        """One request; False when the server is no more there for new connections."""
        try:
            if connection.sock is None:
                connection.connect()
        except ConnectionRefusedError:
            return False
        try:
            connection.request("POST", "/v2/models/double/infer", BODY)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.wrong.append(repr(error))
            return False
        if answer.status != 200 or b'"data":[2.0,4.0,6.0]' not in data:
            self.wrong.append(f"{answer.status} {data!r}")
        self.answered += 1
        if not self.keep_alive:
            connection.close()
        return True

    def run(self, meanwhile):
        with ThreadPoolExecutor(self.clients) as pool:
            running = [pool.submit(self.one) for _ in range(self.clients)]
            try:
                until(lambda: self.answered > 50 or self.wrong)
                meanwhile()
            finally:
                self.stop.set()
            for client in running:
                client.result(60)
        assert self.wrong == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("keep_alive", [True, False])
def test_sigterm_under_load_loses_no_request(double, workers, keep_alive):
    with Server(["--file", str(double), "--workers", str(workers)]) as server:
        load = Load(server.address, keep_alive)

        def end():
            server.terminate()
            assert server.wait() == 0

        load.run(end)
        assert load.answered > 50
        assert "Traceback" not in server.log


def test_a_killed_worker_is_started_again_and_knows_what_was_asked(tmp_path, double):
    served = [
        ServedModel("double", "1.0.0", str(double), "sha256:0"),
        ServedModel("gone", "1.0.0", str(double), "sha256:0"),
        ServedModel("late", "1.0.0", str(double), "sha256:0", autoload=False),
    ]
    path = serve_list(tmp_path / "served.json", served)
    with Server(["--served", str(path), "--workers", "2"]) as server:
        assert call(server.address, "POST", "/v2/repository/models/gone/unload")[0] == 200
        assert call(server.address, "POST", "/v2/repository/models/late/load")[0] == 200
        for _ in range(40):
            assert infer(server.address)[0] == 200
            assert infer(server.address, "gone")[0] == 503
            assert infer(server.address, "late")[0] == 200
        time.sleep(SETTLED_S)
        before = counted(server.address)
        assert before >= 40
        children = workers_of(server.pid)
        assert len(children) == 2
        os.kill(children[0], signal.SIGKILL)
        until(lambda: len(set(workers_of(server.pid)) - {children[0]}) == 2)
        until(lambda: server.log.count("double 1.0.0 is ready") == 3)
        time.sleep(0.2)
        for _ in range(40):
            assert infer(server.address)[0] == 200
            assert infer(server.address, "gone")[0] == 503
            assert infer(server.address, "late")[0] == 200
        time.sleep(SETTLED_S)
        assert counted(server.address) == before + 40  # what the dead one counted stays
    assert server.process.returncode == 0


def workers_of(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sorted(int(child) for child in found)


def counted(address, model="double"):
    [found] = call(address, "GET", f"/v2/models/{model}/stats")[1]["model_stats"]
    return found["inference_stats"]["success"]["count"]


def test_any_worker_answers_for_all(double):
    with Server(["--file", str(double), "--workers", "2"]) as server:
        for _ in range(60):
            assert infer(server.address)[0] == 200
        time.sleep(SETTLED_S)
        assert {counted(server.address) for _ in range(10)} == {60}
        text = call(server.address, "GET", "/metrics")[1].decode()
        assert 'modelworks_items_total{model="double",version="1.0.0"} 60' in text
        assert text.count("modelworks_worker_resident_memory_bytes{") == 2
        assert 'modelworks_model_ready{model="double",version="1.0.0"} 1' in text
        for verb, status in (("unload", 503), ("load", 200)) * 3:
            assert call(server.address, "POST", f"/v2/repository/models/double/{verb}")[0] == 200
            assert {infer(server.address)[0] for _ in range(12)} == {status}


def test_a_web_page_cannot_load_or_unload(double):
    page = {"Origin": "http://page.example", "Content-Type": "text/plain"}
    with Server(["--file", str(double)]) as server:
        for verb in ("load", "unload"):
            path = f"/v2/repository/models/double/{verb}"
            status, body = call(server.address, "POST", path, b"{}", page)
            assert (status, body["field"]) == (400, "Origin")
        assert infer(server.address)[0] == 200


def test_both_workers_serve(double):
    with Server(["--file", str(double), "--workers", "2"]) as server:
        load = Load(server.address, keep_alive=False)
        load.run(lambda: until(lambda: load.answered > 300))
        text = server.log
        assert text.count("is ready") == 2


def test_a_new_list_swaps_without_a_failed_request(tmp_path, double):
    triple = models.double(tmp_path / "triple.onnx", factor=3.0)
    old = ServedModel("double", "1.0.0", str(double), "sha256:0", aliases=("champion",))
    new = ServedModel("double", "2.0.0", str(double), "sha256:1", aliases=("champion",))
    other = ServedModel("triple", "1.0.0", str(triple), "sha256:2")
    path = serve_list(tmp_path / "served.json", [old])
    with Server(["--served", str(path)]) as server:
        load = Load(server.address, keep_alive=True)

        def change():
            serve_list(path, [new, other], generation=2)
            until(lambda: infer(server.address)[1]["model_version"] == "2.0.0")
            until(lambda: infer(server.address, "triple")[0] == 200)
            until(lambda: infer(server.address, version="1.0.0")[0] == 404)
            assert infer(server.address, "double@champion")[1]["model_version"] == "2.0.0"
            again = replace(new, path=str(tmp_path / "triple.onnx"), version="3.0.0")
            serve_list(path, [replace(again, path=str(double))], generation=3)
            until(lambda: infer(server.address)[1]["model_version"] == "3.0.0")
            until(lambda: infer(server.address, "triple")[0] == 404)

        load.run(change)


def test_a_broken_list_or_model_leaves_the_last_good_one_in_force(tmp_path, double):
    good = ServedModel("double", "1.0.0", str(double), "sha256:0")
    path = serve_list(tmp_path / "served.json", [good])
    with Server(["--served", str(path)]) as server:
        path.write_text('{"generation": 2, "mod')
        until(lambda: "last good one" in server.log)
        assert infer(server.address)[0] == 200
        (tmp_path / "bad.onnx").write_bytes(b"nothing")
        bad = replace(good, version="2.0.0", path=str(tmp_path / "bad.onnx"))
        serve_list(path, [bad], generation=3)
        until(lambda: "2.0.0 cannot be served" in server.log)
        status, answer = infer(server.address)
        assert (status, answer["model_version"]) == (200, "1.0.0")
        assert infer(server.address, version="2.0.0")[0] == 503
        fixed = models.double(tmp_path / "fixed.onnx")
        serve_list(path, [replace(bad, path=str(fixed))], generation=4)
        until(lambda: infer(server.address)[1].get("model_version") == "2.0.0")
        path.unlink()
        until(lambda: server.log.count("last good one") == 2)
        assert infer(server.address)[0] == 200
        assert call(server.address, "GET", "/v2/health/ready")[0] == 200


def test_a_model_that_fails_to_load_does_not_take_the_server_down(tmp_path, double):
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    path = serve_list(
        tmp_path / "served.json",
        [
            ServedModel("double", "1.0.0", str(double), "sha256:0"),
            ServedModel("bad", "1.0.0", str(tmp_path / "bad.onnx"), "sha256:1"),
        ],
    )
    with Server(["--served", str(path)]) as server:
        assert infer(server.address)[0] == 200
        status, answer = infer(server.address, "bad")
        assert status == 503
        assert "ONNX" in answer["error"]


def run_to_end(*arguments, environment=None):
    return subprocess.run(
        [sys.executable, "-m", "modelworks.apps.server", "--port", "0", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | (environment or {}),
    )


def bad_file(folder):
    (folder / "bad.onnx").write_bytes(b"nothing")
    return ["--file", str(folder / "bad.onnx")]


def bad_list(folder):
    (folder / "bad.json").write_text('{"generation": 1, "models": [], "extra": 1}')
    return ["--served", str(folder / "bad.json")]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (lambda _: [], 2, "--served LIST or --file"),
        (lambda _: ["--served", "a", "--file", "b"], 2, "one of them"),
        (lambda _: ["--nonsense"], 2, "nonsense"),
        (lambda _: ["--file", "x", "--workers", "0"], 2, "workers"),
        (lambda f: ["--served", str(f / "nowhere.json")], 4, "no served list"),
        (bad_list, 4, "extra: unknown key"),
        (bad_file, 4, "not an ONNX file"),
        (lambda f: [*bad_file(f), "--workers", "2"], 4, "not an ONNX file"),
        (lambda f: ["--file", str(f / "nowhere.onnx")], 4, "no model file"),
        (lambda f: ["--file", str(f), "--host", "192.0.2.1"], 4, "192.0.2.1"),
    ],
)
def test_wrong_use_and_bad_files_end_with_a_code_and_one_reason(tmp_path, arguments, code, said):
    ended = run_to_end(*arguments(tmp_path))
    assert ended.returncode == code
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_misspelt_environment_keys_are_refused(double):
    ended = run_to_end("--file", str(double), environment={"MODELWORKS_SERVER_WORKRES": "2"})
    assert ended.returncode == 2
    assert "MODELWORKS_SERVER_WORKRES" in ended.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_told(double, workers):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run_to_end("--file", str(double), "--port", port, "--workers", workers)
    assert ended.returncode == 6
    assert port in ended.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_ends_with_its_parent(tmp_path, double, workers):
    told = tmp_path / "announce.json"
    command = [sys.executable, "-m", "modelworks.apps.server", "--file", str(double)]
    command += ["--port", "0", "--with-parent", "--announce", str(told), "--workers", workers]
    script = f"import subprocess, time; subprocess.Popen({command!r}); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        until(told.exists)
        pid = json.loads(told.read_text())["pid"]
        everyone = [pid, *workers_of(pid)]
        parent.kill()
        until(lambda: not any(alive(one) for one in everyone))
    finally:
        parent.kill()
        parent.wait()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_workers_end_when_their_supervisor_is_killed(double):
    with Server(["--file", str(double), "--workers", "2"]) as server:
        children = workers_of(server.pid)
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not any(alive(child) for child in children))


def test_it_is_alive_before_and_ready_after_its_models(tmp_path):
    heavy = models.heavy(tmp_path / "heavy.onnx", layers=12, width=1024)
    path = serve_list(
        tmp_path / "served.json", [ServedModel("heavy", "1.0.0", str(heavy), "sha256:0")]
    )
    with Server(["--served", str(path)]) as server:
        assert call(server.address, "GET", "/v2/health/live")[0] == 200
        assert call(server.address, "GET", "/v2/health/ready") == (200, {"ready": True})


def test_a_host_that_others_reach_is_warned_of(double):
    with Server(["--file", str(double), "--host", "0.0.0.0"]) as server:
        assert "ask for API keys" in server.log
        assert infer(server.address)[0] == 200


def test_a_model_that_never_comes_back_from_its_warm_up_holds_up_nothing(tmp_path, double):
    """Neither the models that answer, nor the end of the process, nor its parent's."""
    good = ServedModel("double", "1.0.0", str(double), "sha256:1")
    stuck = ServedModel("stuck", "1.0.0", str(models.endless(tmp_path / "s.onnx")), "sha256:2")
    served = serve_list(tmp_path / "served.json", [good])
    with Server(["--served", str(served)]) as server:
        serve_list(served, [good, stuck], generation=2)
        until(lambda: loading(server.address))
        assert infer(server.address)[0] == 200
        assert call(server.address, "GET", "/v2/health/live")[0] == 200
        server.terminate()
        assert server.wait(20) == 0


def index(address):
    return call(address, "POST", "/v2/repository/index")[1]


def test_a_server_that_is_still_loading_ends_with_its_parent(tmp_path):
    file = models.endless(tmp_path / "s.onnx")
    script = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m',"
        " 'modelworks.apps.server', '--file', sys.argv[1], '--port', sys.argv[2],"
        " '--with-parent']); print(p.pid, flush=True); sys.stdin.read()"
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(file), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    pid = 0
    try:
        pid = int(parent.stdout.readline())
        until(lambda: loading(f"127.0.0.1:{port}"))
        parent.kill()
        parent.wait(20)
        until(lambda: not Path(f"/proc/{pid}").exists())
        pid = 0
    finally:
        parent.kill()
        parent.communicate(timeout=20)
        if pid:
            os.kill(pid, signal.SIGKILL)


def loading(address):
    try:
        return "LOADING" in json.dumps(index(address))
    except OSError:
        return False
