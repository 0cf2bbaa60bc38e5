"""Model folders written by MLflow 2 come in, and answer what MLflow 2 answered."""

from pathlib import Path

import numpy as np
import pytest

import environments
from modelworks.core.imports import ImportOptions
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Role
from modelworks.intake.service import bring_in
from modelworks.plugins.load import load

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
pytest.importorskip("torch")

MLFLOW_2 = ("mlflow-skinny==2.22.5", "pandas==2.3.3")


@pytest.fixture(scope="module")
def folders() -> Path:
    return environments.made("MLflow 2.22", MLFLOW_2, "mlflow_folders.py", beside=True)


@pytest.mark.parametrize("name", ["sklearn", "columns", "xgboost", "lightgbm", "pytorch"])
def test_a_folder_of_mlflow_2_answers_as_it_did_there(folders, tmp_path, name):
    work = tmp_path / "work"
    work.mkdir()
    trust = ImportOptions(trust=name == "pytorch")  # a pickled module
    candidate = bring_in(folders / name, trust, work)
    assert candidate.source_format == f"mlflow-{'sklearn' if name == 'columns' else name}"
    assert candidate.origin["mlflow_version"] == "2.22.5"
    session = load("engines", "onnxruntime")().load(
        candidate.folder, EngineOptions(signature=candidate.signature)
    )
    outputs = session.infer(rows(candidate.signature, name))
    signature = candidate.signature
    spec = signature.output(Role.LABEL) or signature.outputs[0]
    expected = np.load(folders / f"{name}.npy")
    got = np.asarray(outputs[signature.outputs.index(spec)]).reshape(expected.shape)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    session.close()


def rows(signature, name):
    """What the maker asked MLflow."""
    from sklearn.datasets import load_iris

    matrix = load_iris().data[::10].astype(np.float32)
    if name != "columns":
        return {signature.inputs[0].name: matrix}
    colours = np.array([[b"red"], [b"blue"], [b"green"]] * 5, dtype=object)
    return {"length": matrix[:, :1], "colour": colours}
