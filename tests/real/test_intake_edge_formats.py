"""LiteRT and OpenVINO files from the command line to HTTP, and what is refused on the way."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

import environments
from modelworks.core.errors import (
    CrashedError,
    InvalidError,
    ModelworksError,
    RefusedError,
    UnavailableError,
)
from modelworks.core.imports import ImportOptions
from modelworks.core.model import Verdict
from modelworks.core.served import ServedModel
from modelworks.intake.service import bring_in
from modelworks.sandbox.limits import Limits
from modelworks.testing.servers import Server, serve_list

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def lite():
    return environments.made("TensorFlow 2.21", environments.TENSORFLOW, "litert_files.py")


@pytest.fixture(scope="module")
def vino():
    return environments.made_here("openvino_files.py")


@pytest.fixture
def bring(tmp_path):
    def call(file, **more):
        work = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
        return bring_in(file, ImportOptions(), work, **more)

    return call


def kinds(candidate):
    return {evidence.kind: evidence for evidence in candidate.evidence}


def test_a_litert_file_comes_in_with_its_evidence(lite, bring):
    candidate = bring(lite / "mlp_int8.tflite")
    assert (candidate.format, candidate.engine) == ("tflite", "litert")
    assert (candidate.folder / "model.tflite").read_bytes() == (
        lite / "mlp_int8.tflite"
    ).read_bytes()
    evidence = kinds(candidate)
    assert evidence["parity"].verdict is Verdict.PASSED
    assert evidence["parity"].detail["batchable"]
    assert "real value" in str(evidence["signature"].detail)
    assert "data only" in evidence["scan"].summary
    assert "ai-edge-litert" in candidate.environment


def test_an_xml_file_brings_its_weights_along(vino, bring, tmp_path):
    for kind in ("xml", "bin"):
        shutil.copyfile(vino / f"mlp.{kind}", tmp_path / f"net.{kind}")
    candidate = bring(tmp_path / "net.xml")
    assert (candidate.format, candidate.engine) == ("openvino-ir", "openvino")
    assert sorted(p.name for p in candidate.folder.iterdir()) == ["model.bin", "model.xml"]
    assert kinds(candidate)["parity"].detail["batchable"]
    first = candidate.source_digest
    weights = bytearray((tmp_path / "net.bin").read_bytes())
    weights[3] ^= 1
    (tmp_path / "net.bin").write_bytes(weights)
    assert bring(tmp_path / "net.xml").source_digest != first


def test_weights_that_are_a_link_are_refused(vino, bring, tmp_path):
    shutil.copyfile(vino / "mlp.xml", tmp_path / "net.xml")
    (tmp_path / "net.bin").symlink_to(vino / "mlp.bin")
    with pytest.raises(RefusedError, match=r"net\.bin: symbolic links"):
        bring(tmp_path / "net.xml")


def test_weights_that_are_missing_are_told(vino, bring, tmp_path):
    shutil.copyfile(vino / "mlp.xml", tmp_path / "net.xml")
    with pytest.raises(InvalidError, match=r"net\.bin, which must lie beside it"):
        bring(tmp_path / "net.xml")


def test_too_large_a_pair_is_refused(vino, bring):
    with pytest.raises(InvalidError, match="allowed"):
        bring(vino / "mlp.xml", largest=(vino / "mlp.xml").stat().st_size + 10)


@pytest.mark.parametrize("name", ["custom", "flex"])
def test_operators_from_outside_are_refused(lite, bring, name):
    with pytest.raises(RefusedError, match="operator"):
        bring(lite / f"{name}.tflite")


@pytest.mark.parametrize("kind", ["tflite", "xml"])
def test_a_full_disk_is_told(lite, vino, bring, kind):
    file = lite / "heavy.tflite" if kind == "tflite" else vino / "heavy.xml"
    with pytest.raises(ModelworksError) as caught:
        bring(file, limits=Limits(file_bytes=1 << 20))
    assert isinstance(caught.value, RefusedError | UnavailableError)
    assert "file" in caught.value.message


@pytest.mark.parametrize("kind", ["tflite", "xml"])
def test_a_killed_import_is_told(lite, vino, bring, kind, tmp_path):
    """The sandbox's process is killed while it reads."""
    file = lite / "heavy.tflite" if kind == "tflite" else vino / "heavy.xml"
    before = children()
    stop = threading.Event()

    def kill():
        while not stop.wait(0.05):
            for pid in children() - before:
                time.sleep(0.3)  # into the work
                os.kill(pid, signal.SIGKILL)
                return

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(CrashedError, match="killed"):
            bring(file)
    finally:
        stop.set()
        killer.join()


