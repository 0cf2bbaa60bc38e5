"""Both exporters of PyTorch: which is taken, what it is compared on, and what is wrong with one."""

from pathlib import Path

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.imports import Exporter, ImportOptions, Runtime
from modelworks.core.model import Verdict
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.ext.importers.torch import TorchImporter
from modelworks.intake.service import bring_in
from modelworks.plugins.load import load

pytestmark = [
    pytest.mark.real,
    # torch's own, when TorchScript is written or a program is captured
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

ROW = TensorSpec("row", Datatype.FP32, (None, 3))
IMAGE = TensorSpec("image", Datatype.FP32, (None, 3, None, None))
STEPS = TensorSpec("steps", Datatype.FP32, (None, None, 4))
WORDS = TensorSpec("words", Datatype.INT64, (None, None))
SIX = TensorSpec("row", Datatype.FP32, (None, 6))


def network(name: str, folder: Path) -> dict[str, object]:
    import torch

    import torch_modules

    torch.manual_seed(0)
    return torch_modules.weights(getattr(torch_modules, name)(), folder)


def read(name: str, folder: Path, spec: TensorSpec, exporter: Exporter = Exporter.AUTO):
    saved = network(name, folder)
    into = folder / "into"
    into.mkdir(exist_ok=True)
    options = ImportOptions(factory=saved["factory"], inputs=(spec,), exporter=exporter)
    return TorchImporter().read(saved["path"], into, options)


def attempts(imported):
    return {attempt.by: attempt for attempt in imported.conversion.attempts}


def same(imported, folder: Path, *inputs: np.ndarray) -> None:
    """The form says what the network says, of each."""
    session = load("engines", "onnxruntime")().load(folder / "into", EngineOptions())
    name = imported.signature.inputs[0].name
    try:
        for each in inputs:
            told = imported.predict({name: each})
            answers = session.infer({name: each})
            for spec, answer in zip(imported.signature.outputs, answers, strict=True):
                np.testing.assert_allclose(answer, told[spec.name], atol=1e-4, rtol=1e-3)
    finally:
        session.close()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_both_are_right_and_the_newer_one_is_kept(tmp_path):
    """Below 32 pixels the network itself fails: sizes are looked for that it takes."""
    imported = read("Images", tmp_path, IMAGE, Exporter.BOTH)
    tried = attempts(imported)
    assert {by: attempt.why for by, attempt in tried.items()} == {"torchscript": "", "dynamo": ""}
    assert imported.conversion.by == "dynamo"
    shapes = [f"image[{n},3,{size}]" for size in ("96,32", "32,64") for n in (1, 2, 7, 16)]
    assert sorted(tried["dynamo"].shapes) == sorted(tried["torchscript"].shapes) == sorted(shapes)
    assert any("torchscript was right as well" in note for note in imported.notes)
    assert imported.lengths == (64, 96)
    assert sorted(p.name for p in (tmp_path / "into").iterdir()) == ["model.onnx"]
    same(imported, tmp_path, noise(3, 3, 40, 80), noise(1, 3, 96, 33))


def test_the_older_one_is_asked_where_the_newer_fails(tmp_path):
    """A recurrent network's steps cannot be captured free; one call can be followed."""
    imported = read("Recurrent", tmp_path, STEPS)
    tried = attempts(imported)
    assert list(tried) == ["dynamo", "torchscript"]
    assert "cannot be captured with the dynamic axes" in tried["dynamo"].why
    assert imported.conversion.by == "torchscript"
    assert [(o.name, o.shape) for o in imported.signature.outputs] == [
        ("answer", (None, 5)),
        ("state", (2, None, 5)),
    ]
    assert any("dynamo was not (the model cannot be captured" in note for note in imported.notes)
    same(imported, tmp_path, noise(3, 4, 4), noise(1, 30, 4))


def test_a_number_of_rows_that_is_baked_in_is_caught_and_named(tmp_path):
    imported = read("Sized", tmp_path, SIX, Exporter.BOTH)
    older = attempts(imported)["torchscript"]
    assert "right for row[2,6] only, a size is baked in: for row[1,6] it fails" in older.why
    assert older.shapes == ("row[2,6]",)
    assert imported.conversion.by == "dynamo"
    assert imported.signature.batch_axis
    note = next(note for note in imported.notes if "exporter dynamo" in note)
    assert "compared in 4 shapes" in note
    assert "a size is baked in" in note
    same(imported, tmp_path, noise(5, 6))
    # Asked for alone it is kept for what it is right for: one row at a time, and a note says so.
    (tmp_path / "one").mkdir()
    single = read("Sized", tmp_path / "one", SIX, Exporter.TORCHSCRIPT)
    assert single.signature.inputs[0].shape == (1, 6)
    assert any("fixed at 1" in note and "a size is baked in" in note for note in single.notes)


def test_a_length_that_is_baked_in_is_caught_and_named(tmp_path):
    """Rows of a batch all have one length: the number of rows alone would not show it."""
    with pytest.raises(UnsupportedError, match=r"a size is baked in: for words\[\d+,9\]"):
        read("Long", tmp_path, WORDS, Exporter.TORCHSCRIPT)
    assert list((tmp_path / "into").iterdir()) == []
    with pytest.raises(UnsupportedError, match=r"dynamo: .*onnxruntime.*torchscript: .*baked in"):
        read("Long", tmp_path, WORDS)


def test_a_way_chosen_by_values_is_refused_or_taken_by_the_owners_word(tmp_path):
    with pytest.raises(UnsupportedError) as caught:
        read("Choice", tmp_path, ROW)
    told = caught.value.message
    assert "dynamo: the model cannot be captured" in told
    assert "torchscript: a tensor becomes a Python boolean in torch_modules.py, line" in told
    assert "--exporter torchscript takes its form all the same" in told
    assert "\n" not in told
    assert len(told) <= 500
    saved = network("Choice", tmp_path)
    options = ImportOptions(factory=saved["factory"], inputs=(ROW,), exporter=Exporter.TORCHSCRIPT)
    found = bring_in(saved["path"], options, tmp_path / "work")
    (evidence,) = [item for item in found.evidence if item.kind == "conversion"]
    assert evidence.verdict is Verdict.ACCEPTED
    assert "taken by the owner's word although a tensor becomes" in evidence.summary


def test_missing_values_are_legal_where_the_network_fills_them_in(tmp_path):
    imported = read("Filled", tmp_path, ROW)
    assert imported.signature.inputs[0].allow_nan
    assert imported.conversion.attempts[0].missing
    assert imported.conversion.untried == ("torchscript",)
    assert any("Missing values are legal" in note for note in imported.notes)
    same(imported, tmp_path, np.array([[1, np.nan, 2], [np.nan, np.nan, np.nan]], np.float32))
    (tmp_path / "plain").mkdir()
    plain = read("Sized", tmp_path / "plain", SIX)
    assert not plain.signature.inputs[0].allow_nan
    assert not any("Missing" in note for note in plain.notes)


def test_missing_values_are_refused_where_the_form_answers_them_otherwise(tmp_path, monkeypatch):
    """A form that forgets them is told by rows that have some."""
    from modelworks.ext.importers.torch import export

    right = export.tidy

    def forgetful(path, outputs, inputs):
        import onnx

        right(path, outputs, inputs)
        model = onnx.load(path)
        for node in model.graph.node:
            if node.op_type == "IsNaN":
                node.op_type = "IsInf"
        onnx.save(model, path)

    monkeypatch.setattr(export, "tidy", forgetful)
    imported = read("Filled", tmp_path, ROW)
    assert not imported.signature.inputs[0].allow_nan
    assert any("Missing values are refused" in note for note in imported.notes)
    assert list(attempts(imported)) == ["dynamo", "torchscript"]


def test_what_neither_converts_names_both_in_one_short_line(tmp_path):
    spec = TensorSpec("row", Datatype.FP32, (None, 3, 3))
    with pytest.raises(UnsupportedError) as caught:
        read("Unknown", tmp_path, spec)
    told = caught.value.message
    assert told.startswith("no exporter of PyTorch's converts this network rightly; dynamo: ")
    assert "linalg_eig" in told
    assert "; torchscript: " in told
    assert "\n" not in told
    assert len(told) <= 500
    assert list((tmp_path / "into").iterdir()) == []


def test_the_users_word_is_kept_or_refused(tmp_path):
    import torch

    row = torch.jit.script(torch.nn.Linear(3, 2))
    row.save(str(tmp_path / "script.pt"))
    for asked in (Exporter.DYNAMO, Exporter.BOTH):
        with pytest.raises(
            InvalidError, match=f"--exporter {asked} .*only the exporter torchscript"
        ):
            TorchImporter().read(
                tmp_path / "script.pt", tmp_path, ImportOptions(inputs=(ROW,), exporter=asked)
            )
    program = torch.export.export(torch.nn.Linear(3, 2), (torch.zeros(2, 3),))
    torch.export.save(program, tmp_path / "program.pt2")
    options = ImportOptions(exporter=Exporter.TORCHSCRIPT)
    with pytest.raises(InvalidError, match="only the exporter dynamo"):
        TorchImporter().read(tmp_path / "program.pt2", tmp_path, options)
    saved = network("Filled", tmp_path)
    kept = ImportOptions(
        factory=saved["factory"], inputs=(ROW,), exporter=Exporter.DYNAMO, runtime=Runtime.NATIVE,
        trust=True,
    )  # fmt: skip
    with pytest.raises(InvalidError, match="--exporter means nothing with --runtime native"):
        bring_in(saved["path"], kept, tmp_path / "work")


def test_in_the_sandbox_the_evidence_says_which_and_on_what(tmp_path):
    saved = network("Sized", tmp_path)
    options = ImportOptions(factory=saved["factory"], inputs=(SIX,), exporter=Exporter.BOTH)
    found = bring_in(saved["path"], options, tmp_path / "work")
    (evidence,) = [item for item in found.evidence if item.kind == "conversion"]
    assert evidence.verdict is Verdict.PASSED
    wanted = "by dynamo, as the source in 4 shapes of inputs; torchscript: it is right for row[2,6]"
    assert evidence.summary.startswith(wanted)
    newer, older = evidence.detail["attempts"]
    assert (newer["by"], older["by"]) == ("dynamo", "torchscript")
    assert newer["shapes"] == ["row[2,6]", "row[1,6]", "row[7,6]", "row[16,6]"]
    assert newer["largest"] < 1e-5
    assert [file.name for file in found.folder.iterdir()] == ["model.onnx"]
