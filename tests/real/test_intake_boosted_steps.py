"""Pipelines whose last step is XGBoost's or LightGBM's come in as scikit-learn files."""

import pickle
import subprocess
import sys

import joblib
import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from modelworks.core.errors import MissingExtraError, RefusedError, UnsupportedError
from modelworks.core.imports import ImportOptions
from modelworks.core.model import Verdict
from modelworks.core.tensor import Datatype, Layout
from modelworks.intake.service import bring_in
from modelworks.sandbox.jobs import Warm

pytestmark = pytest.mark.real
xgboost = pytest.importorskip("xgboost")
lightgbm = pytest.importorskip("lightgbm")

IRIS, SPECIES = load_iris(return_X_y=True)
CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
FEW = {"n_estimators": 12, "n_jobs": 1}
QUIET = {"verbose": -1, **FEW}
MODULES = (
    "modelworks.intake.job",
    "modelworks.ext.importers.sklearn.convert",
    "modelworks.ext.importers.xgboost.read",
    "modelworks.ext.importers.lightgbm.read",
    "modelworks.ext.engines.onnxruntime",
)


@pytest.fixture(scope="module")
def warm():
    with Warm(MODULES) as host:
        yield host


@pytest.fixture
def bring(warm, tmp_path):
    def call(estimator, *, name="model.joblib", dump=joblib.dump, **options):
        file = tmp_path / name
        dump(estimator, file)
        work = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
        return bring_in(file, ImportOptions(**options), work, runner=warm.run)

    return call


def kinds(candidate):
    return {evidence.kind: evidence for evidence in candidate.evidence}


def notes(candidate):
    return " | ".join(kinds(candidate)["signature"].detail["notes"])


def groups(candidate):
    return {group["name"] for group in kinds(candidate)["parity"].detail["groups"]}


def run(candidate, inputs):
    session = onnxruntime.InferenceSession(candidate.folder / "model.onnx")
    values = session.run(None, inputs)
    return dict(zip([o.name for o in session.get_outputs()], values, strict=True))


def matrix(candidate, rows):
    (spec,) = candidate.signature.inputs
    return {spec.name: rows.astype(np.float64 if spec.datatype is Datatype.FP64 else np.float32)}


def passed(candidate):
    assert kinds(candidate)["parity"].verdict is Verdict.PASSED
    return candidate


def people(rows=400):
    random = np.random.default_rng(7)
    table = pd.DataFrame(
        {
            "age": random.integers(18, 80, rows).astype(float),
            "income": random.normal(40_000, 9_000, rows),
            "city": random.choice(["Oslo", "Paris", "Rome"], rows),
        }
    )
    bought = (table["age"] > 45) ^ (table["city"] == "Rome") ^ (table["income"] > 45_000)
    return table, np.where(bought, "yes", "no")


def columns_first(encoder, numbers="passthrough"):
    return ColumnTransformer([("text", encoder, ["city"]), ("numbers", numbers, ["age", "income"])])


def as_inputs(candidate, table):
    kinds_of = {Datatype.FP32: np.float32, Datatype.FP64: np.float64, Datatype.BYTES: object}
    return {
        spec.name: table[[spec.name]].to_numpy(kinds_of[spec.datatype])
        for spec in candidate.signature.inputs
    }


@pytest.mark.parametrize("sparse_output", [False, True])
def test_string_columns_before_xgboost(bring, sparse_output, tmp_path):
    table, bought = people()
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=sparse_output)
    pipeline = make_pipeline(
        ColumnTransformer(
            [("text", encoder, ["city"]), ("numbers", StandardScaler(), ["age", "income"])],
            sparse_threshold=1.0,
        ),
        xgboost.XGBClassifier(**FEW),
    ).fit(table, (bought == "yes").astype(int))
    sample = tmp_path / "sample.csv"
    table.to_csv(sample, index=False)
    candidate = passed(bring(pipeline, sample=sample))
    assert candidate.signature.layout is Layout.COLUMNS
    assert candidate.signature.classes == (0, 1)
    assert {"unknown", "sample"} <= groups(candidate)
    assert candidate.environment["xgboost"] == xgboost.__version__
    answer = run(candidate, as_inputs(candidate, table))
    assert (answer["label"] == pipeline.predict(table)).all()
    assert np.allclose(answer["probabilities"], pipeline.predict_proba(table), atol=1e-5)
    assert ("zero counts as missing" in notes(candidate)) is sparse_output


