"""A variant from the registry to what answers, by the commands that a user types.

The model has steps before it; the variant is what ONNX Runtime's dynamic int8 makes of its file.
Its figures are made up: what is tried here is the way, not the gain.
"""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from urllib3.exceptions import HTTPError

from desk import HTTP, Desk, get, predict, until
from modelworks.apps.embed import local
from modelworks.control.forms import here
from modelworks.core.home import Home
from modelworks.core.tensor import Datatype
from modelworks.testing import onnx_models
from modelworks.testing.candidates import measured, variant
from recording_server import records
from store_servers import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

STEPS = {
    "inputs": [
        {"name": "age", "impute": {"value": 40.0}, "scale": {"mean": 40.0, "std": 12.0}},
        {"name": "income", "impute": {"value": 2e4}, "scale": {"mean": 2e4, "std": 9e3}},
    ]
}
ROWS = [{"age": 23, "income": 31000}, {"age": None, "income": 12000}, {"age": 71, "income": None}]
MANIFEST = """\
kind: Deployment
apiVersion: modelworks/v1
metadata: {{name: credit}}
spec:
  model: credit
  variant: {form}
  target: local
  access: {{port: {port}}}
  strategy: {{drain_s: 5}}
"""


def network(path: Path) -> Path:
    """Two columns in, one number out, by two layers of 64."""
    random = np.random.default_rng(5)
    x, y = (onnx_models.info(n, Datatype.FP32, (None, w)) for n, w in (("x", 2), ("y", 1)))
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "d"], ["y"]),
    ]
    weights = {
        "a": random.standard_normal((2, 64), np.float32),
        "d": random.standard_normal((64, 1), np.float32),
    }
    return onnx_models.write(path, nodes, [x], [y], weights)


def add_int8(home: Home, work: Path, name: str = "int8") -> None:
    """Keep int8 of the latest `credit` as a variant."""
    with local(home) as factory:
        version = factory.show("credit")
        folder = work / f"form-{name}"
        folder.mkdir(exist_ok=True)
        source = factory.materialise(version.ref) / "model.onnx"
        quantize_dynamic(source, folder / "model.onnx", weight_type=QuantType.QInt8)
        kind = here().hardware
        figures = {"measurement": measured(kind, 50.0), "source": measured(kind, 100.0)}
        made = factory.add_variant(variant(version, name, **figures), folder)
        assert "steps.json" in dict(made.artifact.files)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A home with `credit:1.0.0`, which has the variant `int8`."""
    desk = Desk(tmp_path_factory.mktemp("variants"))
    network(desk.folder / "net.onnx")
    (desk.folder / "steps.json").write_text(json.dumps(STEPS))
    (desk.folder / "rows.csv").write_text("age,income\n23,31000\n71,8000\n40,20000\n")
    given = ["--steps", "steps.json", "--sample", "rows.csv"]
    desk.mw("import", "net.onnx", "--name", "credit", *given)
    add_int8(Home(desk.folder / "home"), desk.folder)
    return desk


@pytest.fixture(scope="module")
def answers(desk: Desk) -> dict[str, list[float]]:
    """What each form says of ROWS, asked of servers of their own."""
    found = {}
    for form, want in (("", ["credit"]), ("int8", ["credit", "--variant", "fastest"])):
        with desk.running("serve", *want, "--port", "0", "--record", "1") as server:
            found[form] = told(server.said["url"])
            assert form_of(server.said["url"]) == form
            if form:
                assert server.said["models"] == ["credit:1.0.0#int8"]
                told_off = desk.mw("delete", "credit#int8", "--yes", code=5).err
                assert "credit:1.0.0#int8 is served at" in told_off
    return found


def told(url: str) -> list[float]:
    """The number of each row."""
    return [row["outputs"]["y"] for row in predict(url, "credit", ROWS)["predictions"]]


def form_of(url: str) -> str:
    return get(f"{url}/v2/models/credit").get("parameters", {}).get("variant", "")


def test_served_by_goal_a_variant_keeps_its_versions_steps(answers):
    source, int8 = np.array(answers[""]), np.array(answers["int8"])
    assert not np.array_equal(source, int8)  # it is another form
    assert np.all(np.isfinite(int8))
    assert np.corrcoef(source, int8)[0, 1] > 0.99


def test_records_name_the_form_that_answered(desk, answers):
    kept = records(Home(desk.folder / "home").records)
    assert {(one.model, one.version, one.variant) for one in kept} == {
        ("credit", "1.0.0", ""),
        ("credit", "1.0.0", "int8"),
    }


def test_up_serves_the_fastest_and_what_is_killed_comes_back_as_it_was(desk, answers):
    home = Home(desk.folder / "home")
    ports = ["--port", "0", "--control-port", "0", "--no-watch"]
    with desk.running("up", "--variant", "fastest", *ports) as up:
        url = up.said["server"]
        until("int8 answers", lambda: form_of(url) == "int8")
        assert told(url) == pytest.approx(answers["int8"], rel=1e-6)
        listed = json.loads((home.run / "served.json").read_text())
        assert [model["variant"] for model in listed["models"]] == ["int8"]
        server = server_of(up.process.pid)
        os.kill(server, signal.SIGKILL)
        until("another process answers", lambda: server_of(up.process.pid) not in {0, server})
        until("int8 answers again", lambda: answered(url) == "int8")
        desk.mw("delete", "credit#int8", "--yes")
        until("the version as it was imported answers", lambda: form_of(url) == "")
        assert told(url) == pytest.approx(answers[""], rel=1e-6)
        add_int8(home, desk.folder)
        until("int8 is back", lambda: form_of(url) == "int8")
        assert told(url) == pytest.approx(answers["int8"], rel=1e-6)


def server_of(parent: int) -> int:
    """The model server among the children of `up`; 0 = there is none."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if b"modelworks.apps.server" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    return 0


