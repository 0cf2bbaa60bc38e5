"""XGBoost, LightGBM and PyTorch files through the whole road: copy, sandbox, conversion, parity."""

import os
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from modelworks.core.errors import InvalidError, MissingExtraError, RefusedError
from modelworks.core.imports import ImportOptions
from modelworks.core.model import Verdict
from modelworks.core.tensor import Datatype, Layout, TensorSpec
from modelworks.intake.service import bring_in

pytestmark = [
    pytest.mark.real,
    # torch's own, when the test writes TorchScript
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]

CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)


class Gadget:
    """Pickles itself as a call of the shell."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def brought(file: Path, work: Path, **options):
    work.mkdir()
    return bring_in(file, ImportOptions(**options), work)


def evidence(candidate, kind: str):
    return next(item for item in candidate.evidence if item.kind == kind)


def test_xgboost_from_training_to_evidence(tmp_path):
    xgboost = pytest.importorskip("xgboost")
    model = xgboost.XGBClassifier(n_estimators=20, max_depth=3, n_jobs=1).fit(CANCER, MALIGNANT)
    model.save_model(tmp_path / "cancer.json")
    np.save(tmp_path / "rows.npy", CANCER[:50])
    found = brought(tmp_path / "cancer.json", tmp_path / "a", sample=tmp_path / "rows.npy")
    assert found.source_format == "xgboost-json"
    assert evidence(found, "parity").verdict is Verdict.PASSED
    assert "50 rows" in evidence(found, "sample").summary
    assert "xgboost" in found.environment
    assert [file.name for file in found.folder.iterdir()] == ["model.onnx"]
    joblib.dump(model, tmp_path / "cancer.joblib", compress=3)
    found = brought(tmp_path / "cancer.joblib", tmp_path / "b")
    names = [each["name"] for each in evidence(found, "scan").detail["findings"]]
    assert "xgboost.sklearn.XGBClassifier" in names
    model.callbacks = [Gadget(tmp_path / "canary")]
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(model))
    with pytest.raises(RefusedError, match="system is not on the allow-list of XGBoost"):
        brought(tmp_path / "evil.pkl", tmp_path / "c", trust=True)
    assert not (tmp_path / "canary").exists()


def test_lightgbm_from_training_to_evidence(tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMClassifier(n_estimators=20, num_leaves=7, verbose=-1, n_jobs=1)
    model.fit(CANCER, np.array(["benign", "malignant"])[MALIGNANT])
    joblib.dump(model, tmp_path / "cancer.joblib")
    found = brought(tmp_path / "cancer.joblib", tmp_path / "a")
    assert found.signature.classes == ("benign", "malignant")
    assert evidence(found, "parity").verdict is Verdict.PASSED
    model.booster_.save_model(tmp_path / "cancer.txt")
    found = brought(tmp_path / "cancer.txt", tmp_path / "b")
    assert evidence(found, "parity").verdict is Verdict.PASSED
    whole = (tmp_path / "cancer.txt").read_bytes()
    (tmp_path / "cut.txt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidError, match="truncated"):
        brought(tmp_path / "cut.txt", tmp_path / "c")


FACTORY = """
from pathlib import Path

from torch import nn


def make():
    return nn.Sequential(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 1))


def escape():
    (Path(__file__).parent / "canary").write_text("out")
    return make()
"""


def test_weights_with_the_users_factory_inside_the_sandbox(tmp_path):
    torch = pytest.importorskip("torch")
    here = tmp_path / "mine"
    here.mkdir()
    (here / "factory.py").write_text(FACTORY)
    made: dict[str, object] = {}
    exec(FACTORY, made)  # the text above
    torch.save(made["make"]().state_dict(), here / "weights.pt")
    row = (TensorSpec("row", Datatype.FP32, (None, 30)),)
    factory = f"{here}/factory.py:make"
    found = brought(here / "weights.pt", tmp_path / "a", factory=factory, inputs=row)
    assert evidence(found, "parity").verdict is Verdict.PASSED
    assert found.signature.layout is Layout.MATRIX
    assert any("the user's own code" in n for n in evidence(found, "signature").detail["notes"])
    if "without network, other files" in evidence(found, "sandbox").summary:
        with pytest.raises(InvalidError, match="escape failed"):
            brought(
                here / "weights.pt", tmp_path / "b", factory=f"{here}/factory.py:escape", inputs=row
            )
        assert not (here / "canary").exists()


def test_a_script_with_a_sample(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 2), torch.nn.Tanh())
    torch.jit.script(model).save(str(tmp_path / "script.pt"))
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).standard_normal((9, 2, 6)))
    found = brought(tmp_path / "script.pt", tmp_path / "a", sample=tmp_path / "rows.npy")
    assert found.signature.inputs[0].shape == (None, 2, 6)
    assert found.signature.outputs[0].shape == (None, 3, 5)
    assert evidence(found, "parity").verdict is Verdict.PASSED
    with pytest.raises(InvalidError, match="--input input:FP32"):
        brought(tmp_path / "script.pt", tmp_path / "b")


def test_an_extra_that_is_missing_names_the_command(tmp_path, monkeypatch):
    """What a base install says of each family."""
    import sys

    from modelworks.ext.importers.lightgbm import LightgbmImporter
    from modelworks.ext.importers.torch import TorchImporter
    from modelworks.ext.importers.xgboost import XgboostImporter

    for importer in (XgboostImporter(), LightgbmImporter(), TorchImporter()):
        package = type(importer).__module__
        for module in [name for name in sys.modules if name.startswith(f"{package}.read")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.delattr(sys.modules[package], "read", raising=False)
        monkeypatch.setitem(sys.modules, importer.extra, None)
        with pytest.raises(MissingExtraError) as caught:
            importer.read(tmp_path / "model", tmp_path, ImportOptions())
        assert f'pip install "modelworks[{importer.extra}]"' in caught.value.message
