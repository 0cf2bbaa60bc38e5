"""LiteRT and OpenVINO files of older writers come in and say what their writer said."""

import numpy as np
import pytest

import environments
from modelworks.core.imports import ImportOptions
from modelworks.core.seams import EngineOptions
from modelworks.intake.service import bring_in
from modelworks.plugins.load import load

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

TENSORFLOW = ("tensorflow-cpu==2.12.1",)
OPENVINO = ("openvino==2024.6.0", "numpy==1.26.4")


def answers(file, work, rows):
    """What the imported file says of all rows, in batches as it takes them."""
    work.mkdir()
    candidate = bring_in(file, ImportOptions(), work)
    session = load("engines", candidate.engine)().load(
        candidate.folder, EngineOptions(signature=candidate.signature)
    )
    [given] = candidate.signature.inputs
    size = given.shape[0] or len(rows)
    parts = [session.infer({given.name: rows[i : i + size]})[0] for i in range(0, len(rows), size)]
    session.close()
    return candidate, np.concatenate(parts)


@pytest.mark.parametrize(("name", "near"), [("new", 1e-5), ("first", 1e-5), ("int8", 0.05)])
def test_litert_files_of_tensorflow_2_12(name, near, tmp_path):
    files = environments.made("TensorFlow 2.12", TENSORFLOW, "litert_old_files.py")
    rows, said = np.load(files / "rows.npy"), np.load(files / "said.npy")
    candidate, found = answers(files / f"{name}.tflite", tmp_path / "work", rows)
    assert candidate.format == "tflite"
    np.testing.assert_allclose(found, said, atol=near)


@pytest.mark.parametrize(("name", "near"), [("mlp", 1e-5), ("mlp_half", 5e-3), ("cnn", 1e-5)])
def test_ir_of_openvino_2024(name, near, tmp_path):
    files = environments.made("OpenVINO 2024.6", OPENVINO, "openvino_files.py")
    rows, said = np.load(files / f"{name[:3]}_rows.npy"), np.load(files / f"{name[:3]}_said.npy")
    candidate, found = answers(files / f"{name}.xml", tmp_path / "work", rows)
    assert candidate.format == "openvino-ir"
    assert (files / "version.txt").read_text().startswith("2024.6")
    np.testing.assert_allclose(found, said, atol=near)
