"""A small network trained on digits and brought in in every way that PyTorch can save it."""

import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from modelworks.core.errors import InvalidError, ModelworksError, RefusedError, UnsupportedError
from modelworks.core.imports import ImportOptions
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Layout, Role, TensorSpec
from modelworks.ext.importers.torch import TorchImporter
from modelworks.plugins.load import load

pytestmark = [
    pytest.mark.real,
    # torch's own, when the tests write TorchScript or export
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning"),
]
torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402 - after the check that it is there

DIGITS, NUMBERS = load_digits(return_X_y=True)
IMAGES = (DIGITS.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
INPUT = TensorSpec("image", Datatype.FP32, (None, 1, 8, 8))
FACTORY = """
from torch import nn


def make():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(0.2), nn.Flatten(), nn.Linear(128, 10),
    )
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def network(folder):
    """Trained for two seconds; in the mode for prediction."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    (folder / "factory.py").write_text(FACTORY)
    made: dict[str, object] = {}
    exec(FACTORY, made)  # the text above
    model = made["make"]()
    images, numbers = torch.from_numpy(IMAGES), torch.from_numpy(NUMBERS)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        with torch.enable_grad():  # another test's library may have left it off in this thread
            nn.functional.cross_entropy(model(images), numbers).backward()
        optimizer.step()
    return model.eval()


def brought(path: Path, into: Path, **options):
    """The import and its session."""
    imported = TorchImporter().read(path, into, ImportOptions(**options))
    session = load("engines", "onnxruntime")().load(into, EngineOptions())
    return imported, session


def check(imported, session, **inputs):
    """Source and result agree on every number of rows."""
    rows = len(next(iter(inputs.values())))
    for size in (1, 2, 7, rows) if imported.signature.batch_axis else (rows,):
        part = {name: array[:size] for name, array in inputs.items()}
        found = session.infer(part)
        told = imported.predict(part)
        for spec, array in zip(imported.signature.outputs, found, strict=True):
            assert len(array) == size
            np.testing.assert_allclose(array, told[spec.name], rtol=1e-3, atol=1e-4)
    return found


def saved(network, folder: Path, way: str) -> tuple[Path, dict[str, object]]:
    path = folder / f"digits-{way}"
    weights = network.state_dict()
    built = {"factory": f"{folder}/factory.py:make", "inputs": (INPUT,)}
    if way == "export":
        batch = ({0: torch.export.Dim("batch")},)
        example = (torch.zeros(2, 1, 8, 8),)
        program = torch.export.export(network, example, dynamic_shapes=batch)
        torch.export.save(program, path.with_suffix(".pt2"))
        return path.with_suffix(".pt2"), {}
    if way == "script":
        torch.jit.script(network).save(str(path))
        return path, {"inputs": (INPUT,)}
    if way == "trace":
        torch.jit.trace(network, torch.zeros(2, 1, 8, 8)).save(str(path))
        return path, {"inputs": (INPUT,)}
    if way == "safetensors":
        from safetensors.torch import save_file

        save_file(weights, path)
    elif way == "checkpoint":
        wrapped = {f"module.{name}": tensor for name, tensor in weights.items()}
        torch.save({"epoch": 3, "state_dict": wrapped}, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=way != "legacy")
    return path, built


WAYS = ["export", "script", "trace", "state", "legacy", "checkpoint", "safetensors"]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_saving_gives_the_same_network(way, network, folder, tmp_path):
    path, options = saved(network, folder, way)
    imported, session = brought(path, tmp_path, **options)
    (name,) = (spec.name for spec in imported.signature.inputs)
    (logits,) = check(imported, session, **{name: IMAGES[:50]})
    assert (logits.argmax(axis=1) == NUMBERS[:50]).mean() > 0.9
    with torch.no_grad():
        wanted = network(torch.from_numpy(IMAGES[:50])).numpy()
    np.testing.assert_allclose(logits, wanted, atol=1e-4)
    signature = imported.signature
    assert signature.inputs[0].shape == (None, 1, 8, 8)
    assert signature.outputs[0].shape == (None, 10)
    assert signature.outputs[0].role is Role.TENSOR
    assert signature.layout is Layout.TENSORS
    assert signature.batch_axis
    told = " ".join(imported.notes)
    assert ("the user's own code" in told) is ("factory" in options)
    assert ("DataParallel" in told) is (way == "checkpoint")


def test_nothing_of_the_exporting_machine_stays_in_the_file(network, folder, tmp_path):
    path, options = saved(network, folder, "export")
    brought(path, tmp_path, **options)
    data = (tmp_path / "model.onnx").read_bytes()
    assert b"site-packages" not in data
    assert b".py" not in data


def test_a_fixed_batch_stays_fixed_and_says_so(network, tmp_path):
    path = tmp_path / "fixed.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(4, 1, 8, 8),)), path)
    imported, session = brought(path, tmp_path)
    assert imported.signature.inputs[0].shape == (4, 1, 8, 8)
    assert not imported.signature.batch_axis
    assert any("dynamic_shapes" in note for note in imported.notes)
    check(imported, session, **{imported.signature.inputs[0].name: IMAGES[:4]})


class Table(nn.Module):
    """A row of numbers to one number."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Linear(3, 1)

    def forward(self, row):
        return self.layers(row)


class Pair(nn.Module):
    """Words and a length to a dictionary; the length of a sentence is dynamic."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 4)
        self.end = nn.Linear(5, 2)

    def forward(self, words, weight):
        mean = self.words(words).mean(dim=1)
        joined = torch.cat([mean, weight], dim=1)
        return {"logits": self.end(joined), "mean": mean}


class Flat(nn.Module):
    """Made for one row at a time."""

    def forward(self, row):
        return row.reshape(1, -1) * 2


class Random(nn.Module):
    """Never the same twice."""

    def forward(self, row):
        return row + torch.rand_like(row)


def weights(model: nn.Module, folder: Path) -> tuple[Path, str]:
    """Its weights, and a factory that makes it."""
    name = type(model).__name__
    torch.save(model.state_dict() or {"unused": torch.zeros(1)}, folder / "weights.pt")
    here = Path(__file__)
    (folder / "make.py").write_text(
        f"import sys\nsys.path.append({str(here.parent)!r})\n"
        f"from {here.stem} import {name}\n\ndef make():\n    return {name}()\n"
    )
    return folder / "weights.pt", f"{folder}/make.py:make"


def test_a_table_is_a_matrix_of_named_features(tmp_path):
    path, factory = weights(Table(), tmp_path)
    (tmp_path / "rows.csv").write_text("age,height,weight\n1,2,3\n4,5,6\n")
    imported, session = brought(path, tmp_path, factory=factory, sample=tmp_path / "rows.csv")
    assert imported.signature.layout is Layout.MATRIX
    assert imported.signature.features == ("age", "height", "weight")
    assert imported.signature.inputs[0].shape == (None, 3)
    assert imported.signature.outputs[0].role is Role.SCORE
    assert imported.sample["row"].tolist() == [[1, 2, 3], [4, 5, 6]]
    check(imported, session, row=np.ones((9, 3), np.float32))


def test_several_inputs_dynamic_axes_and_named_outputs(tmp_path):
    path, factory = weights(Pair().eval(), tmp_path)
    inputs = (
        TensorSpec("words", Datatype.INT64, (None, None)),
        TensorSpec("weight", Datatype.FP32, (None, 1)),
    )
    imported, session = brought(path, tmp_path, factory=factory, inputs=inputs)
    assert [(o.name, o.shape) for o in imported.signature.outputs] == [
        ("logits", (None, 2)),
        ("mean", (None, 4)),
    ]
    for length in (2, 9):
        words = np.arange(10 * length).reshape(10, length) % 50
        check(imported, session, words=words, weight=np.ones((10, 1), np.float32))


def test_a_network_for_one_row_is_not_called_batchable(tmp_path):
    script = tmp_path / "flat.pt"
    torch.jit.script(Flat()).save(str(script))
    imported, session = brought(
        script, tmp_path, inputs=(TensorSpec("row", Datatype.FP32, (1, 3)),)
    )
    assert imported.signature.inputs[0].shape == (1, 3)
    check(imported, session, row=np.ones((1, 3), np.float32))
    imported, _ = brought(script, tmp_path, inputs=(TensorSpec("row", Datatype.FP32, (None, 3)),))
    assert not imported.signature.batch_axis


def test_what_cannot_be_served_says_why(network, tmp_path):
    script = tmp_path / "random.pt"
    torch.jit.script(Random()).save(str(script))
    with pytest.raises(RefusedError, match=r"same answer twice.*model.eval"):
        brought(script, tmp_path, inputs=(TensorSpec("row", Datatype.FP32, (None, 3)),))
    path, factory = weights(Table(), tmp_path)
    shape = (TensorSpec("row", Datatype.FP32, (None, 4)),)
    with pytest.raises(InvalidError, match=r"does not take row:FP32\[-1,4\]"):
        brought(path, tmp_path, factory=factory, inputs=shape)
    texts = (TensorSpec("row", Datatype.BYTES, (None, 3)),)
    with pytest.raises(InvalidError, match="BYTES"):
        brought(path, tmp_path, factory=factory, inputs=texts)
    row = (TensorSpec("row", Datatype.FP32, (None, 3)),)
    with pytest.raises(InvalidError, match="tensors, not columns"):
        brought(path, tmp_path, factory=factory, inputs=row, layout=Layout.COLUMNS)
    other = tmp_path / "other.pt"
    torch.save(network.state_dict(), other)
    with pytest.raises(InvalidError, match="do not fit"):
        brought(other, tmp_path, factory=factory, inputs=shape)


def test_tampered_programs_run_nothing(network, folder, tmp_path):
    """A real program with one thing changed: refused, or opened harmlessly."""
    path, _ = saved(network, folder, "export")
    canary = tmp_path / "canary"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    model = next(name for name in members if "/models/" in name)
    call = f"__import__('os').system('touch {canary}')"
    changes = [
        (b'"torch.ops.aten.relu.default"', b'"torch.os.system"'),
        (b'"torch.ops.aten.relu.default"', b'"torch.hub.load"'),
        (b'"torch.ops.aten.relu.default"', b'"_operator.attrgetter"'),
        (b"Symbol('", b"__import__('os').system('touch x') or Symbol('"),
        (b'"guards_code": []', f'"guards_code": [{json.dumps(call)}]'.encode()),
        (b'\\"builtins.tuple\\"', b'\\"torch.Missing\\"'),
    ]
    for old, new in changes:
        assert old in members[model], old
        changed = tmp_path / "changed.pt2"
        with zipfile.ZipFile(changed, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data.replace(old, new) if name == model else data)
        with pytest.raises(RefusedError, match="nothing was executed"):
            brought(changed, tmp_path)
        assert not canary.exists()


def test_damage_anywhere_ends_in_our_own_errors(network, folder, tmp_path):
    random = np.random.default_rng(0)
    for way in ("script", "state", "safetensors"):
        path, options = saved(network, folder, way)
        whole = bytearray(path.read_bytes())
        for _ in range(12):
            broken = bytearray(whole)
            at = int(random.integers(0, len(whole) - 8))
            broken[at : at + 8] = random.bytes(8)
            (tmp_path / "broken.pt").write_bytes(broken)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    brought(tmp_path / "broken.pt", tmp_path, **options | {"inputs": ()})
                except ModelworksError as error:
                    assert "\n" not in error.message
                else:
                    pytest.fail("without inputs nothing comes in")


def test_models_beyond_onnx_say_so(tmp_path):
    class Sorted(nn.Module):
        def forward(self, row):
            return torch.linalg.eigvals(row @ row.transpose(1, 2)).real

    script = tmp_path / "eig.pt"
    torch.jit.trace(Sorted(), torch.randn(2, 3, 3)).save(str(script))
    with pytest.raises(UnsupportedError, match="ONNX"):
        brought(script, tmp_path, inputs=(TensorSpec("row", Datatype.FP32, (None, 3, 3)),))
