"""The engine `native` against the engine contract: a process of its own behaves as an engine."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.native import NativeModel, write_native
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.plugins.load import load as plugin
from modelworks.sandbox.vigil import resident
from modelworks.testing.engines import EngineCase, EngineContract
from modelworks.testing.loaders import gone

pytestmark = pytest.mark.contract
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 3)),), (TensorSpec("y", Datatype.FP32, (None, 3)),)
)
HEAVY = (
    "import numpy as np\n"
    "def load():\n"
    "    return np.ones(8 << 20)\n"
    "def predict(held, inputs):\n"
    "    return {'y': inputs['x'] * held[0]}\n"
)


class Trusted:
    """The engine, by an owner's word, without the spare that these tests would only wait for."""

    def __init__(self):
        engine = plugin("engines", "native")()
        self.name, self.formats, self._engine = engine.name, engine.formats, engine

    def load(self, path, options):
        extra = (("spare", "off"), *options.extra)
        return self._engine.load(path, replace(options, trusted=True, extra=extra))


def artifact(folder: Path, code: str = "def predict(i):\n    return {'y': i['x'] * 2}\n") -> Path:
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.py").write_text(code)
    write_native(folder, NativeModel("python", "model", SIGNATURE))
    return folder


class TestNative(EngineContract):
    @pytest.fixture
    def case(self, tmp_path):
        broken = {}
        for what in ("empty", "truncated", "foreign", "climbing"):
            broken[what] = artifact(tmp_path / what)
        whole = (broken["empty"] / "native.json").read_bytes()
        (broken["empty"] / "native.json").write_bytes(b"")
        (broken["truncated"] / "native.json").write_bytes(whole[: len(whole) // 2])
        (broken["foreign"] / "native.json").write_bytes(whole.replace(b'"python"', b'"nobody"'))
        climbing = whole.replace(b'"source": "model"', b'"source": "../empty/model"')
        (broken["climbing"] / "native.json").write_bytes(climbing)
        broken["missing"] = tmp_path / "nowhere"
        return EngineCase(
            engine=Trusted(),
            model=artifact(tmp_path / "model"),
            inputs=lambda rows: {
                "x": np.random.default_rng(rows).random((rows, 3), dtype=np.float32)
            },
            broken=broken,
            weighty=artifact(tmp_path / "weighty", HEAVY),
        )

    def test_close_gives_the_memory_back(self, case):
        """The memory is another process's: it is there, and goes with it."""
        session = case.engine.load(case.weighty, EngineOptions())
        pid = session.pid
        assert resident(pid) > 64 << 20
        session.close()
        assert gone(pid)


@pytest.mark.parametrize(
    ("name", "value"),
    [("memory_gib", "0"), ("deadline_s", "soon"), ("start_s", "1e9"), ("spare", "maybe")],
)
def test_a_setting_that_cannot_be_is_refused(tmp_path, name, value):
    with pytest.raises(InvalidError) as caught:
        Trusted().load(artifact(tmp_path / "m"), EngineOptions(extra=((name, value),)))
    assert caught.value.field == name
