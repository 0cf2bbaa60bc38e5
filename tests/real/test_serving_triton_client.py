"""Triton's own HTTP client against a real server: every verb, every datatype."""

import numpy as np
import pytest

from modelworks.core.served import Batching, ServedModel
from modelworks.core.tensor import Datatype
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list

http = pytest.importorskip("tritonclient.http")
from tritonclient.utils import InferenceServerException, triton_to_np_dtype  # noqa: E402

pytestmark = pytest.mark.real

VALUES = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, 65504],
    "FP32": [0.1, -3.4e38],
    "FP64": [0.1, 1.7e308],
    "BF16": [0.5, -2.0],
    "BYTES": ["é中".encode(), b""],
}
TEXT_ONLY = [str(d) for d in Datatype if d not in {Datatype.FP16, Datatype.BF16}]


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
    add("total", models.total(folder / "total.onnx"))
    add("centre", models.centre(folder / "centre.onnx"))
    add("free", models.double(folder / "free.onnx", width=None))
    add("later", models.double(folder / "later.onnx"), autoload=False)
    add("small-queue", models.double(folder / "small.onnx"), batching=Batching(4, 4))
    (folder / "broken.onnx").write_bytes(b"no model")
    add("broken", folder / "broken.onnx")
    with Server(["--served", str(serve_list(folder / "served.json", served))]) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with http.InferenceServerClient(server.address, concurrency=8) as connected:
        yield connected


def tensor(name, values, datatype, *, binary):
    array = np.array(values, dtype=triton_to_np_dtype(datatype))
    array = array.reshape(-1, 2) if array.size % 2 == 0 else array
    given = http.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return array, given


def ask(client, model, x, name="x", **more):
    given = http.InferInput(name, list(x.shape), "FP32")
    given.set_data_from_numpy(x)
    return client.infer(model, [given], **more)


