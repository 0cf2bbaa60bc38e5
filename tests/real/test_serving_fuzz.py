"""Hostile requests against a real server: never a 5xx for bad input, never a crash."""

import http.client
import json
import socket
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from modelworks.core.served import ServedModel
from modelworks.core.tensor import Datatype
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list
from properties import examples

pytestmark = pytest.mark.real
ASKING = examples(100, suppress_health_check=list(HealthCheck))
GOOD = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    paths = {
        "double": models.double(folder / "double.onnx"),
        "free": models.double(folder / "free.onnx", width=None),
        "text": models.identity(folder / "text.onnx", Datatype.BYTES),
        "look-up": models.look_up(folder / "look-up.onnx"),
        "half": models.identity(folder / "half.onnx", Datatype.FP16),
    }
    served = [ServedModel(name, "1.0.0", str(path), "") for name, path in paths.items()]
    with Server(["--served", str(serve_list(folder / "served.json", served))]) as running:
        yield running
        assert running.process.poll() is None
        assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def ask(server):
    connection = http.client.HTTPConnection(server.address, timeout=20)

    def call(method, path, body=None, headers=None):
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()

    yield call
    connection.close()


def fine(ask):
    status, body = ask("POST", "/v2/models/double/infer", json.dumps(GOOD))
    assert status == 200
    assert json.loads(body)["outputs"][0]["data"] == [2, 4, 6]


def refused_or_right(status, body):
    assert status < 500, body
    if status >= 400:
        told = json.loads(body)
        assert told["error"]
        assert "\n" not in told["error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["inputs", "outputs", "name", "x", "shape", "datatype", "data", "rows"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "y", ""]) | JSON,
        "shape": st.lists(st.integers(-2, 2**63), max_size=4) | JSON,
        "datatype": st.sampled_from(["FP32", "INT64", "BYTES", "FP16", "nothing"]) | JSON,
    },
    optional={
        "data": st.lists(st.integers() | st.floats() | st.none(), max_size=6) | JSON,
        "parameters": st.dictionaries(
            st.sampled_from(["binary_data_size", "shared_memory_region", "classification"]),
            st.integers(-1, 2**40) | JSON,
        ),
    },
)
REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=3) | JSON},
    optional={
        "id": JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.just("y") | JSON}) | JSON),
        "parameters": st.dictionaries(
            st.sampled_from(["timeout", "priority", "binary_data_output", "sequence_id"]), JSON
        ),
    },
)
MODELS = st.sampled_from(["double", "free", "text", "look-up", "half"])


PARTS = [
    "",
    "v2",
    "models",
    "double",
    "versions",
    "1.0.0",
    "infer",
    "ready",
    "stats",
    "config",
    "repository",
    "index",
    "load",
    "health",
    "live",
    "predict",
    "metrics",
    "%2e%2e",
    "region",
    "status",
    "%00",
    "%ff",
    "@",
    "@x",
    ":1.0.0",
    "systemsharedmemory",
    "cudasharedmemory",
]


def as_json(value):
    return json.dumps(value)  # Python's: NaN and Infinity too, which JSON has not


@ASKING
@given(MODELS, REQUEST)
def test_structured_nonsense_to_infer(ask, model, request_):
    refused_or_right(*ask("POST", f"/v2/models/{model}/infer", as_json(request_)))


@ASKING
@given(MODELS, JSON | st.fixed_dictionaries({"rows": st.lists(JSON, max_size=4) | JSON}))
def test_structured_nonsense_to_predict(ask, model, body):
    refused_or_right(*ask("POST", f"/predict/{model}", as_json(body)))


@ASKING
@given(MODELS, st.binary(max_size=200), st.none() | st.integers(-5, 300))
def test_bytes_to_infer(ask, model, body, length):
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    refused_or_right(*ask("POST", f"/v2/models/{model}/infer", body, headers))
    refused_or_right(*ask("POST", f"/predict/{model}", body))


