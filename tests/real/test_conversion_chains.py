"""From a framework's file over ONNX to OpenVINO and LiteRT: the source's own answers at the end.

Keras comes the same way in `test_passes_litert_keras.py`, in an environment of its own.
"""

import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits

from modelworks.core.errors import UnsupportedError
from modelworks.core.imports import Exporter, ImportOptions
from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.plugins.load import load

pytestmark = [
    pytest.mark.real,
    # of torch and scikit-learn, about themselves
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:sklearn.exceptions.ConvergenceWarning"),
]
X, Y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
ENDS = ("onnxruntime", "openvino", "litert")


def brought(importer: str, file: Path, folder: Path, **options):
    """The import, and the job of a pass over its form."""
    into = folder / "onnx"
    into.mkdir()
    imported = load("importers", importer)().read(file, into, ImportOptions(**options))
    return imported, into


def answers(imported, form: Path, folder: Path, end: str, rows) -> dict[str, np.ndarray]:
    """What the form says at one end of the chain."""
    signature = imported.signature
    if end != "onnxruntime":
        step = load("passes", end)()
        into = folder / end
        into.mkdir()
        job = PassJob(form, "onnx", into, signature, settled(step.facts, {}))
        assert step.fits(job) == ""
        step.apply(job)
        form = into
    session = load("engines", end)().load(form, EngineOptions(signature=signature))
    try:
        given = {signature.inputs[0].name: rows}
        names = [spec.name for spec in signature.outputs]
        return dict(zip(names, session.infer(given), strict=True))
    finally:
        session.close()


@pytest.mark.parametrize("exporter", [Exporter.TORCHSCRIPT, Exporter.DYNAMO])
def test_pytorch(tmp_path, exporter):
    import torch
    from torch import nn

    torch.manual_seed(0)
    code = (
        "from torch import nn\n\ndef make():\n    return nn.Sequential(\n"
        "        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),\n"
        "        nn.Flatten(), nn.Linear(96, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 10),\n"
        "        nn.Softmax(1))\n"
    )
    (tmp_path / "net.py").write_text(code)
    made: dict[str, object] = {"nn": nn}
    exec(code, made)  # the text above
    model = made["make"]().eval()
    torch.save(model.state_dict(), tmp_path / "net.pt")
    spec = TensorSpec("image", Datatype.FP32, (None, 1, 8, 8))
    imported, form = brought(
        "torch", tmp_path / "net.pt", tmp_path, factory=f"{tmp_path}/net.py:make", inputs=(spec,),
        exporter=exporter,
    )  # fmt: skip
    images = X[:60].reshape(-1, 1, 8, 8)
    with torch.no_grad():
        wanted = model(torch.from_numpy(images)).numpy()
    for end in ENDS:
        found = answers(imported, form, tmp_path, end, images)
        np.testing.assert_allclose(found["output"], wanted, atol=1e-5, rtol=1e-3)


def test_scikit_learn(tmp_path):
    from sklearn.neural_network import MLPRegressor

    model = MLPRegressor(hidden_layer_sizes=(24,), max_iter=20, random_state=0).fit(
        X[:900], Y[:900]
    )
    joblib.dump(model, tmp_path / "net.joblib")
    imported, form = brought("sklearn", tmp_path / "net.joblib", tmp_path)
    wanted = model.predict(X[900:])
    for end in ENDS:
        found = answers(imported, form, tmp_path, end, X[900:])
        np.testing.assert_allclose(found["score"].ravel(), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("framework", ["xgboost", "lightgbm"])
def test_trees_end_at_onnx_and_say_so(tmp_path, framework):
    """Neither OpenVINO nor LiteRT has trees: they are named, and our own kernel has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if framework == "xgboost":
            from xgboost import XGBClassifier as Classifier

            more = {}
        else:
            from lightgbm import LGBMClassifier as Classifier

            more = {"verbose": -1}
    model = Classifier(n_estimators=5, max_depth=3, n_jobs=1, **more).fit(X, Y)
    joblib.dump(model, tmp_path / "trees.joblib")
    imported, form = brought(framework, tmp_path / "trees.joblib", tmp_path)
    wanted = model.predict_proba(X[:80])
    for end in ("onnxruntime", "trees"):
        found = answers(imported, form, tmp_path, end, X[:80])
        np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-6)
    for end in ("openvino", "litert"):
        step = load("passes", end)()
        (tmp_path / end).mkdir()
        job = PassJob(form, "onnx", tmp_path / end, imported.signature, settled(step.facts, {}))
        assert "TreeEnsemble" in step.fits(job)
        with pytest.raises(UnsupportedError, match="TreeEnsemble"):
            step.apply(job)