def test_health(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("double")
    assert client.is_model_ready("double", "2.0.0")
    assert client.is_model_ready("double@champion")
    assert not client.is_model_ready("later")
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready("double", "9.0.0")


def test_metadata(client):
    found = client.get_server_metadata()
    assert found["name"] == "modelworks"
    assert "binary_tensor_data" in found["extensions"]
    assert client.get_model_metadata("double") == {
        "name": "double",
        "versions": ["1.0.0", "2.0.0"],
        "platform": "onnx_onnxruntime",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
    }


def test_model_config(client):
    found = client.get_model_config("double")
    assert found["max_batch_size"] == 64
    assert found["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}]
    assert client.get_model_config("echo-bytes")["input"][0]["data_type"] == "TYPE_STRING"
    unbatched = client.get_model_config("centre")
    assert unbatched["max_batch_size"] == 0
    assert "differs" in unbatched["parameters"]["unbatched"]["string_value"]
    assert unbatched["input"][0]["dims"] == [-1, 2]


@pytest.mark.parametrize("datatype", [str(d) for d in Datatype])
def test_every_datatype_in_binary(client, datatype):
    array, given = tensor("x", VALUES[datatype], datatype, binary=True)
    wanted = [http.InferRequestedOutput("y", binary_data=True)]
    answer = client.infer(f"echo-{datatype.lower()}", [given], outputs=wanted)
    np.testing.assert_array_equal(answer.as_numpy("y"), array)
    assert answer.get_output("y")["datatype"] == datatype


@pytest.mark.parametrize("datatype", TEXT_ONLY)
def test_every_datatype_in_json(client, datatype):
    array, given = tensor("x", VALUES[datatype], datatype, binary=False)
    wanted = [http.InferRequestedOutput("y", binary_data=False)]
    answer = client.infer(f"echo-{datatype.lower()}", [given], outputs=wanted)
    found = answer.as_numpy("y")
    if datatype == "BYTES":  # JSON carries text; the client hands it on as it came
        found = np.array(
            [[item.encode() if isinstance(item, str) else item for item in row] for row in found],
            dtype=object,
        )
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_halves_have_no_json_form(client, datatype):
    _, given = tensor("x", VALUES[datatype], datatype, binary=True)
    with pytest.raises(InferenceServerException, match="no JSON form"):
        client.infer(
            f"echo-{datatype.lower()}",
            [given],
            outputs=[http.InferRequestedOutput("y", binary_data=False)],
        )


def test_nan_and_infinity_pass_in_binary(client):
    x = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(ask(client, "double", x).as_numpy("y"), x)


def test_versions_and_aliases(client):
    x = np.ones((1, 3), np.float32)
    for asked, more, wanted in (
        ("double", {}, (2, "1.0.0")),
        ("double", {"model_version": "2.0.0"}, (3, "2.0.0")),
        ("double@champion", {}, (2, "1.0.0")),
    ):
        answer = ask(client, asked, x, **more)
        assert answer.as_numpy("y")[0, 0] == wanted[0]
        assert answer.get_response()["model_version"] == wanted[1]


def test_request_id_and_chosen_outputs(client):
    x = np.ones((1, 3), np.float32)
    answer = ask(client, "double", x, request_id="r-1")
    assert answer.get_response()["id"] == "r-1"
    assert "id" not in ask(client, "double", x).get_response()
    wanted = [http.InferRequestedOutput("y", binary_data=False)]
    assert ask(client, "double", x, outputs=wanted).get_output("y")["data"] == [2, 2, 2]


def test_classification(client):
    x = np.array([[1, 3, 2]], np.float32)
    wanted = [http.InferRequestedOutput("y", class_count=2)]
    found = ask(client, "double", x, outputs=wanted).as_numpy("y")
    assert [item.decode().split(":")[1] for item in found[0]] == ["1", "2"]


def test_scalar_outputs_and_free_axes(client):
    x = np.ones((5, 2), np.float32)
    assert ask(client, "total", x).as_numpy("y") == 10
    for width in (1, 7, 3):
        x = np.full((2, width), width, np.float32)
        np.testing.assert_array_equal(ask(client, "free", x).as_numpy("y"), 2 * x)


def test_a_model_whose_rows_depend_on_each_other_sees_each_request_alone(client):
    requests = []
    for i in range(24):
        x = np.array([[i, 0], [i + 2, 0]], np.float32)
        given = http.InferInput("x", [2, 2], "FP32")
        given.set_data_from_numpy(x)
        requests.append(client.async_infer("centre", [given]))
    for request in requests:
        assert request.get_result().as_numpy("y").tolist() == [[-1, 0], [1, 0]]


def test_async_infer_gives_everyone_his_own(client):
    requests = []
    for i in range(100):
        x = np.full((1 + i % 4, 3), i, np.float32)
        given = http.InferInput("x", list(x.shape), "FP32")
        given.set_data_from_numpy(x, binary_data=i % 2 == 0)
        requests.append((x, client.async_infer("double", [given])))
    for x, request in requests:
        np.testing.assert_array_equal(request.get_result().as_numpy("y"), 2 * x)


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_requests(client, compression):
    x = np.ones((2, 3), np.float32)
    answer = ask(client, "double", x, request_compression_algorithm=compression)
    np.testing.assert_array_equal(answer.as_numpy("y"), 2 * x)


def test_repository(client):
    index = {(e["name"], e["version"]): e for e in client.get_model_repository_index()}
    assert index["double", "1.0.0"]["state"] == "READY"
    assert index["broken", "1.0.0"]["state"] == "UNAVAILABLE"
    assert "ONNX" in index["broken", "1.0.0"]["reason"]
    assert index["later", "1.0.0"]["state"] == "UNAVAILABLE"
    x = np.ones((1, 3), np.float32)
    with pytest.raises(InferenceServerException, match="on request"):
        ask(client, "later", x)
    for _ in range(2):
        client.load_model("later")
        assert client.is_model_ready("later")
        assert ask(client, "later", x).as_numpy("y")[0, 0] == 2
    for _ in range(2):
        client.unload_model("later")
        assert not client.is_model_ready("later")
    with pytest.raises(InferenceServerException, match="unloaded"):
        ask(client, "later", x)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda c: c.load_model("nobody"), "no model 'nobody'"),
        (lambda c: c.unload_model("nobody"), "no model 'nobody'"),
        (lambda c: c.load_model("broken"), "ONNX"),
        (lambda c: c.load_model("double@champion"), "alias"),
        (lambda c: c.load_model("double", config="{}"), "config"),
        (lambda c: c.load_model("double", config="{}", files={"file:1/m": b"x"}), "not taken"),
        (lambda c: c.get_model_metadata("nobody"), "no model 'nobody'"),
        (lambda c: c.get_model_metadata("double", "7"), "no version '7'"),
        (lambda c: c.get_model_config("nobody"), "no model"),
        (lambda c: c.get_inference_statistics("nobody"), "no model"),
        (lambda c: c.register_system_shared_memory("r", "/k", 64), "not offered"),
        (lambda c: c.register_cuda_shared_memory("r", b"h", 0, 64), "not offered"),
    ],
)
def test_refusals_name_the_reason(client, call, said):
    with pytest.raises(InferenceServerException, match=said):
        call(client)


