"""MLflow's importer against the contract of all importers, on folders that MLflow wrote."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import environments
from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.imports import ImportOptions, Runtime
from modelworks.core.tensor import Layout, Role
from modelworks.testing.importers import Bad, Good, ImporterContract

pytestmark = [
    pytest.mark.contract,
    pytest.mark.real,
    pytest.mark.timeout(900),
    # of skl2onnx and torch, while they convert
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
pytest.importorskip("torch")

MLFLOW = ("mlflow-skinny==3.17.2", "pandas==3.1.1")
NATIVE = ImportOptions(trust=True, runtime=Runtime.NATIVE)
TRUST = ImportOptions(trust=True)


def made() -> Path:
    return environments.made("MLflow 3.17", MLFLOW, "mlflow_folders.py", beside=True)


def iris():
    from sklearn.datasets import load_iris

    return load_iris().data[::10].astype(np.float32)


def edited(name: str, target: Path, *changes: tuple[str, str]) -> Path:
    """A copy of a folder with other words in its MLmodel."""
    shutil.copytree(made() / name, target)
    text = (target / "MLmodel").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    (target / "MLmodel").write_text(text)
    return target


class Gadget:
    """Pickles itself as a call of the shell."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.canary}",)


class TestMlflow(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        from modelworks.ext.importers.mlflow import MlflowImporter

        return MlflowImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls):
        folder = made()
        rows = iris()
        columns = {
            "length": rows[:, :1],
            "colour": np.array([[b"red"], [b"blue"], [b"green"]] * 5, dtype=object),
        }
        return [
            Good(folder / "sklearn", "mlflow-sklearn", {"input": rows}),
            Good(folder / "pickled", "mlflow-sklearn", {"input": rows}),
            Good(folder / "columns", "mlflow-sklearn", columns),
            Good(folder / "xgboost", "mlflow-xgboost", {"X": rows}),
            Good(folder / "lightgbm", "mlflow-lightgbm", {"input": rows}),
            Good(folder / "onnx", "mlflow-onnx", {"X": rows}),
            Good(folder / "pytorch", "mlflow-pytorch", {"input_0": rows}, TRUST),
            Good(folder / "exported", "mlflow-pytorch", {"input": rows}),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("bad")
        canary = folder / "canary"
        gadget = edited("pickled", folder / "gadget")
        (gadget / "model.pkl").write_bytes(pickle.dumps(Gadget(canary)))
        broken = folder / "broken"
        broken.mkdir()
        (broken / "MLmodel").write_text("flavors: [")
        climbing = ("pickled_model: model.skops", "pickled_model: ../../secret")
        renamed = ('"petal', '"stem')
        text = ('[{"type": "double", "name": "sepal', '[{"type": "string", "name": "sepal')
        fewer = edited("onnx", folder / "fewer")
        with (fewer / "MLmodel").open("a") as file:
            file.write('signature:\n  inputs: \'[{"type": "double", "name": "a"}]\'\n')
        return [
            Bad(made() / "custom", "--trust --runtime native", canary),
            Bad(made() / "script", "--trust --runtime native"),
            Bad(made() / "pytorch", "whole pickled module"),
            Bad(gadget, "system", canary),
            Bad(gadget, "system", canary, TRUST),
            Bad(broken, "no YAML"),
            Bad(edited("sklearn", folder / "climbs", climbing), "leads out"),
            Bad(edited("sklearn", folder / "renamed", renamed), "differ in the columns stem"),
            Bad(edited("sklearn", folder / "text", text), "as BYTES"),
            Bad(fewer, "has 1 input columns, and the model takes 4"),
            Bad(
                edited("sklearn", folder / "absent", ("pickled_model: model", "pickled_model: m")),
                "no such file",
            ),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("foreign")
        (folder / "python").mkdir()
        (folder / "python" / "model.py").write_text("def predict(rows): return rows\n")
        (folder / "MLproject").write_text("name: x\n")
        (folder / "list.pkl").write_bytes(pickle.dumps([1, 2]))
        return sorted(folder.iterdir())

    def test_the_server_will_say_what_mlflow_said(self, reads):
        for read in reads:
            said = made() / f"{read.good.path.name}.npy"
            if not said.exists():
                continue
            found = read.imported.predict(read.good.inputs)
            spec = read.imported.signature.output(Role.LABEL) or read.imported.signature.outputs[0]
            answer = np.asarray(found[spec.name])
            expected = np.load(said)
            np.testing.assert_allclose(answer.reshape(expected.shape), expected, rtol=1e-5)

    def test_what_the_folder_says_is_kept(self, reads):
        first = reads[0].imported
        assert first.origin["run"] == "0123456789abcdef0123456789abcdef"
        assert first.origin["mlflow_version"] == "3.17.2"
        assert first.signature.layout is Layout.MATRIX
        assert first.signature.features[0] == "sepal length (cm)"
        assert len(first.sample["input"]) == 15
        assert any("Logged with mlflow-skinny==3.17.2" in note for note in first.notes)
        by_name = {read.good.path.name: read.imported for read in reads}
        # LightGBM writes sepal_length_(cm); callers know the logged names
        assert by_name["lightgbm"].signature.features == first.signature.features

    def test_the_sample_of_the_user_comes_first(self, importer, tmp_path):
        options = ImportOptions(sample=made() / "columns.csv")
        imported = importer.read(made() / "columns", tmp_path, options)
        assert len(imported.sample["length"]) == 15
        assert not any("example was used" in note for note in imported.notes)

    def test_options_that_the_flavour_does_not_read_are_refused(self, importer, tmp_path):
        with pytest.raises(RefusedError, match="--trust"):
            importer.read(made() / "custom", tmp_path, ImportOptions(factory="a.py:f"))
        with pytest.raises(InvalidError, match="--factory means nothing"):
            importer.read(made() / "xgboost", tmp_path, ImportOptions(factory="a.py:f"))

    def test_a_custom_model_asks_for_what_it_was_logged_with(self, importer, tmp_path):
        assert importer.requirements(made() / "custom", NATIVE) == tuple(sorted(MLFLOW))
        assert importer.requirements(made() / "sklearn", ImportOptions()) == ()
        old = edited("custom", tmp_path / "old", ("python_version: 3.", "python_version: 2."))
        with pytest.raises(RefusedError, match="pickled by Python 2"):
            importer.requirements(old, NATIVE)
        (old / "requirements.txt").write_text("mlflow-skinny\n")
        shutil.copy(made() / "custom" / "MLmodel", old / "MLmodel")
        with pytest.raises(InvalidError, match="leaves the version open"):
            importer.requirements(old, NATIVE)