def children() -> set[int]:
    """Processes that this one started and that still run."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


# -- served


@pytest.fixture(scope="module")
def server(lite, vino, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    models = []
    for name, source, form, engine in (
        ("lite", lite / "mlp.tflite", "tflite", "litert"),
        ("lite-int8", lite / "mlp_int8.tflite", "tflite", "litert"),
        ("lite-cnn", lite / "cnn.tflite", "tflite", "litert"),
        ("lite-lstm", lite / "lstm.tflite", "tflite", "litert"),
        ("vino", vino / "mlp.xml", "openvino-ir", "openvino"),
        ("vino-cnn", vino / "cnn.xml", "openvino-ir", "openvino"),
        ("vino-state", vino / "state.xml", "openvino-ir", "openvino"),
    ):
        work = folder / name
        candidate = bring_in(source, ImportOptions(), work)
        models.append(
            ServedModel(
                name=name,
                version="1.0.0",
                path=str(candidate.folder),
                digest="sha256:" + "0" * 64,
                format=form,
                engine=engine,
                signature=candidate.signature,
                default=True,
            )
        )
    served = serve_list(folder / "served.json", models)
    with Server(["--served", str(served)]) as running:
        yield running


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        deadline = time.monotonic() + 60
        while client.get("/v2/health/ready").status_code != 200:
            assert time.monotonic() < deadline, server.log
            time.sleep(0.1)
        yield client


def in_json(http, model, name, rows, datatype="FP32"):
    body = {
        "inputs": [
            {
                "name": name,
                "shape": list(rows.shape),
                "datatype": datatype,
                "data": rows.ravel().tolist(),
            }
        ]
    }
    answer = http.post(f"/v2/models/{model}/infer", json=body)
    assert answer.status_code == 200, answer.text
    first = answer.json()["outputs"][0]
    return np.array(first["data"]).reshape(first["shape"])


def in_binary(http, model, name, rows, datatype="FP32"):
    raw = rows.tobytes()
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "shape": list(rows.shape),
                    "datatype": datatype,
                    "parameters": {"binary_data_size": len(raw)},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    answer = http.post(
        f"/v2/models/{model}/infer",
        content=head + raw,
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    assert answer.status_code == 200, answer.text
    size = int(answer.headers["Inference-Header-Content-Length"])
    told = json.loads(answer.content[:size])["outputs"]
    length = told[0]["parameters"]["binary_data_size"]
    return np.frombuffer(answer.content[size : size + length], rows.dtype).reshape(told[0]["shape"])


@pytest.mark.parametrize(
    ("model", "folder", "name"),
    [
        ("lite", "lite", "mlp"), ("lite-cnn", "lite", "cnn"), ("lite-lstm", "lite", "lstm"),
        ("vino", "vino", "mlp"), ("vino-cnn", "vino", "cnn"),
    ],
)  # fmt: skip
def test_the_wire_says_what_the_framework_said(http, lite, vino, model, folder, name):
    files = lite if folder == "lite" else vino
    rows, said = np.load(files / f"{name}_rows.npy"), np.load(files / f"{name}_said.npy")
    if name == "lstm":
        rows, said = rows[:1], said[:1]
    tensor = http.get(f"/v2/models/{model}").json()["inputs"][0]["name"]
    for ask in (in_json, in_binary):
        np.testing.assert_allclose(ask(http, model, tensor, rows), said, atol=1e-4)


def test_integers_go_over_the_wire(http, lite):
    rows = np.load(lite / "mlp_rows.npy").astype(np.int8)
    listed = in_json(http, "lite-int8", "features", rows, "INT8")
    raw = in_binary(http, "lite-int8", "features", rows, "INT8")
    np.testing.assert_array_equal(listed, raw)


def test_a_state_is_not_shared_by_callers(http):
    one = np.ones((1, 2), np.float32)
    for _ in range(3):
        np.testing.assert_array_equal(in_json(http, "vino-state", "x", one), one)


def test_what_does_not_fit_is_the_callers_error(http):
    for model in ("lite", "vino"):
        body = {
            "inputs": [{"name": "features", "shape": [1, 9], "datatype": "FP32", "data": [0.0] * 9}]
        }
        answer = http.post(f"/v2/models/{model}/infer", json=body)
        assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(("model", "folder"), [("lite", "lite"), ("vino", "vino")])
def test_many_callers_at_once_get_their_own_rows(http, server, lite, vino, model, folder):
    files = lite if folder == "lite" else vino
    rows, said = np.load(files / "mlp_rows.npy"), np.load(files / "mlp_said.npy")
    wrong: list[str] = []

    def ask(start):
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for step in range(30):
                at = (start + step) % 28
                found = in_binary(client, model, "features", rows[at : at + 1 + step % 4])
                if not np.allclose(found, said[at : at + 1 + step % 4], atol=1e-4):
                    wrong.append(f"{start} {step}")

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert wrong == []


MISSING = """
import sys
from pathlib import Path
sys.modules[sys.argv[1]] = None
from modelworks.core.errors import MissingExtraError
from modelworks.core.imports import ImportOptions
from modelworks.core.served import ServedModel
from modelworks.plugins.load import load
from modelworks.serving.loading import load_model
name, file, form = sys.argv[2], Path(sys.argv[3]), sys.argv[4]
importer = load("importers", name)()
assert importer.sniff(file) is not None
try:
    importer.read(file, Path(sys.argv[5]), ImportOptions())