def test_shared_memory_is_empty(client):
    assert client.get_system_shared_memory_status() == []
    assert client.get_cuda_shared_memory_status() == []
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()


def test_a_tensor_in_shared_memory_is_refused(client):
    given = http.InferInput("x", [1, 3], "FP32")
    given.set_shared_memory("region", 12)
    with pytest.raises(InferenceServerException, match="shared memory"):
        client.infer("double", [given])


@pytest.mark.parametrize(
    ("model", "name", "shape", "datatype", "said"),
    [
        ("double", "x", [1, 4], "FP32", "shape"),
        ("double", "x", [3], "FP32", "shape"),
        ("double", "x", [1, 3], "FP64", "FP32"),
        ("double", "z", [1, 3], "FP32", "no input"),
        ("double", "x", [0, 3], "FP32", "no rows"),
        ("nobody", "x", [1, 3], "FP32", "no model"),
    ],
)
def test_wrong_requests(client, model, name, shape, datatype, said):
    given = http.InferInput(name, shape, datatype)
    given.set_data_from_numpy(np.zeros(shape, triton_to_np_dtype(datatype)))
    with pytest.raises(InferenceServerException, match=said):
        client.infer(model, [given])


def test_a_value_that_the_engine_refuses_fails_alone(client):
    def begin(value):
        given = http.InferInput("x", [1, 1], "INT64")
        given.set_data_from_numpy(np.array([[value]], np.int64))
        return client.async_infer("look-up", [given])

    values = [1, 2, 500, 3, -1000, 4] * 4
    for value, request in [(value, begin(value)) for value in values]:
        if 0 <= value < 100:
            assert request.get_result().as_numpy("y").tolist() == [[10 * value]]
        else:
            with pytest.raises(InferenceServerException, match="refuses"):
                request.get_result()


def test_an_expired_request_is_not_computed(client):
    with pytest.raises(InferenceServerException, match="time-out"):
        ask(client, "double", np.ones((1, 3), np.float32), timeout=1)
    answer = ask(client, "double", np.ones((1, 3), np.float32), timeout=10_000_000)
    assert answer.as_numpy("y")[0, 0] == 2


def test_more_rows_than_a_batch_holds(client):
    x = np.random.default_rng(0).random((500, 3), dtype=np.float32)
    np.testing.assert_array_equal(ask(client, "small-queue", x).as_numpy("y"), 2 * x)


def test_statistics(client):
    def of(model, version=""):
        [found] = client.get_inference_statistics(model, version)["model_stats"]
        return found

    before = of("free")
    for rows in (1, 1, 3):
        ask(client, "free", np.ones((rows, 3), np.float32))
    with pytest.raises(InferenceServerException):
        ask(client, "free", np.ones((1, 1, 1), np.float32))
    after = of("free", "1.0.0")
    assert after["inference_count"] - before["inference_count"] == 5
    assert after["execution_count"] - before["execution_count"] == 3
    took, failed = (after["inference_stats"][kind] for kind in ("success", "fail"))
    assert took["count"] - before["inference_stats"]["success"]["count"] == 3
    assert failed["count"] - before["inference_stats"]["fail"]["count"] == 1
    assert took["ns"] > after["inference_stats"]["compute_infer"]["ns"] > 0
    assert {row["batch_size"] for row in after["batch_stats"]} >= {1, 3}
    assert after["last_inference"] > 1_700_000_000_000
    everything = client.get_inference_statistics()["model_stats"]
    assert {entry["name"] for entry in everything} >= {"double", "free", "centre"}
