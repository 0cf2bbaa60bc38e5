"""Triton's own gRPC client against a real server: every call, every datatype, streams, asyncio."""

import asyncio
import json
import queue
import urllib.request
import warnings

import grpc
import numpy as np
import pytest

from grpc_client import KINDS, VALUES, connected, ones, refused, triton
from modelworks.core.served import Batching, ServedModel
from modelworks.core.tensor import Datatype
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
        ProtoReflectionDescriptorDatabase,
    )
    from tritonclient import http
    from tritonclient.grpc import aio, service_pb2, service_pb2_grpc
    from tritonclient.utils import triton_to_np_dtype

pytestmark = pytest.mark.real
TYPED = {
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    served = []

    def add(name, path, version="1.0.0", **more):
        served.append(ServedModel(name, version, str(path), "sha256:0", **more))

    for datatype in Datatype:
        name = f"echo-{datatype.lower()}"
        add(name, models.identity(folder / f"{name}.onnx", datatype))
    add("double", models.double(folder / "double.onnx"), aliases=("champion",))
    triple = models.double(folder / "triple.onnx", factor=3.0)
    add("double", triple, version="2.0.0", default=False)
    add("look-up", models.look_up(folder / "look-up.onnx"))
    add("slow", models.counting(folder / "slow.onnx", 20_000), batching=Batching(1))
    add("later", models.double(folder / "later.onnx"), autoload=False)
    with Server(["--served", str(serve_list(folder / "served.json", served))]) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with connected(server.address) as found:
        yield found


def test_health_and_documents(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    for named in (("double",), ("double", "2.0.0"), ("double@champion",)):
        assert client.is_model_ready(*named)
    for named in (("later",), ("nobody",), ("double", "9")):
        assert not client.is_model_ready(*named)
    found = client.get_server_metadata()
    assert found.name == "modelworks"
    model = client.get_model_metadata("double", as_json=True)
    assert model["versions"] == ["1.0.0", "2.0.0"]
    assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "3"]}]
    config = client.get_model_config("double").config
    assert config.max_batch_size == 64
    assert config.instance_group[0].kind == 2
    assert client.get_model_config("echo-bytes", as_json=True)["config"]["input"][0][
        "data_type"
    ] == ("TYPE_STRING")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_by_json_binary_and_grpc(server, client, kind):
    """Every datatype; both forms of HTTP, raw and typed by gRPC: the same values come back."""
    name = f"echo-{kind.lower()}"
    array = np.array(VALUES[kind] * 3, dtype=triton_to_np_dtype(kind)).reshape(3, 2)
    given = triton.InferInput("x", [3, 2], kind)
    given.set_data_from_numpy(array)
    raw = client.infer(name, [given]).as_numpy("y")
    np.testing.assert_array_equal(raw, array)
    with http.InferenceServerClient(server.address) as other:
        for binary in (True, False) if kind not in {"FP16", "BF16"} else (True,):
            by_http = http.InferInput("x", [3, 2], kind)
            by_http.set_data_from_numpy(array, binary_data=binary)
            wanted = [http.InferRequestedOutput("y", binary_data=binary)]
            found = other.infer(name, [by_http], outputs=wanted).as_numpy("y")
            if kind == "BYTES" and not binary:  # JSON carries text
                found = np.vectorize(lambda text: text.encode(), otypes=[object])(found)
            np.testing.assert_array_equal(found, raw)
    if kind in TYPED:
        asked = service_pb2.ModelInferRequest(model_name=name)
        tensor = asked.inputs.add(name="x", datatype=kind, shape=[3, 2])
        getattr(tensor.contents, TYPED[kind]).extend(array.ravel().tolist())
        with grpc.insecure_channel(server.address) as channel:
            answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(asked)
        found = list(getattr(answer.outputs[0].contents, TYPED[kind]))
        assert found == array.ravel().tolist()


