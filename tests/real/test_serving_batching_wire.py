"""Priorities, time-outs, delays and ragged inputs over the wire, by Triton's own client."""

import json
import re
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

from modelworks.core.ragged import Ragged
from modelworks.core.served import Batching, ServedModel
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list

http = pytest.importorskip("tritonclient.http")
from tritonclient.utils import InferenceServerException  # noqa: E402

pytestmark = [
    pytest.mark.real,
    pytest.mark.alone,
    # Triton's client leaves a socket to the collector when an answer is an error.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def server(folder):
    served = []

    def add(name, path, batching=None, ragged=None):
        line = ServedModel(name, "1.0.0", str(path), "sha256:0", ragged=ragged)
        if batching is not None:
            line = ServedModel(name, "1.0.0", str(path), "sha256:0", batching=batching)
        served.append(line)

    heavy = models.heavy(folder / "heavy.onnx", layers=40, width=1024)
    add("heavy", heavy, Batching(1, 4096, priority_levels=3))
    add("timed", heavy, Batching(1, 4096, timeout_ms=250))
    add("delayed", models.double(folder / "double.onnx"), Batching(64, 4096, 100.0))
    add("fresh", models.double(folder / "fresh.onnx"), Batching(64, 4096, 200.0))
    add("text", models.transformer(folder / "text.onnx"), ragged=Ragged("attention_mask"))
    blind = models.transformer(folder / "blind.onnx", masked=False)
    add("blind", blind, ragged=Ragged("attention_mask"))
    with Server(["--served", str(serve_list(folder / "served.json", served))]) as running:
        yield running


@pytest.fixture
def client(server):
    with http.InferenceServerClient(server.address) as found:
        yield found


def infer(server, model, inputs, **more):
    """From any thread: Triton's client belongs to the one that made it."""
    with http.InferenceServerClient(server.address) as own:
        return own.infer(model, inputs, **more)


def given(name, array):
    found = http.InferInput(name, list(array.shape), "FP32" if array.dtype.kind == "f" else "INT64")
    found.set_data_from_numpy(array)
    return found


def heavy_input(client, name="heavy"):
    [spec] = client.get_model_metadata(name)["inputs"]
    width = spec["shape"][1]
    return [given(spec["name"], np.ones((16, width), np.float32))]


def cuts(server, model):
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(
        rf'modelworks_batch_cuts_total{{model="{model}",version="1.0.0",reason="(\w+)"}} (\d+)',
        text,
    )
    return {reason: int(count) for reason, count in found if int(count)}


def test_who_says_priority_one_overtakes_those_who_wait(client, server):
    inputs = heavy_input(client)
    order, lock = [], threading.Lock()

    def ask(number, priority):
        infer(server, "heavy", inputs, priority=priority)
        with lock:
            order.append(number)

    with ThreadPoolExecutor(32) as pool:
        waiting = [pool.submit(ask, number, 0) for number in range(16)]
        time.sleep(0.05)
        waiting.append(pool.submit(ask, "first", 1))
        for each in waiting:
            each.result(60)
    assert order.index("first") < 12, order


@pytest.mark.parametrize("priority", [4, 2**40])
def test_a_priority_that_the_model_has_not_is_a_bad_request(client, priority):
    with pytest.raises(InferenceServerException, match=r"1 \(first\) to 3, not") as caught:
        client.infer("heavy", heavy_input(client), priority=priority)
    assert caught.value.status() == "400"


def test_a_caller_s_time_that_is_no_number_is_told_by_its_field(server):
    for path in ("v2/models/delayed/infer", "predict/delayed"):
        request = urllib.request.Request(
            f"{server.url}/{path}", b'{"rows": [[1, 2, 3]]}', {"X-Timeout-Ms": "1.5"}
        )
        if "infer" in path:
            request.data = BODY
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=30)
        told = json.load(caught.value)
        assert (caught.value.code, told["field"]) == (400, "X-Timeout-Ms")