def test_string_columns_and_string_labels(bring):
    table, bought = people()
    pipeline = make_pipeline(
        columns_first(OneHotEncoder(handle_unknown="ignore")), lightgbm.LGBMClassifier(**QUIET)
    ).fit(table, bought)
    candidate = passed(bring(pipeline))
    assert candidate.signature.classes == ("no", "yes")
    answer = run(candidate, as_inputs(candidate, table))
    assert (answer["label"] == pipeline.predict(table)).all()


def test_string_labels_over_xgboost(bring):
    # XGBoost itself takes whole numbers only; a vote encodes the texts for it
    table, bought = people()
    vote = VotingClassifier([("one", xgboost.XGBClassifier(**FEW))], voting="soft")
    pipeline = make_pipeline(columns_first(OrdinalEncoder()), vote).fit(table, bought)
    candidate = passed(bring(pipeline))
    assert candidate.signature.classes == ("no", "yes")
    answer = run(candidate, as_inputs(candidate, table))
    assert (answer["label"] == pipeline.predict(table)).all()


@pytest.mark.parametrize(
    "regressor",
    [
        lightgbm.LGBMRegressor(**QUIET),
        lightgbm.LGBMRegressor(objective="poisson", **QUIET),
        xgboost.XGBRegressor(**FEW),
        xgboost.XGBRFRegressor(**FEW),
    ],
    ids=lambda model: f"{type(model).__name__}-{model.objective}",
)
def test_scaler_before_a_regressor(bring, regressor, tmp_path):
    sample = tmp_path / "sample.npy"
    np.save(sample, DIABETES)
    pipeline = make_pipeline(StandardScaler(), regressor).fit(DIABETES, PROGRESS)
    candidate = passed(bring(pipeline, sample=sample))
    answer = run(candidate, matrix(candidate, DIABETES))
    expected = pipeline.predict(DIABETES)
    close = np.isclose(answer["score"][:, 0], expected, rtol=1e-4)
    assert close.mean() > 0.995


@pytest.mark.parametrize(
    "classifier",
    [lightgbm.LGBMClassifier(**QUIET), xgboost.XGBClassifier(**FEW)],
    ids=lambda model: type(model).__name__,
)
def test_several_classes(bring, classifier):
    pipeline = make_pipeline(StandardScaler(), classifier).fit(IRIS, SPECIES)
    candidate = passed(bring(pipeline))
    answer = run(candidate, matrix(candidate, IRIS))
    assert (answer["label"] == pipeline.predict(IRIS)).mean() > 0.99
    assert answer["probabilities"].shape == (150, 3)


@pytest.mark.parametrize(
    "classifier",
    [lightgbm.LGBMClassifier(**QUIET), xgboost.XGBClassifier(**FEW)],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("data", ["two classes", "three classes"])
def test_calibrated(bring, classifier, data):
    rows, classes = (CANCER, MALIGNANT) if data == "two classes" else (IRIS, SPECIES)
    model = CalibratedClassifierCV(classifier, cv=2).fit(rows, classes)
    candidate = passed(bring(model))
    answer = run(candidate, matrix(candidate, rows))
    assert (answer["label"] == model.predict(rows)).mean() > 0.99


def test_a_search_result(bring):
    search = GridSearchCV(xgboost.XGBClassifier(**FEW), {"max_depth": [2, 3]}, cv=2)
    candidate = passed(bring(search.fit(CANCER, MALIGNANT)))
    answer = run(candidate, matrix(candidate, CANCER))
    assert (answer["label"] == search.predict(CANCER)).all()
    pipeline = make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(**QUIET))
    grid = {"lgbmclassifier__num_leaves": [4, 8]}
    passed(bring(GridSearchCV(pipeline, grid, cv=2).fit(IRIS, np.array(list("abc"))[SPECIES])))