def test_the_same_numbers_by_every_road(server, client):
    """What a model computes of random rows, to the last bit."""
    x = np.random.default_rng(7).normal(size=(17, 3)).astype(np.float32)
    given = triton.InferInput("x", [17, 3], "FP32")
    given.set_data_from_numpy(x)
    wanted = client.infer("double", [given]).as_numpy("y")
    entry = {"name": "x", "datatype": "FP32", "shape": [17, 3], "data": x.ravel().tolist()}
    request = urllib.request.Request(
        f"{server.url}/v2/models/double/infer", json.dumps({"inputs": [entry]}).encode()
    )
    with urllib.request.urlopen(request) as told:
        found = json.loads(told.read())["outputs"][0]["data"]
    assert np.array(found, np.float32).tobytes() == wanted.tobytes()
    with http.InferenceServerClient(server.address) as other:
        by_http = http.InferInput("x", [17, 3], "FP32")
        by_http.set_data_from_numpy(x)
        assert other.infer("double", [by_http]).as_numpy("y").tobytes() == wanted.tobytes()


def test_versions_ids_outputs_and_classes(client):
    for asked, more, wanted in (
        ("double", {}, (2, "1.0.0")),
        ("double", {"model_version": "2.0.0"}, (3, "2.0.0")),
        ("double@champion", {"request_id": "r-1"}, (2, "1.0.0")),
    ):
        answer = client.infer(asked, [ones()], **more)
        assert answer.as_numpy("y")[0, 0] == wanted[0]
        assert answer.get_response().model_version == wanted[1]
        assert answer.get_response().id == more.get("request_id", "")
    given = triton.InferInput("x", [1, 3], "FP32")
    given.set_data_from_numpy(np.array([[1, 3, 2]], np.float32))
    wanted = [triton.InferRequestedOutput("y", class_count=2)]
    found = client.infer("double", [given], outputs=wanted).as_numpy("y")
    assert [item.decode().split(":")[1] for item in found[0]] == ["1", "2"]


def test_async_calls_give_everyone_his_own(client):
    told = queue.Queue()
    for at in range(60):
        rows = 1 + at % 4
        client.async_infer(
            "double",
            [ones(at, rows)],
            callback=lambda result, error, at=at: told.put((at, result, error)),
        )
    for _ in range(60):
        at, result, error = told.get(timeout=30)
        assert error is None
        assert np.array_equal(result.as_numpy("y"), np.full((1 + at % 4, 3), 2.0 * at))


def test_a_stream(client):
    told = queue.Queue()
    client.start_stream(callback=lambda result, error: told.put((result, error)))
    for at in range(150):
        client.async_stream_infer("double", [ones(at)], request_id=f"{at}")
    client.async_stream_infer("nobody", [ones()], request_id="x")
    client.async_stream_infer("double", [ones(7)], request_id="last")
    for at in range(150):
        result, error = told.get(timeout=30)
        assert error is None
        assert result.get_response().id == f"{at}"
        assert result.as_numpy("y")[0, 0] == 2 * at
    _, error = told.get(timeout=30)
    assert "no model 'nobody'" in error.message()
    result, error = told.get(timeout=30)
    assert (error, result.get_response().id) == (None, "last")
    client.stop_stream()


def test_asyncio(server):
    async def main():
        async with aio.InferenceServerClient(server.address) as client:
            assert await client.is_model_ready("double")
            answers = await asyncio.gather(
                *(client.infer("double", [ones(at)]) for at in range(30))
            )
            for at, answer in enumerate(answers):
                assert answer.as_numpy("y")[0, 0] == 2 * at

            async def requests():
                for at in range(20):
                    yield {"model_name": "double", "inputs": [ones(at)], "request_id": f"{at}"}

            ids = []
            async for result, error in client.stream_infer(requests()):
                assert error is None
                ids.append(result.get_response().id)
            assert ids == [f"{at}" for at in range(20)]

    asyncio.run(asyncio.wait_for(main(), 60))


def test_repository(client):
    index = {(e.name, e.version): e for e in client.get_model_repository_index().models}
    assert index["double", "1.0.0"].state == "READY"
    assert index["later", "1.0.0"].state == "UNAVAILABLE"
    assert refused(lambda: client.infer("later", [ones()]))[0] == "StatusCode.UNAVAILABLE"
    client.load_model("later")
    assert client.infer("later", [ones()]).as_numpy("y")[0, 0] == 2
    client.unload_model("later")
    assert not client.is_model_ready("later")