def test_a_caller_s_time_holds_for_plain_rows_too(client, server):
    del client
    rows = json.dumps({"rows": [[0.5] * 1024] * 16}).encode()

    def ask(_):
        request = urllib.request.Request(
            f"{server.url}/predict/heavy", rows, {"X-Timeout-Ms": "60"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(ask, range(32)))
    assert set(found) <= {200, 503, 504}
    assert found.count(200) < 32, found


def post(server, model, parameters):
    body = {
        "inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}],
        "parameters": parameters,
    }
    request = urllib.request.Request(
        f"{server.url}/v2/models/{model}/infer", json.dumps(body).encode(), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.parametrize("value", [-1, "1", 1.5, True, None])
def test_a_priority_that_is_no_number_is_told_by_its_field(server, value):
    status, said = post(server, "delayed", {"priority": value})
    assert status == 400
    assert said["field"] == "parameters.priority"


def late(model, client, server, **more):
    """Outcomes of thirty-two calls at the same time of a model that takes one after the other."""
    inputs = heavy_input(client, model)

    def ask(_):
        try:
            infer(server, model, inputs, **more)
        except InferenceServerException as error:
            return error.status()
        return "200"

    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(ask, range(32)))


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("heavy", {"timeout": 250_000}),
        ("timed", {}),
        ("heavy", {"headers": {"X-Timeout-Ms": "250"}}),
        ("heavy", {"headers": {"X-Timeout-Ms": "250"}, "timeout": 60_000_000}),
    ],
    ids=["own", "the model's", "the caller's", "the shorter"],
)
def test_a_time_out_ends_the_wait_and_saves_the_engine_the_work(client, server, model, more):
    took = time.monotonic()
    client.infer(model, heavy_input(client, model))
    took = time.monotonic() - took
    if took * 20 < 0.25:
        pytest.skip(f"the machine is too fast for this model ({took * 1000:.0f} ms)")
    before = client.get_inference_statistics(model)["model_stats"][0]
    outcomes = late(model, client, server, **more)
    after = client.get_inference_statistics(model)["model_stats"][0]
    assert set(outcomes) <= {"200", "503", "504"}
    assert outcomes.count("200") < 32
    computed = after["execution_count"] - before["execution_count"]
    assert computed == outcomes.count("200")


def test_a_delay_is_waited_out_and_company_shares_the_call(client, server):
    x = [given("x", np.ones((1, 3), np.float32))]
    before = client.get_inference_statistics("fresh")["model_stats"][0]["execution_count"]
    with ThreadPoolExecutor(16) as pool:
        for each in [pool.submit(infer, server, "fresh", x) for _ in range(16)]:
            assert (each.result(30).as_numpy("y") == 2).all()
    after = client.get_inference_statistics("fresh")["model_stats"][0]["execution_count"]
    assert after - before < 16
    assert cuts(server, "fresh").get("delay", 0) >= 1
    config = client.get_model_config("fresh")["dynamic_batching"]
    assert config["max_queue_delay_microseconds"] == 200_000


def test_one_caller_alone_is_not_held_up(client, server):
    x = [given("x", np.ones((1, 3), np.float32))]
    for _ in range(10):  # what was there before is forgotten
        client.infer("delayed", x)
    began = time.monotonic()
    for _ in range(100):
        client.infer("delayed", x)
    assert time.monotonic() - began < 5.0  # a hundred delays are ten seconds
    found = cuts(server, "delayed")
    assert found["alone"] >= 90
    assert client.get_inference_statistics("delayed")["model_stats"][0]["batch_cuts"] == found


def text_inputs(length, seed):
    ids = np.random.default_rng(seed).integers(0, 100, (1, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def test_requests_of_different_lengths_share_calls_and_answers_are_their_own(
    client, server, folder
):
    session = onnxruntime.InferenceSession(folder / "text.onnx")
    asked = [text_inputs(16 + seed % 16, seed) for seed in range(200)]
    wanted = [session.run(None, inputs) for inputs in asked]
    before = client.get_inference_statistics("text")["model_stats"][0]["execution_count"]

    def ask(inputs):
        return infer(server, "text", [given(name, array) for name, array in inputs.items()])

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, asked))
    for answer, right in zip(answers, wanted, strict=True):
        for name, array in zip(("embedding", "tokens", "weights"), right, strict=True):
            mine = answer.as_numpy(name)
            assert mine.shape == array.shape
            np.testing.assert_allclose(mine, array, rtol=1e-3, atol=1e-5)
    after = client.get_inference_statistics("text")["model_stats"][0]["execution_count"]
    assert after - before <= 200


def test_the_index_says_why_lengths_are_not_joined(client):
    index = {entry["name"]: entry for entry in client.get_model_repository_index()}
    assert index["text"]["reason"] == ""
    assert "behind the mask 'attention_mask'" in index["blind"]["reason"]
    assert index["blind"]["state"] == "READY"


def test_a_file_is_served_with_what_the_command_line_says(folder):
    path = models.transformer(folder / "alone.onnx", axes=False)
    options = ["--ragged", "attention_mask", "--max-delay-ms", "3", "--priority-levels", "2"]
    with Server(["--file", str(path), "--max-batch-size", "16", *options]) as server:
        with http.InferenceServerClient(server.address) as client:
            config = client.get_model_config("alone")
            assert config["max_batch_size"] <= 16
            batching = config["dynamic_batching"]
            assert batching["max_queue_delay_microseconds"] == 3000
            assert batching["priority_levels"] == batching["default_priority_level"] == 2
            [entry] = client.get_model_repository_index()
            assert entry["reason"] == ""
            inputs = [given(name, array) for name, array in text_inputs(5, 1).items()]
            answer = client.infer("alone", inputs, priority=1)
            assert answer.as_numpy("embedding").shape == (1, 8)
        server.terminate()
        assert server.wait() == 0
