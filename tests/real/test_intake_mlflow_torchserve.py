"""MLflow folders and TorchServe archives on the whole road: sandbox, evidence, server, mishaps."""

import json
import time
import urllib.error
import urllib.request
from contextlib import suppress

import numpy as np
import psutil
import pytest

import environments
from modelworks.core.errors import CrashedError, ModelworksError, RefusedError, UnavailableError
from modelworks.core.imports import ImportOptions, Runtime
from modelworks.core.model import Verdict
from modelworks.core.seams import EngineOptions
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.intake.service import bring_in
from modelworks.plugins.load import load
from modelworks.sandbox.limits import Limits
from modelworks.testing.servers import Server, serve_list

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
pytest.importorskip("torch")

MLFLOW = ("mlflow-skinny==3.17.2", "pandas==3.1.1")
ARCHIVER = "torch-model-archiver==0.12.0"
INPUT = (TensorSpec("x", Datatype.FP32, (None, 4)),)
NATIVE = ImportOptions(trust=True, runtime=Runtime.NATIVE)


@pytest.fixture(scope="module")
def folders():
    return environments.made("MLflow 3.17", MLFLOW, "mlflow_folders.py", beside=True)


@pytest.fixture(scope="module")
def archives():
    return environments.made(ARCHIVER, (ARCHIVER,), "torchserve_archives.py", beside=True)


@pytest.fixture
def bring(tmp_path):
    def call(file, options=ImportOptions(), progress=None, **more):  # noqa: B008 - frozen
        work = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
        work.mkdir()
        return bring_in(file, options, work, progress, environments=environments.kept(), **more)

    return call


def kinds(candidate):
    return {evidence.kind: evidence for evidence in candidate.evidence}


def test_a_folder_of_mlflow_comes_in_with_its_run(folders, bring):
    candidate = bring(folders / "sklearn")
    assert (candidate.format, candidate.source_format) == ("onnx", "mlflow-sklearn")
    assert candidate.origin["run"] == "0123456789abcdef0123456789abcdef"
    evidence = kinds(candidate)
    assert evidence["parity"].verdict is Verdict.PASSED
    assert "mlflow_version 3.17.2" in evidence["origin"].summary


def test_a_custom_model_runs_in_the_environment_it_was_logged_with(folders, bring):
    with pytest.raises(RefusedError, match="only MLflow can run"):
        bring(folders / "custom")
    candidate = bring(folders / "custom", NATIVE)
    evidence = kinds(candidate)
    assert evidence["trust"].verdict is Verdict.ACCEPTED
    assert evidence["native"].verdict is Verdict.PASSED
    interpreter = environments.kept()
    from modelworks.sandbox.environments import make

    python = make(tuple(sorted(MLFLOW)), interpreter)
    session = load("engines", "native")().load(
        candidate.folder, EngineOptions(trusted=True, interpreter=str(python))
    )
    try:
        rows = {
            "size": np.array([[50.0], [80.5]]),
            "rooms": np.array([[2], [3]]),
            "town": np.array([[b"ulm"], ["köln".encode()]], dtype=object),
            "extra": np.array([[1.0], [2.0]]),
        }
        names = [spec.name for spec in candidate.signature.outputs]
        found = dict(zip(names, session.infer(rows), strict=True))
        # 2.5 a size, twice by the parameter's default, the rooms, the extra
        assert found["price"].ravel().tolist() == [253.0, 407.5]
        assert found["town"].ravel().tolist() == [b"ULM", "KÖLN".encode()]
        rows["extra"] = np.array([[np.nan], [np.nan]])  # left out: the column is optional
        assert session.infer(rows)[names.index("price")].ravel().tolist() == [252.0, 405.5]
    finally:
        session.close()


def test_a_handler_is_served_over_http(archives, bring, tmp_path):
    with pytest.raises(RefusedError, match="around the model"):
        bring(archives / "rows.mar")
    candidate = bring(archives / "rows.mar", NATIVE)
    assert candidate.format == "native"
    served = ServedModel(
        "rows", "1.0.0", str(candidate.folder), "sha256:1", "native", "native", trusted=True,
        signature=candidate.signature,
    )  # fmt: skip
    path = serve_list(tmp_path / "served.json", [served])
    body = {
        "name": "body",
        "shape": [2],
        "datatype": "BYTES",
        "data": ['{"row": [1, 2, 3, 4]}'] * 2,
    }
    with Server(["--served", str(path)]) as server:
        request = urllib.request.Request(
            f"{server.url}/v2/models/rows/infer", json.dumps({"inputs": [body]}).encode()
        )
        (output,) = answered(request)["outputs"]
    assert output["name"] == "response"
    assert [json.loads(each)["together"] for each in output["data"]] == [2, 2]


def answered(request):
    """The answer, as soon as the model's own process has started."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            assert error.code == 503, error.read()
            assert time.monotonic() < deadline, error.read()
            time.sleep(0.5)


def test_images_are_decoded_as_the_default_handler_did(archives, bring):
    candidate = bring(archives / "image.mar")
    evidence = kinds(candidate)
    assert evidence["parity"].verdict is Verdict.PASSED
    assert evidence["steps"].verdict is Verdict.PASSED
    (only,) = candidate.signature.inputs
    assert only.datatype is Datatype.BYTES


@pytest.mark.parametrize("origin", ["mlflow", "torchserve"])
def test_a_killed_import_is_told(folders, archives, bring, origin):
    """The sandbox's process is killed while it reads."""

    def kill(line):
        if line.startswith("Reading"):
            for child in psutil.Process().children():
                with suppress(psutil.Error):  # what an earlier test left may be gone by now
                    if any("modelworks.sandbox.child" in word for word in child.cmdline()):
                        child.kill()

    file = folders / "sklearn" if origin == "mlflow" else archives / "script.mar"
    options = ImportOptions() if origin == "mlflow" else ImportOptions(inputs=INPUT)
    with pytest.raises(CrashedError, match="killed"):
        bring(file, options, kill)


@pytest.mark.parametrize("origin", ["mlflow", "torchserve"])
def test_a_full_disk_is_told(folders, archives, bring, origin):
    file = folders / "sklearn" if origin == "mlflow" else archives / "script.mar"
    options = ImportOptions() if origin == "mlflow" else ImportOptions(inputs=INPUT)
    with pytest.raises(ModelworksError) as caught:
        bring(file, options, limits=Limits(file_bytes=500))
    assert isinstance(caught.value, RefusedError | UnavailableError)