REFUSED = [
    (lambda c: c.load_model("nobody"), "NOT_FOUND", "no model 'nobody'"),
    (lambda c: c.load_model("double", config="{}"), "UNIMPLEMENTED", "config"),
    (lambda c: c.get_model_metadata("nobody"), "NOT_FOUND", "no model 'nobody'"),
    (lambda c: c.get_model_config("double", "7"), "NOT_FOUND", "no version '7'"),
    (lambda c: c.get_inference_statistics("nobody"), "NOT_FOUND", "no model"),
    (lambda c: c.get_trace_settings(), "UNIMPLEMENTED", "--otlp"),
    (lambda c: c.get_log_settings(), "UNIMPLEMENTED", "logs are set"),
    (
        lambda c: c.register_system_shared_memory("r", "/k", 64),
        *("UNIMPLEMENTED", "raw bytes"),
    ),
    (lambda c: c.register_cuda_shared_memory("r", b"aA==", 0, 64), "UNIMPLEMENTED", "raw bytes"),
    (lambda c: c.infer("double", [ones(name="z")]), "INVALID_ARGUMENT", "inputs[0].name"),
    (lambda c: c.infer("double", [ones(), ones()]), "INVALID_ARGUMENT", "given twice"),
    (lambda c: c.infer("double", []), "INVALID_ARGUMENT", "'x' is missing"),
    (lambda c: c.infer("double", [ones()], priority=1, timeout=1), "DEADLINE_EXCEEDED", "time-out"),
    (
        lambda c: c.infer("double", [ones()], sequence_id=5, sequence_start=True),
        *("", "sequence"),
    ),
]


@pytest.mark.parametrize(("call", "status", "words"), REFUSED)
def test_refusals_name_the_reason(client, call, status, words):
    code, message = refused(lambda: call(client))
    assert status in code
    assert words in message


def test_shared_memory_is_empty(client):
    assert not client.get_system_shared_memory_status().regions
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()


def test_a_value_that_the_engine_refuses_fails_alone(client):
    told = queue.Queue()
    values = [1, 2, 500, 3, -1000, 4] * 4
    for value in values:
        given = triton.InferInput("x", [1, 1], "INT64")
        given.set_data_from_numpy(np.array([[value]], np.int64))
        client.async_infer(
            "look-up",
            [given],
            callback=lambda result, error, value=value: told.put((value, result, error)),
        )
    for _ in values:
        value, result, error = told.get(timeout=30)
        if 0 <= value < 100:
            assert result.as_numpy("y").tolist() == [[10 * value]]
        else:
            assert "refuses" in error.message()


def test_deadlines(client):
    code, _ = refused(lambda: client.infer("slow", [ones()], client_timeout=0.005))
    assert "DEADLINE_EXCEEDED" in code
    assert client.infer("slow", [ones()], client_timeout=60).as_numpy("y").shape == (1, 3)


def test_compression(client):
    answer = client.infer("double", [ones(rows=50)], compression_algorithm="gzip")
    assert answer.as_numpy("y").shape == (50, 3)
    code, why = refused(lambda: client.infer("double", [ones()], compression_algorithm="deflate"))
    assert "UNIMPLEMENTED" in code
    assert "gzip" in why


def test_large_tensors_there_and_back(server):
    x = np.random.default_rng(0).random((200_000, 3), dtype=np.float32)
    given = triton.InferInput("x", list(x.shape), "FP32")
    given.set_data_from_numpy(x)
    with connected(server.address) as client:
        np.testing.assert_array_equal(client.infer("double", [given]).as_numpy("y"), 2 * x)


def test_statistics(client):
    def of():
        [found] = client.get_inference_statistics("double", "2.0.0").model_stats
        return found

    client.infer("double", [ones()], model_version="2.0.0")
    before = of()
    for rows in (1, 3):
        client.infer("double", [ones(rows=rows)], model_version="2.0.0")
    after = of()
    assert after.inference_count - before.inference_count == 4
    assert after.inference_stats.success.count - before.inference_stats.success.count == 2
    assert {each.batch_size for each in after.batch_stats} >= {1, 3}
    assert after.memory_usage[0].byte_size > 0


def test_health_service_and_reflection(server):
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == 1
        watching = health.Watch(health_pb2.HealthCheckRequest())
        assert next(iter(watching)).status == 1
        watching.cancel()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            database = ProtoReflectionDescriptorDatabase(channel)
            services = database.get_services()
            file = database.FindFileContainingSymbol("inference.GRPCInferenceService")
    assert "inference.GRPCInferenceService" in services
    assert "grpc.health.v1.Health" in services
    [service] = file.service
    assert {method.name for method in service.method} >= {"ModelInfer", "ModelStreamInfer"}
