"""Models as their importers convert them: exact values from the served form, and by asking it."""

import joblib
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelworks.control.explaining.service import How, Subject, explain
from modelworks.core.imports import ImportOptions
from modelworks.core.seams import EngineOptions
from modelworks.plugins import load as plugins

pytestmark = pytest.mark.contract

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)).astype(np.float32).astype(np.float64)
X[::7, 2] = np.nan
FULL = np.nan_to_num(X)
NUMBERS = FULL[:, 0] * FULL[:, 1] + FULL[:, 3]
YES = NUMBERS > 0
THREE = np.digitize(NUMBERS, [-0.5, 0.5])


def sklearn(model, x, y):
    def write(folder):
        joblib.dump(model.fit(x, y), folder / "m.joblib")
        return folder / "m.joblib"

    return "sklearn", write, x


def boosted(model, y):
    def write(folder):
        model.fit(X, y).save_model(folder / "m.json")
        return folder / "m.json"

    return "xgboost", write, X


def lights(objective, y):
    def write(folder):
        options = {"objective": objective, "verbose": -1, "num_threads": 1}
        found = lightgbm.train(options, lightgbm.Dataset(X, y), 8)
        found.save_model(folder / "m.txt")
        return folder / "m.txt"

    return "lightgbm", write, X


CASES = {
    "forest": (sklearn(RandomForestRegressor(8, random_state=0), FULL, NUMBERS), "trees", ""),
    "boosted": (
        sklearn(GradientBoostingClassifier(n_estimators=8), FULL, YES),
        "trees",
        "logit",
    ),
    "ridge": (sklearn(make_pipeline(StandardScaler(), Ridge()), FULL, NUMBERS), "linear", ""),
    "logistic": (sklearn(LogisticRegression(), FULL, YES), "linear", "logit"),
    "xgboost": (boosted(xgboost.XGBRegressor(n_estimators=8, n_jobs=1), NUMBERS), "trees", ""),
    "xgboost, two": (boosted(xgboost.XGBClassifier(n_estimators=8), YES), "trees", "logit"),
    "xgboost, three": (boosted(xgboost.XGBClassifier(n_estimators=4), THREE), "trees", "softmax"),
    "lightgbm": (lights("regression", NUMBERS), "trees", ""),
    "lightgbm, two": (lights("binary", YES), "trees", "logit"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_served_form_tells_what_asking_it_tells(name, tmp_path):
    (importer, write, table), explainer, link = CASES[name]
    into = tmp_path / "into"
    into.mkdir()
    imported = plugins.load("importers", importer)().read(write(tmp_path), into, ImportOptions())
    engine = plugins.load("engines", "onnxruntime")()
    session = engine.load(into, EngineOptions(signature=imported.signature))
    outputs = [spec.name for spec in session.signature.outputs]

    def infer(inputs):
        return dict(zip(outputs, session.infer(inputs), strict=True))

    subject = Subject(session.signature, infer, "sha256:0", into)
    rows, background = table[:5].tolist(), table[50:62].tolist()
    rows, background = _missing(rows), _missing(background)
    found = explain(subject, rows, background, How())
    assert (found.explainer, found.link) == (explainer, link)
    total = found.values.sum(axis=1) + found.base
    if link == "":
        asked = explain(subject, rows, background, How("permutation", samples=12 << 5))
        assert asked.errors is None
        assert found.values == pytest.approx(asked.values, abs=1e-4)
        assert total == pytest.approx(found.answers, abs=1e-4)
    elif link == "logit":
        assert 1 / (1 + np.exp(-total)) == pytest.approx(found.answers, abs=1e-4)
    else:
        raised = np.exp(total)
        shares = raised / raised.sum(axis=1, keepdims=True)
        assert shares == pytest.approx(found.answers, abs=1e-4)
    assert np.abs(found.values).max() > 0.01
    session.close()


def _missing(rows):
    return [[None if np.isnan(cell) else cell for cell in row] for row in rows]
