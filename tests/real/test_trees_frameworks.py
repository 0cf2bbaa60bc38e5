"""The kernel for trees says what the frameworks say, of models that were trained and imported."""

import warnings
from dataclasses import dataclass

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)

from modelworks.core.imports import ImportOptions
from modelworks.core.optimizing.passes import PassJob
from modelworks.core.seams import EngineOptions
from modelworks.plugins.load import load

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
X, Y = load_digits(return_X_y=True)
X = X.astype(np.float32)
GAPS = X.copy()
GAPS[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
FAR = GAPS.astype(np.float64) * 0.01 + 1e6  # float32 has nothing between many of its thresholds
NEAR = 1e-6


@dataclass(frozen=True)
class Case:
    """A model: what makes it, who reads it, the rows it learns and is asked."""

    model: object
    importer: str = "sklearn"
    rows: object = None


def cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightgbm import LGBMClassifier, LGBMRegressor
        from xgboost import XGBClassifier, XGBRegressor
    few = {"n_estimators": 10, "n_jobs": 1}
    return {
        "xgboost": Case(XGBClassifier(**few), "xgboost"),
        "xgboost, two classes": Case(XGBClassifier(**few), "xgboost"),
        "xgboost, counts": Case(XGBRegressor(**few, objective="count:poisson"), "xgboost"),
        "lightgbm": Case(LGBMClassifier(**few, verbose=-1), "lightgbm"),
        "lightgbm, two classes": Case(LGBMClassifier(**few, verbose=-1), "lightgbm"),
        "lightgbm, float64": Case(LGBMClassifier(**few, verbose=-1), "lightgbm", FAR),
        "lightgbm, forest": Case(
            LGBMRegressor(**few, boosting="rf", bagging_freq=1, bagging_fraction=0.5, verbose=-1),
            "lightgbm",
        ),
        "hist": Case(HistGradientBoostingClassifier(max_iter=2)),
        "hist, two classes": Case(HistGradientBoostingClassifier(max_iter=2)),
        "forest": Case(RandomForestClassifier(10)),
        "forest, two classes": Case(RandomForestClassifier(10)),
        "forest, number": Case(RandomForestRegressor(10, max_depth=6)),
        "extra": Case(ExtraTreesClassifier(10)),
        "gradient": Case(GradientBoostingClassifier(n_estimators=3), rows=X),
    }


def trained(case, name, tmp_path):
    """The fitted model, rows of its sort, its forms' folders, its signature."""
    rows = GAPS if case.rows is None else case.rows
    case.model.fit(rows, Y > 4 if "two" in name else Y)
    into, flat = tmp_path / "onnx", tmp_path / "trees"
    into.mkdir()
    flat.mkdir()
    joblib.dump(case.model, tmp_path / "m.joblib")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = load("importers", case.importer)()
        signature = reader.read(tmp_path / "m.joblib", into, ImportOptions()).signature
    step, job = load("passes", "trees")(), PassJob(into, "onnx", flat, signature)
    assert step.fits(job) == ""
    step.apply(job)
    return rows, into, flat, signature


@pytest.mark.parametrize("name", cases())
def test_a_trained_model_says_the_same(tmp_path, name):
    case = cases()[name]
    rows, into, flat, signature = trained(case, name, tmp_path)
    options = EngineOptions(signature=signature)
    ours = load("engines", "trees")().load(flat, options)
    assert signature.inputs[0].datatype == ("FP64" if "float64" in name else "FP32")
    theirs = load("engines", "onnxruntime")().load(into, options)
    given = {signature.inputs[0].name: rows}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = case.model
        wanted = getattr(model, "predict_proba", model.predict)(rows)
        said = model.predict(rows)
    found = dict(zip([s.name for s in signature.outputs], ours.infer(given), strict=True))
    numbers = found["probabilities" if "probabilities" in found else "score"]
    near = NEAR * max(1.0, float(np.abs(wanted).max()))  # of sums: float32 has seven digits
    np.testing.assert_allclose(numbers, wanted.reshape(numbers.shape), rtol=1e-6, atol=near)
    if "label" in found:
        np.testing.assert_array_equal(found["label"], said.astype(found["label"].dtype))
    for size in (1, 13, 40):
        part = {key: array[:size] for key, array in given.items()}
        for left, right in zip(theirs.infer(part), ours.infer(part), strict=True):
            np.testing.assert_allclose(left, right, rtol=0, atol=near)


def test_behind_the_walls_of_a_process_it_runs_too(tmp_path):
    """Code is made where the sandbox allows no more than a model needs."""
    name = "xgboost"
    _, _, flat, signature = trained(cases()[name], name, tmp_path)
    given = {signature.inputs[0].name: GAPS[:50]}
    here = load("engines", "trees")().load(flat, EngineOptions(signature=signature))
    extra = (("engine", "trees"), ("format", "trees"))
    apart = load("engines", "isolated")().load(
        flat, EngineOptions(signature=signature, extra=extra)
    )
    try:
        for left, right in zip(here.infer(given), apart.infer(given), strict=True):
            np.testing.assert_array_equal(left, right)
    finally:
        apart.close()
