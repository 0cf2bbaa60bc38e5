"""The KServe SDK, in an environment of its own, by gRPC and by REST, v2 and v1."""

import json
import subprocess
from pathlib import Path

import pytest

from environments import environment
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Datatype
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list

pytestmark = pytest.mark.real
WANTED = ("kserve==0.21.0",)
SCRIPT = Path(__file__).parents[1] / "inner" / "ask_kserve.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the SDK found."""
    python = environment("KServe", WANTED)
    folder = tmp_path_factory.mktemp("models")
    served = [ServedModel("double", "1.0.0", str(models.double(folder / "double.onnx")), "")]
    for kind in Datatype:
        path = models.identity(folder / f"{kind}.onnx", kind)
        served.append(ServedModel(f"echo-{kind.lower()}", "1.0.0", str(path), ""))
    with Server(["--served", str(serve_list(folder / "l.json", served))]) as server:
        done = subprocess.run(
            [python, SCRIPT, server.address], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_health(found):
    for name in ("live", "ready", "model", "rest live", "rest ready", "rest model"):
        assert found[name] is True, name
    assert found["nobody"] is False


def test_every_value_comes_back(found):
    checked = {name: good for name, good in found.items() if name.split()[0] in {"grpc", "rest"}}
    values = {name: good for name, good in checked.items() if name.count(" ") == 2}
    assert len(values) == 30
    assert all(values.values()), [name for name, good in values.items() if not good]


def test_the_first_protocol(found):
    assert found["v1 model"] is True
    assert found["v1 predictions"] == [[2.0, 4.0, 6.0], [8.0, 10.0, 12.0]]


def test_a_refusal(found):
    code, why = found["refused"]
    assert code == "NOT_FOUND"
    assert "no model 'nobody'" in why
