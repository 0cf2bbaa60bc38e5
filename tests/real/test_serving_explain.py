"""The explain routes of a real server: both protocols, bounds, and predictions that go on."""

import contextlib
import json
import threading
import time

import numpy as np
import onnx
import pytest
import urllib3
from onnx import TensorProto, helper

from modelworks.core.served import ServedModel
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.testing.servers import Server, serve_list

pytestmark = pytest.mark.real

WEIGHTS = np.array([2.0, -1.0, 0.0], np.float32)
HTTP = urllib3.PoolManager(retries=False)


def save(path, nodes, constants, width):
    """A graph from `x` to `y`; what stands in it is no linear operator that is known."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


def signature(width):
    return Signature(
        inputs=(TensorSpec("x", Datatype.FP32, (None, width)),),
        outputs=(TensorSpec("y", Datatype.FP32, (None, 1), Role.SCORE),),
        layout=Layout.MATRIX,
        features=tuple(f"f{place}" for place in range(width)),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """`plain` is linear, `wide` has twenty features and products, `bare` has no background."""
    folder = tmp_path_factory.mktemp("explain")
    rng = np.random.default_rng(0)
    models = []
    for name, width in (("plain", 3), ("wide", 20), ("bare", 3)):
        path = folder / f"{name}.onnx"
        weights = np.resize(WEIGHTS, (width, 1)).astype(np.float32)
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["m"]),
            helper.make_node("Identity", ["m"], ["y"]),
        ]
        if name == "wide":
            nodes = [
                helper.make_node("Mul", ["x", "x"], ["s"]),
                helper.make_node("MatMul", ["s", "w"], ["m"]),
                helper.make_node("Tanh", ["m"], ["y"]),
            ]
        save(path, nodes, {"w": weights}, width)
        background = folder / f"{name}.json"
        rows = rng.normal(size=(20, width)).astype(np.float32).astype(float)
        background.write_text(json.dumps({"rows": rows.tolist()}))
        models.append(
            ServedModel(
                name,
                "1.0.0",
                str(path),
                "sha256:0",
                signature=signature(width),
                background="" if name == "bare" else str(background),
            )
        )
    path = serve_list(folder / "served.json", models)
    with Server(["--served", str(path)]) as server:
        yield server, folder


def post(server, path, body):
    answer = HTTP.request("POST", server.url + path, body=json.dumps(body), timeout=60)
    return answer.status, json.loads(answer.data), answer.headers


def v2(rows, **further):
    data = np.asarray(rows, float)
    return {
        "inputs": [
            {
                "name": "x",
                "shape": list(data.shape),
                "datatype": "FP32",
                "data": data.ravel().tolist(),
            }
        ],
        **further,
    }


def tensors(told):
    return {
        one["name"]: one["data"]
        if one["datatype"] == "BYTES"
        else np.reshape(one["data"], one["shape"])
        for one in told["outputs"]
    }


def test_v2_answers_with_tensors(served):
    server, folder = served
    background = np.array(json.loads((folder / "plain.json").read_text())["rows"])
    rows = [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    status, told, _ = post(server, "/v2/models/plain/explain", v2(rows, id="why"))
    assert status == 200, told
    assert told["id"] == "why"
    assert told["model_version"] == "1.0.0"
    assert told["parameters"]["additive"] is True
    found = tensors(told)
    expected = WEIGHTS * (np.array(rows) - background.mean(axis=0))
    assert found["values"] == pytest.approx(expected, abs=1e-4)
    assert found["base"] == pytest.approx([(background @ WEIGHTS).mean()], abs=1e-4)
    assert found["features"] == ["f0", "f1", "f2"]
    status, _, _ = post(server, "/v2/models/plain/versions/1.0.0/explain", v2(rows))
    assert status == 200


def test_v1_answers_an_object_a_row(served):
    server, _ = served
    rows = [[1.0, 2.0, 3.0], {"f0": 0, "f1": 0, "f2": 0}]
    status, told, _ = post(server, "/v1/models/plain:explain", {"instances": rows})
    assert status == 200, told
    first = told["explanations"][0]
    assert set(first["values"]) == {"f0", "f1", "f2"}
    assert first["base"] + sum(first["values"].values()) == pytest.approx(0.0, abs=1e-4)


def test_many_features_come_with_errors(served):
    server, _ = served
    rows = np.random.default_rng(1).normal(size=(2, 20))
    status, told, _ = post(server, "/v2/models/wide/explain", v2(rows))
    assert status == 200, told
    found = tensors(told)
    assert found["errors"].shape == (2, 20)
    weights = np.resize(WEIGHTS, 20)
    answers = np.tanh((rows.astype(np.float32) ** 2) @ weights)
    assert found["values"].sum(axis=1) + found["base"] == pytest.approx(answers, abs=1e-4)


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v2/models/bare/explain", v2([[1, 2, 3]]), 501, "--background"),
        ("/v2/models/nobody/explain", v2([[1, 2, 3]]), 404, "no model"),
        ("/v2/models/plain/explain", v2([[1, 2]]), 400, "x"),
        ("/v2/models/plain/explain", v2(np.zeros((65, 3))), 400, "at most 64"),
        ("/v1/models/plain:explain", {"rows": []}, 400, "instances"),
        ("/v1/models/plain:explain", {"instances": [[1]]}, 400, "3"),
        (
            "/v1/models/plain:shout",
            {"instances": [[1]]},
            405,
            "GET only",
        ),
    ],
)
def test_refusals_say_why(served, path, body, status, says):
    found, told, _ = post(served[0], path, body)
    assert found == status, told
    assert says in told["error"]


def test_one_at_a_time_the_second_is_told_to_come_back(served):
    server, _ = served
    rows = np.zeros((64, 20)) + 0.5
    found = []

    def ask():
        found.append(post(server, "/v2/models/wide/explain", v2(rows)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(status for status, _, _ in found)
    assert statuses[0] == 200
    assert 503 in statuses
    busy = next(one for one in found if one[0] == 503)
    assert "Retry-After" in busy[2]
    assert "another request" in busy[1]["error"]


def test_a_time_out_of_its_own_ends_it(served):
    body = v2(np.zeros((64, 20)) + 0.5, parameters={"timeout": 20_000})
    began = time.monotonic()
    status, told, _ = post(served[0], "/v2/models/wide/explain", body)
    assert status == 504, told
    assert time.monotonic() - began < 5
    status, _, _ = _until_free(served[0])
    assert status == 200


def test_a_client_that_leaves_frees_the_place(served):
    server, _ = served
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        HTTP.request(
            "POST",
            server.url + "/v2/models/wide/explain",
            body=json.dumps(v2(np.zeros((64, 20)) + 0.5)),
            timeout=0.05,
        )
    status, _, _ = _until_free(server)
    assert status == 200


def test_predictions_are_answered_meanwhile(served):
    server, _ = served
    body = v2(np.zeros((64, 20)) + 0.5)
    done = threading.Event()
    found = []

    def ask():
        found.append(post(server, "/v2/models/wide/explain", body)[0])
        done.set()

    thread = threading.Thread(target=ask)
    thread.start()
    answered = 0
    while not done.is_set():
        status, _, _ = post(server, "/v2/models/wide/infer", v2([[0.1] * 20]))
        assert status == 200
        answered += 1
    thread.join()
    assert found == [200]
    assert answered > 3


def _until_free(server):
    for _ in range(100):
        found = post(server, "/v2/models/plain/explain", v2([[1, 2, 3]]))
        if found[0] != 503:
            return found
        time.sleep(0.1)
    raise AssertionError("it stays busy")
