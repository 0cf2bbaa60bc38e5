"""Metadata, health, index, statistics, and errors as answers."""

import inspect
import json

import pytest

from modelworks.core import errors
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.oip import documents
from modelworks.protocol.problems import problem, status_of

pytestmark = pytest.mark.unit

SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 30)),),
    (TensorSpec("label", Datatype.INT64, (None,)),),
)


def test_metadata():
    assert json.loads(documents.server_metadata("modelworks", "0.1.0", ["binary_tensor_data"])) == {
        "name": "modelworks",
        "version": "0.1.0",
        "extensions": ["binary_tensor_data"],
    }
    document = documents.model_metadata("m", ["1.0.0"], "onnx", "onnxruntime", SIGNATURE)
    assert json.loads(document) == {
        "name": "m",
        "versions": ["1.0.0"],
        "platform": "onnx_onnxruntime",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 30]}],
        "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}],
    }


def test_health():
    assert documents.server_live(live=True) == b'{"live":true}'
    assert documents.server_ready(ready=False) == b'{"ready":false}'
    assert documents.model_ready("m", ready=True) == b'{"name":"m","ready":true}'


def test_repository():
    entries = [documents.IndexEntry("m", "1.0.0", "READY")]
    assert json.loads(documents.repository_index(entries)) == [
        {"name": "m", "version": "1.0.0", "state": "READY", "reason": ""}
    ]
    for body in (b"", b" \n", b"{}", b'{"ready":false}'):
        assert documents.decode_index_request(body) is False
    assert documents.decode_index_request(b'{"ready":true}') is True
    assert documents.decode_repository_request(b"") == {}
    assert documents.decode_repository_request(b'{"parameters":null}') == {}
    assert documents.decode_repository_request(b'{"parameters":{"unload_dependents":true}}') == {
        "unload_dependents": True
    }


@pytest.mark.parametrize("body", [b"{", b"[]", b"3", b'{"ready":1}', b"\xff"])
def test_wrong_index_request(body):
    with pytest.raises(errors.InvalidError):
        documents.decode_index_request(body)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"parameters":[]}', b'{"parameters":"x"}'])
def test_wrong_repository_request(body):
    with pytest.raises(errors.InvalidError):
        documents.decode_repository_request(body)


def test_statistics():
    duration = documents.Duration
    model = documents.ModelStatistics(
        name="m",
        version="1.0.0",
        last_inference_ms=5,
        inference_count=10,
        execution_count=4,
        success=duration(8, 800),
        queue=duration(8, 80),
        batches=[documents.BatchStatistics(2, compute_infer=duration(4, 40))],
    )
    (entry,) = json.loads(documents.statistics([model]))["model_stats"]
    assert entry["inference_count"] == 10
    assert entry["execution_count"] == 4
    assert entry["last_inference"] == 5
    assert entry["inference_stats"]["success"] == {"count": 8, "ns": 800}
    assert set(entry["inference_stats"]) == {
        *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"),
        *("cache_hit", "cache_miss"),
    }
    (batch,) = entry["batch_stats"]
    assert batch["batch_size"] == 2
    assert batch["compute_infer"] == {"count": 4, "ns": 40}


STATUSES = {
    errors.InvalidError: 400,
    errors.RefusedError: 400,
    errors.UnauthenticatedError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.UnsupportedError: 501,
    errors.MissingExtraError: 501,
    errors.UnavailableError: 503,
    errors.DeadlineError: 504,
    errors.LimitedError: 429,
    errors.CorruptError: 500,
    errors.CrashedError: 500,
    errors.ModelworksError: 500,
}


def test_every_error_has_a_status():
    every = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.ModelworksError)
    }
    assert every == set(STATUSES)


@pytest.mark.parametrize("kind", STATUSES)
def test_statuses(kind):
    arguments = ("what", "extra", "lib") if kind is errors.MissingExtraError else ("what is wrong",)
    error = kind(*arguments)
    status, body, headers = problem(error)
    assert status == status_of(error) == STATUSES[kind]
    assert json.loads(body)["error"] == error.message
    assert "field" not in json.loads(body)
    assert [name for name, _ in headers] == {
        401: [b"WWW-Authenticate"],
        429: [b"Retry-After"],
        503: [b"Retry-After"],
    }.get(status, [])


def test_what_an_answer_tells():
    _, body, _ = problem(errors.InvalidError("bad", field="inputs[0].shape"))
    assert json.loads(body) == {"error": "bad", "field": "inputs[0].shape"}
    _, _, headers = problem(errors.UnavailableError("full", retry_after=7))
    assert headers == ((b"Retry-After", b"7"),)


def test_strangers_learn_nothing_of_our_faults():
    status, body, _ = problem(ValueError("/home/secret"))
    assert status == 500
    assert b"secret" not in body