@pytest.mark.parametrize(
    "classifier",
    [lightgbm.LGBMClassifier(**QUIET), xgboost.XGBClassifier(**FEW)],
    ids=lambda model: type(model).__name__,
)
def test_missing_values_reach_the_trees(bring, classifier):
    rows = CANCER.copy()
    rows[np.random.default_rng(0).random(rows.shape) < 0.2] = np.nan
    pipeline = make_pipeline(StandardScaler(), classifier).fit(rows, MALIGNANT)
    candidate = passed(bring(pipeline))
    assert "missing" in groups(candidate)
    assert all(spec.allow_nan for spec in candidate.signature.inputs)
    answer = run(candidate, matrix(candidate, rows))
    assert (answer["label"] == pipeline.predict(rows)).mean() > 0.99


def test_a_marker_for_missing_values(bring):
    rows = np.where(np.random.default_rng(1).random(CANCER.shape) < 0.2, -1.0, CANCER)
    model = xgboost.XGBClassifier(missing=-1.0, **FEW)
    pipeline = make_pipeline(SimpleImputer(), model).fit(rows, MALIGNANT)
    candidate = passed(bring(pipeline))
    answer = run(candidate, matrix(candidate, rows))
    assert (answer["label"] == pipeline.predict(rows)).all()


def test_skops(bring):
    dump = pytest.importorskip("skops.io").dump
    pipeline = make_pipeline(StandardScaler(), lightgbm.LGBMRegressor(**QUIET))
    passed(bring(pipeline.fit(DIABETES, PROGRESS), name="model.skops", dump=dump))


def test_what_has_no_exact_form_is_refused(bring):
    model = xgboost.XGBRegressor(booster="gblinear", n_estimators=2)
    with pytest.raises(UnsupportedError, match="gblinear"):
        bring(make_pipeline(StandardScaler(), model).fit(DIABETES, PROGRESS))
    model = lightgbm.LGBMRegressor(linear_tree=True, **QUIET)
    with pytest.raises(UnsupportedError, match="linear trees"):
        bring(make_pipeline(StandardScaler(), model).fit(DIABETES, PROGRESS))


class Calls:
    """Pickles itself as a call of a function."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    "call",
    [
        Calls(xgboost.config.set_config),
        Calls(xgboost.core.Booster.load_model, "a", "b"),
        Calls(xgboost.DMatrix, "a"),
        Calls(lightgbm.register_logger, "a"),
    ],
    ids=["function", "method", "another class", "LightGBM's function"],
)
def test_other_names_of_the_libraries_are_refused(bring, call):
    pipeline = make_pipeline(StandardScaler(), xgboost.XGBRegressor(n_estimators=2))
    pipeline.fit(DIABETES, PROGRESS).steps[0][1].copy = call
    dump = lambda model, file: file.write_bytes(pickle.dumps(model, 2))  # noqa: E731 - one use
    with pytest.raises(RefusedError, match=r"allow-list|no honest pickle"):
        bring(pipeline, name="model.pkl", dump=dump)


class Without:
    """An import system in which one library is not installed."""

    def __init__(self, name):
        self.name = name

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize("framework", ["xgboost", "lightgbm"])
def test_a_library_that_is_not_installed_is_named(tmp_path, monkeypatch, framework):
    from modelworks.ext.importers.sklearn.load import load

    models = {"xgboost": xgboost.XGBRegressor(**FEW), "lightgbm": lightgbm.LGBMRegressor(**QUIET)}
    file = tmp_path / "model.joblib"
    joblib.dump(make_pipeline(StandardScaler(), models[framework]).fit(IRIS, SPECIES), file)
    for name in [name for name in sys.modules if name.partition(".")[0] == framework]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Without(framework), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=rf"modelworks\[{framework}\]"):
        load(file, "sklearn-joblib")


def test_a_plain_file_loads_neither_library():
    code = (
        "import sys, modelworks.ext.importers.sklearn.convert\n"
        "from modelworks.ext.importers.sklearn import boosted\n"
        "boosted.register()\n"
        "assert not {'xgboost', 'lightgbm'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