except MissingExtraError as error:
    print(error.message)
served = ServedModel("m", "1.0.0", str(file), "", form, name, None, True)
try:
    load_model(served, 1)
except MissingExtraError as error:
    print(error.message)
"""


@pytest.mark.parametrize(
    ("library", "name", "form"),
    [("ai_edge_litert", "litert", "tflite"), ("openvino", "openvino", "openvino-ir")],
)
def test_a_library_that_is_missing_is_named_with_its_cure(
    lite, vino, tmp_path, library, name, form
):
    file = lite / "mlp.tflite" if name == "litert" else vino / "mlp.xml"
    command = [sys.executable, "-c", MISSING, library, name, str(file), form, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stdout
    assert all(f'pip install "modelworks[{name}]"' in line for line in lines)


def test_from_the_command_line_to_an_answer(lite, vino, tmp_path):
    """import and serve, as a user does it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = os.environ | {"MODELWORKS_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "modelworks.cli.main"]
    for file, name in ((lite / "mlp.tflite", "lite"), (vino / "mlp.xml", "vino")):
        done = subprocess.run(
            [*command, "import", str(file), "--name", name],
            capture_output=True, text=True, check=False, timeout=300, env=env,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == f"{name}:1.0.0"
    serving = subprocess.Popen(
        [*command, "serve", "lite", "vino", "--port", str(port)], env=env, stderr=subprocess.PIPE
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            await_ready(client, serving)
            for model, files in (("lite", lite), ("vino", vino)):
                rows, said = np.load(files / "mlp_rows.npy"), np.load(files / "mlp_said.npy")
                np.testing.assert_allclose(
                    in_binary(client, model, "features", rows), said, atol=1e-4
                )
    finally:
        serving.send_signal(signal.SIGTERM)
        serving.communicate(timeout=60)


def await_ready(client, process):
    for _ in range(600):
        if process.poll() is not None:
            pytest.fail(process.stderr.read().decode())
        try:
            if client.get("/v2/health/ready").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    pytest.fail("the server was not ready within 60 s")