def answered(url: str) -> str:
    """As `form_of`, of a server that may be away, or still load the model."""
    try:
        ready = HTTP.request("GET", f"{url}/v2/models/credit/ready").status == 200
    except HTTPError:
        return "?"
    return form_of(url) if ready else "?"


def test_deployed_it_is_fixed_in_the_revision(desk, answers):
    port = free_port()
    manifest = desk.folder / "deploy.yaml"
    url = f"http://127.0.0.1:{port}"
    try:
        manifest.write_text(MANIFEST.format(form="fastest", port=port))
        desk.mw("apply", "-f", "deploy.yaml", "--yes")
        assert (form_of(url), told(url)) == ("int8", pytest.approx(answers["int8"], rel=1e-6))
        assert "credit:1.0.0#int8" in desk.mw("status").out
        assert "or can go back to it" in desk.mw("delete", "credit#int8", "--yes", code=5).err
        manifest.write_text(MANIFEST.format(form="source", port=port))
        desk.mw("apply", "-f", "deploy.yaml", "--yes")
        assert (form_of(url), told(url)) == ("", pytest.approx(answers[""], rel=1e-6))
        desk.mw("rollback", "credit")
        assert form_of(url) == "int8"
    finally:
        desk.mw("delete", "--deployment", "credit", "--yes")


def test_it_comes_back_from_a_backup(desk, answers):
    desk.mw("backup", "all.tar")
    other = {"MODELWORKS_HOME": str(desk.folder / "other")}
    desk.mw("restore", "all.tar", **other)
    assert "credit:1.0.0  ok" in desk.mw("verify", "--all", **other).out
    (line,) = desk.mw("variants", "credit", "--json", **other).json
    assert line["ref"] == "credit:1.0.0#int8"
    away = Desk(desk.folder / "away")
    away.folder.mkdir()
    (away.folder / "home").symlink_to(desk.folder / "other")
    with away.running("serve", "credit#int8", "--port", "0") as server:
        assert told(server.said["url"]) == pytest.approx(answers["int8"], rel=1e-6)
