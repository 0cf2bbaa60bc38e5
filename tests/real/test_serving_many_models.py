"""Many models in one server, over raw connections: swaps, evictions, kills; nobody else notices."""

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
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.served import Isolation, ServedModel
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
WIDTH = 1024
WEIGHTS = 42 * MIB  # of a heavy model, in memory
ROOM = 185  # MiB: a server without models has 70 to 85, so two heavy ones fit and three do not


class Raw:
    """One connection that is kept, without a library between."""

    def __init__(self, address):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=90)
        self.file = self.socket.makefile("rb")

    def post(self, path, body):
        head = f"POST {path} HTTP/1.1\r\nHost: m\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)
        status = int(self.file.readline().split()[1])
        headers = {}
        while (line := self.file.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        return status, headers, self.file.read(int(headers[b"content-length"]))

    def close(self):
        self.file.close()
        self.socket.close()


def once(server, path, body):
    connection = Raw(server.address)
    try:
        return connection.post(path, body)
    finally:
        connection.close()


class Load:
    """Clients that ask without a pause; every answer is right, or it is noted as wrong."""

    def __init__(self, address, questions, clients=4):
        self.address, self.questions, self.clients = address, questions, clients
        self.answered, self.wrong = 0, []
        self.versions = set()
        self.stop = threading.Event()

    def one(self, number):
        connection = Raw(self.address)
        try:
            while not self.stop.is_set():
                path, body, right = self.questions[number % len(self.questions)]
                number += 1
                status, _, answer = connection.post(path, body)
                if status != 200 or not right(answer):
                    self.wrong.append(f"{path}: {status} {answer[:300]!r}")
                else:
                    self.versions.add(json.loads(answer)["model_version"])
                self.answered += 1
        except (OSError, IndexError, KeyError) as error:
            self.wrong.append(repr(error))
        finally:
            connection.close()

    def run(self, meanwhile):
        with ThreadPoolExecutor(self.clients) as pool:
            running = [pool.submit(self.one, number) for number in range(self.clients)]
            try:
                until(lambda: self.answered > 20 or self.wrong)
                meanwhile()
            finally:
                self.stop.set()
            for client in running:
                client.result(100)
        assert self.wrong == []


def until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come about in time")


def call(server, method, path, body=b""):
    connection = http.client.HTTPConnection(server.address, timeout=90)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data[:1] in b"{[" else data, answer.headers
    finally:
        connection.close()


def index(server):
    found = call(server, "POST", "/v2/repository/index", b"{}")[1]
    return {entry["name"]: (entry["state"], entry.get("reason", "")) for entry in found}


def statistics(server, model):
    [found] = call(server, "GET", f"/v2/models/{model}/stats")[1]["model_stats"]
    return found


def loads(server, version):
    """Of all workers together; 0 where the one that is asked does not know the version yet."""
    found = call(server, "GET", f"/v2/models/double/versions/{version}/stats")[1]
    return sum(one["load_stats"]["load"]["count"] for one in found.get("model_stats", ()))


def children(pid):
    """Processes of models: what a server, or its workers, have started."""
    found = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found |= {int(child)} | children(int(child))
    return found


DOUBLE = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'


def doubled(answer):
    return b'"data":[2.0,4.0,6.0]' in answer


def asked(name="double"):
    return (f"/v2/models/{name}/infer", DOUBLE, doubled)


@pytest.fixture
def double(tmp_path):
    path = models.double(tmp_path / "double.onnx")
    return ServedModel("double", "1.0.0", str(path), "sha256:0", aliases=("champion",))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of 40 MB, and a question with its right answer."""
    path = models.heavy(tmp_path_factory.mktemp("heavy") / "heavy.onnx", layers=10, width=WIDTH)
    row = np.full(WIDTH, 0.5, np.float32)
    entry = {"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": row.tolist()}
    generator = np.random.default_rng(0)
    for _ in range(10):
        row = row @ generator.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)).astype(np.float32)

    def right(answer):
        found = json.loads(answer)["outputs"][0]["data"]
        return np.allclose(found, row, rtol=1e-2, atol=1e-3)

    return path, json.dumps({"inputs": [entry]}).encode(), right


def heavies(folder, path, count, known=True, **more):
    """A list of so many heavy models; what each takes is known unless it is to be estimated."""
    lines = [
        ServedModel(f"h{number}", "1.0.0", str(path), f"sha256:{number}", **more)
        for number in range(count)
    ]
    if known:
        sizes = {f"sha256:{number} thread": WEIGHTS for number in range(count)}
        (folder / "footprints.json").write_text(json.dumps(sizes))
    return serve_list(folder / "served.json", lines)


# -- swaps


@pytest.mark.parametrize("isolation", list(Isolation))
@pytest.mark.parametrize("workers", [1, 2])
def test_a_swap_fails_no_request(tmp_path, double, workers, isolation):
    """The alias moves, the list is replaced, the file is changed."""
    first = replace(double, isolation=isolation)
    path = serve_list(tmp_path / "served.json", [first])
    with Server(["--served", str(path), "--workers", str(workers)]) as server:
        load = Load(server.address, [asked(), asked("double@champion")])

        def change():
            both = [
                replace(first, default=False, aliases=()),
                replace(first, version="2.0.0"),
            ]
            serve_list(path, both, generation=2)
            until(lambda: "2.0.0" in load.versions)
            serve_list(path, [replace(first, version="3.0.0")], generation=3)
            until(lambda: "3.0.0" in load.versions)
            until(lambda: loads(server, "3.0.0") == workers)  # the slower worker has it too
            again = models.double(tmp_path / "again.onnx")
            changed = replace(first, version="3.0.0", path=str(again), digest="sha256:1")
            serve_list(path, [changed], generation=4)
            until(lambda: loads(server, "3.0.0") == 2 * workers)
            until(lambda: load.versions >= {"1.0.0", "2.0.0", "3.0.0"})
            for verb in ("load", "load"):
                assert call(server, "POST", f"/v2/repository/models/double/{verb}")[0] == 200

        load.run(change)
        if isolation is Isolation.PROCESS:
            # Old processes are gone: one a worker is left (and the workers themselves).
            wanted = workers + (workers if workers > 1 else 0)
            until(lambda: len(children(server.pid)) == wanted)


# -- memory


@pytest.mark.timeout(180)
@pytest.mark.parametrize("workers", [1, 2])
def test_evicted_models_come_back_without_a_failed_request(tmp_path, weights, workers):
    """Three models where two have room, one of them pinned; all are asked for all the time."""
    path, body, right = weights
    served = heavies(tmp_path, path, 3)
    limit = ["--memory-limit", f"{ROOM * workers}MiB", "--pin", "h0"]
    with Server(["--served", str(served), "--workers", str(workers), *limit]) as server:
        questions = [(f"/v2/models/h{number}/infer", body, right) for number in range(3)]
        load = Load(server.address, questions, clients=3)

        def evictions():
            found = [statistics(server, f"h{number}")["load_stats"] for number in range(3)]
            return [one["eviction_count"] for one in found]

        load.run(lambda: until(lambda: sum(evictions()) >= 3 * workers, 120))
        counted = evictions()
        assert counted[0] == 0
        text = call(server, "GET", "/metrics")[1].decode()
        assert 'modelworks_model_evictions_total{model="h0",version="1.0.0"} 0' in text
        assert 'modelworks_model_memory_bytes{model="h0",version="1.0.0"}' in text


def test_an_evicted_model_is_listed_and_says_so(tmp_path, weights):
    path, body, right = weights
    served = heavies(tmp_path, path, 3, autoload=False)
    with Server(["--served", str(served), "--lazy", "--memory-limit", f"{ROOM}MiB"]) as server:
        for number in (0, 1):
            status, answer, _ = call(server, "POST", f"/v2/models/h{number}/infer", body)
            assert status == 200, answer
        assert call(server, "POST", "/v2/models/h2/infer", body)[0] == 200
        state, reason = index(server)["h0"]  # the one that was not used for longest
        assert state == "UNAVAILABLE"
        assert reason == "evicted to make room; the next request reloads it"
        assert call(server, "GET", "/v2/models/h0/ready")[0] == 503
        assert call(server, "GET", "/v2/health/ready")[0] == 200
        assert statistics(server, "h0")["memory_usage"][0]["byte_size"] == 0
        assert statistics(server, "h2")["memory_usage"][0]["byte_size"] > 20 * MIB
        # Whoever asks what it takes wants to use it.
        assert call(server, "GET", "/v2/models/h0")[0] == 200
        status, _, answer = once(server, "/v2/models/h0/infer", body)
        assert status == 200
        assert right(answer)


def test_what_does_not_fit_is_refused_with_the_numbers_and_harms_nobody(tmp_path, weights, double):
    path, body, _ = weights
    large = ServedModel("large", "1.0.0", str(path), "sha256:9", autoload=False)
    served = serve_list(tmp_path / "served.json", [double, large])
    with Server(["--served", str(served), "--memory-limit", "150MiB"]) as server:
        status, answer, headers = call(server, "POST", "/v2/repository/models/large/load", b"{}")
        assert status == 503
        assert headers["Retry-After"]
        for said in ("121 MiB", "estimated", "of 150 MiB", "--memory-limit"):
            assert said in answer["error"]
        assert call(server, "POST", "/v2/models/double/infer", DOUBLE)[0] == 200
        assert statistics(server, "large")["load_stats"]["load_failure_count"] == 1
        assert call(server, "GET", "/v2/health/ready")[0] == 200
        assert call(server, "POST", "/v2/models/large/infer", body)[0] == 503


def test_a_single_file_that_does_not_fit_is_no_server(weights):
    path, _, _ = weights
    with pytest.raises(RuntimeError, match=r"exit 4.*needs 121 MiB"):
        Server(["--file", str(path), "--memory-limit", "100MiB"])


def test_a_burst_for_a_sleeping_model_loads_it_once_and_holds_nobody_up(tmp_path, weights, double):
    path, body, right = weights
    heavy = ServedModel("heavy", "1.0.0", str(path), "sha256:9")
    served = serve_list(tmp_path / "served.json", [double, heavy])
    with Server(["--served", str(served), "--lazy", "--pin", "double"]) as server:
        assert index(server)["heavy"][0] == "UNAVAILABLE"
        assert index(server)["double"][0] == "READY"
        others = Load(server.address, [asked()], clients=1)

        def burst():
            with ThreadPoolExecutor(24) as pool:
                found = list(pool.map(lambda _: once(server, *question), range(24)))
            assert [status for status, _, _ in found] == [200] * 24
            assert all(right(answer) for _, _, answer in found)

        question = ("/v2/models/heavy/infer", body)
        others.run(burst)
        assert server.log.count("heavy 1.0.0 is ready") == 1
        assert others.answered > 50


# -- processes of their own


def test_a_killed_model_is_its_own_trouble(tmp_path, double):
    """SIGKILL under load: others notice nothing, it says so, and it is back."""
    apart = replace(double, name="apart", isolation=Isolation.PROCESS)
    served = serve_list(tmp_path / "served.json", [double, apart])
    with Server(["--served", str(served)]) as server:
        others = Load(server.address, [asked(), asked("double@champion")])
        seen = []

        def kill():
            for _ in range(3):
                [pid] = until(lambda: len(children(server.pid)) == 1 and children(server.pid))
                until(lambda: call(server, "POST", "/v2/models/apart/infer", DOUBLE)[0] == 200)
                os.kill(pid, signal.SIGKILL)
                status, answer, headers = until(
                    lambda: (
                        (found := call(server, "POST", "/v2/models/apart/infer", DOUBLE))[0] != 200
                        and found
                    )
                )
                seen.append((status, answer["error"], headers["Retry-After"]))
                until(lambda: index(server)["apart"][0] == "UNAVAILABLE")
                until(lambda: call(server, "GET", "/v2/models/apart/ready")[0] == 200)
                time.sleep(0.3)

        others.run(kill)
        assert len(seen) == 3
        assert all(status == 503 and "SIGKILL" in said and again for status, said, again in seen)


def test_unloading_a_process_gives_all_of_it_back(tmp_path, weights):
    path, body, right = weights
    served = heavies(tmp_path, path, 2, known=False)
    with Server(["--served", str(served), "--isolation", "process"]) as server:
        assert len(children(server.pid)) == 2
        resident = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * 4096
        status, _, answer = once(server, "/v2/models/h0/infer", body)
        assert status == 200
        assert right(answer)
        assert statistics(server, "h0")["memory_usage"][0]["byte_size"] > 40 * MIB
        for number in (0, 1):
            path = f"/v2/repository/models/h{number}/unload"
            assert call(server, "POST", path, b"{}")[0] == 200
        assert children(server.pid) == set()
        after = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * 4096
        assert after < resident + 8 * MIB


def test_triton_client_and_batches_reach_a_process(tmp_path, double):
    http_client = pytest.importorskip("tritonclient.http")
    served = serve_list(tmp_path / "served.json", [double])
    with Server(["--served", str(served), "--isolation", "process", "--workers", "2"]) as server:
        client = http_client.InferenceServerClient(server.address, concurrency=8)
        waiting = []
        for number in range(64):
            given = http_client.InferInput("x", [1, 3], "FP32")
            given.set_data_from_numpy(np.full((1, 3), number, np.float32), binary_data=True)
            waiting.append(client.async_infer("double", [given]))
        for number, one in enumerate(waiting):
            np.testing.assert_array_equal(
                one.get_result().as_numpy("y"), np.full((1, 3), 2.0 * number, np.float32)
            )
        client.close()
        # Another worker's counters are seen when it has counted.
        until(lambda: statistics(server, "double")["inference_count"] == 64, 10)
        # As large as asked for, or as was measured to be best.
        assert call(server, "GET", "/v2/models/double/config")[1]["max_batch_size"] in {16, 32, 64}


# -- the bars, in their reduced form


@pytest.mark.timeout(300)
def test_models_are_light_and_memory_comes_back():
    """Wide limits: this machine is shared. The bars themselves are asked in tests/long."""
    command = [sys.executable, str(ROOT / "benchmarks" / "many_models.py")]
    told = subprocess.run(
        [*command, "--models", "20", "--cycles", "80", "--isolated", "10"],
        capture_output=True,
        check=False,
        timeout=280,
    )
    found = json.loads(told.stdout)
    assert found["small"]["ours_mb"] < 2
    for kind in ("small", "network"):
        assert found[kind]["over_bare_mb"] < 1, found
        assert found[kind]["cycles"]["trend"] < 0.2, found
    assert found["isolated_cycles"]["trend"] < 0.2