@ASKING
@given(
    st.sampled_from(list(Datatype)),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.binary(max_size=64),
    st.integers(0, 80),
    MODELS,
)
def test_lying_binary_tensors(ask, datatype, shape, raw, size, model):
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": shape,
                    "datatype": datatype,
                    "parameters": {"binary_data_size": size},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    refused_or_right(*ask("POST", f"/v2/models/{model}/infer", head + raw, headers))


@ASKING
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]),
    st.lists(
        st.sampled_from(PARTS),
        max_size=6,
    ),
)
def test_any_method_on_any_path(ask, method, path):
    status, _ = ask(method, "/" + "/".join(path), "{}")
    assert status < 500 or status == 501


def test_deep_nesting_and_huge_numbers(ask):
    for body in ("[" * 100_000, '{"inputs":' * 5000, '{"rows":' + "[" * 900 + "]" * 900 + "}"):
        for path in ("/v2/models/double/infer", "/predict/double"):
            refused_or_right(*ask("POST", path, body))
    for shape in ([2**62, 2**62], [10**9, 10**9, 10**9], [0] * 4000):
        wrong = {"inputs": [GOOD["inputs"][0] | {"shape": shape}]}
        for model in ("double", "free"):
            refused_or_right(*ask("POST", f"/v2/models/{model}/infer", json.dumps(wrong)))
    fine(ask)


def test_values_that_the_model_refuses(ask):
    for value in (100, -101, 2**62):
        entry = {"name": "x", "shape": [1, 1], "datatype": "INT64", "data": [value]}
        status, body = ask("POST", "/v2/models/look-up/infer", json.dumps({"inputs": [entry]}))
        assert status == 400, body


def garbage():
    generator = np.random.default_rng(5)
    good = json.dumps(GOOD).encode()
    head = b"POST /v2/models/double/infer HTTP/1.1\r\nHost: a\r\n"
    yield from (generator.bytes(int(n)) for n in generator.integers(1, 400, 30))
    yield b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n"
    yield head + b"Content-Length: 1000\r\n\r\n" + good
    yield head + b"Content-Length: 5\r\n\r\n" + good
    yield head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + good
    yield head + b"Content-Length: -1\r\n\r\n"
    yield head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    yield head + b"X: " + b"y" * 100_000 + b"\r\n\r\n"
    yield head + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\0\0"
    yield b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(100)  # a TLS hello
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def test_garbage_on_raw_sockets(server, ask):
    host, port = server.address.split(":")
    for data in garbage():
        for reset in (False, True):
            with socket.create_connection((host, int(port)), timeout=10) as sock:
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.sendall(data)
                if not reset:
                    sock.shutdown(socket.SHUT_WR)
                    answer = b""
                    while piece := sock.recv(65536):
                        answer += piece
                    assert b" 500 " not in answer.split(b"\r\n")[0]
    fine(ask)


def test_clients_that_leave_harm_nobody(server, ask):
    """Half of a burst disconnects before its answers; the others get theirs."""
    host, port = server.address.split(":")
    body = json.dumps(GOOD).encode()
    message = b"POST /v2/models/double/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
    message %= (len(body), body)
    for _ in range(10):
        socks = [socket.create_connection((host, int(port)), timeout=10) for _ in range(20)]
        for sock in socks:
            sock.sendall(message)
        for sock in socks[::2]:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        for sock in socks[1::2]:
            assert b"[2.0,4.0,6.0]" in sock.recv(65536)
            sock.close()
    fine(ask)


def test_numpy_like_floats_survive(ask):
    """NaN in JSON is no JSON; null is NaN where the signature says so, and comes back as null."""
    body = json.dumps(GOOD).replace("[1, 2, 3]", "[NaN, 1, 2]")
    assert ask("POST", "/v2/models/double/infer", body)[0] == 400
    body = json.dumps(GOOD).replace("[1, 2, 3]", "[null, 1, 2]")
    status, answer = ask("POST", "/v2/models/double/infer", body)
    assert status == 200
    assert json.loads(answer)["outputs"][0]["data"] == [None, 2, 4]
