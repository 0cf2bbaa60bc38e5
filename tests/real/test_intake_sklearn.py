"""scikit-learn files come in: precision, missing values, columns, samples, signature."""

import json
import pickle
import warnings

import joblib
import numpy as np
import onnxruntime
import pandas as pd
import pytest

import estimator_zoo as zoo
from modelworks.core.errors import InvalidError, ModelworksError, RefusedError, UnsupportedError
from modelworks.core.imports import ImportOptions
from modelworks.core.model import Verdict
from modelworks.core.tensor import Datatype, Layout, Role, TensorSpec
from modelworks.intake.service import bring_in
from modelworks.sandbox.jobs import Warm

pytestmark = pytest.mark.real

MODULES = (
    "modelworks.intake.job",
    "modelworks.ext.importers.sklearn.convert",
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


def run(candidate, inputs):
    session = onnxruntime.InferenceSession(candidate.folder / "model.onnx")
    values = session.run(None, inputs)
    return dict(zip([o.name for o in session.get_outputs()], values, strict=True))


def pickled(protocol):
    return lambda model, file: file.write_bytes(pickle.dumps(model, protocol))


@pytest.mark.parametrize(
    ("name", "dump", "form"),
    [
        ("m.pkl", pickled(2), "sklearn-pickle"),
        ("m.pkl", pickled(5), "sklearn-pickle"),
        ("m.joblib", joblib.dump, "sklearn-joblib"),
        ("m", lambda m, f: joblib.dump(m, f, compress=3), "sklearn-joblib"),
        ("m.gz", lambda m, f: joblib.dump(m, f, compress=("gzip", 3)), "sklearn-joblib"),
        ("m.xz", lambda m, f: joblib.dump(m, f, compress=("xz", 3)), "sklearn-joblib"),
        ("m.skops", lambda m, f: pytest.importorskip("skops.io").dump(m, f), "sklearn-skops"),
    ],
)
def test_every_kind_of_file(bring, name, dump, form):
    candidate = bring(zoo.fitted("RandomForestClassifier"), name=name, dump=dump)
    assert candidate.source_format == form
    assert kinds(candidate)["parity"].verdict is Verdict.PASSED
    assert kinds(candidate)["scan"].verdict is Verdict.PASSED
    assert {"scikit-learn", "skl2onnx"} <= candidate.environment.keys()


def test_the_signature_of_a_classifier(bring):
    x, classes, _ = zoo.numbers()
    from sklearn.linear_model import LogisticRegression

    table = pd.DataFrame(x, columns=["a", "b", "c d", "label", "é"])
    model = LogisticRegression().fit(table, np.array(["low", "mid", "high"])[classes])
    candidate = bring(model)
    signature = candidate.signature
    assert signature.inputs == (TensorSpec("input", Datatype.FP32, (None, 5), allow_nan=False),)
    assert signature.layout is Layout.MATRIX
    assert signature.features == ("a", "b", "c d", "label", "é")
    assert signature.classes == ("high", "low", "mid")
    assert [(o.name, o.datatype, o.shape, o.role) for o in signature.outputs] == [
        ("label", Datatype.BYTES, (None,), Role.LABEL),
        ("probabilities", Datatype.FP32, (None, 3), Role.PROBABILITIES),
    ]
    assert signature.batch_axis
    answer = run(candidate, {"input": x.astype(np.float32)})
    assert (answer["label"] == model.predict(table)).all()
    columns = bring(model, layout=Layout.COLUMNS)
    assert [s.name for s in columns.signature.inputs] == list(signature.features)
    assert columns.signature.outputs[0].name == "predicted_label"
    inputs = {n: x[:, [i]].astype(np.float32) for i, n in enumerate(signature.features)}
    assert (run(columns, inputs)["predicted_label"] == model.predict(table)).all()


@pytest.mark.parametrize("kind", [bool, int, str])
def test_classes_keep_their_type(bring, kind):
    x, _, target = zoo.numbers()
    from sklearn.tree import DecisionTreeClassifier

    labels = {bool: target > 0, int: np.where(target > 0, 7, -3)}.get(
        kind, np.where(target > 0, "yes", "no")
    )
    candidate = bring(DecisionTreeClassifier().fit(x, labels))
    assert [type(c) for c in candidate.signature.classes] == [kind, kind]


@pytest.mark.parametrize(
    "name", ["AdaBoostClassifier", "HistGradientBoostingClassifier", "VotingClassifier"]
)
def test_truth_values_are_labels(bring, name):
    """skl2onnx takes those of AdaBoost for texts, and fails."""
    from sklearn import ensemble
    from sklearn.linear_model import LogisticRegression

    x, _, target = zoo.numbers()
    x = x.astype(np.float32)
    made = {"VotingClassifier": {"estimators": [("a", LogisticRegression())]}}
    model = getattr(ensemble, name)(**made.get(name, {})).fit(x, target > 0)
    candidate = bring(model)
    assert candidate.signature.classes == (False, True)
    assert kinds(candidate)["parity"].verdict is Verdict.PASSED
    answer = run(candidate, {"input": x})
    said = np.asarray(candidate.signature.classes)[answer["label"].astype(int)]
    assert (said == model.predict(x)).mean() > 0.99


def test_texts_and_numbers(bring):
    model = zoo.pipelines()["numbers and texts, logistic regression"]
    candidate = bring(model)
    signature = candidate.signature
    assert signature.layout is Layout.COLUMNS
    assert {s.name: s.datatype for s in signature.inputs} == {
        "age": Datatype.FP32,
        "income": Datatype.FP32,
        "city": Datatype.BYTES,
        "plan": Datatype.BYTES,
    }
    assert signature.inputs[2].categories == ("Oslo", "Paris", "Rome")
    groups = [g["name"] for g in kinds(candidate)["parity"].detail["groups"]]
    assert "unknown" in groups  # handle_unknown="ignore": both models must say the same
    table, _ = zoo.frame()
    inputs = {
        name: table[[name]].to_numpy(np.float32 if name in {"age", "income"} else object)
        for name in table
    }
    assert (run(candidate, inputs)["label"] == model.predict(table)).all()
    with pytest.raises(InvalidError, match="--layout columns"):
        bring(model, layout=Layout.MATRIX)


def test_columns_that_are_dropped_are_not_asked_for(bring):
    candidate = bring(zoo.pipelines()["numbers and texts, some columns dropped"])
    assert [s.name for s in candidate.signature.inputs] == ["age", "city"]
    assert candidate.signature.features == ("age", "city")
    assert "not asked for" in notes(candidate)


def test_float64_where_float32_is_wrong_by_percents(bring):
    candidate = bring(zoo.pipelines()["scaler + linear regression, values near 1e8"])
    assert candidate.signature.inputs[0].datatype is Datatype.FP64
    assert "float64" in notes(candidate)
    assert kinds(candidate)["parity"].detail["max_relative"] < 1e-9


def test_float64_is_found_without_a_scaler_too(bring, tmp_path):
    from sklearn.linear_model import LinearRegression

    x, _, target = zoo.numbers()
    model = LinearRegression().fit(x + 1e8, target)
    assert bring(model).signature.inputs[0].datatype is Datatype.FP64
    pd.DataFrame(x + 1e8).to_csv(tmp_path / "s.csv", index=False)
    sampled = bring(model, sample=tmp_path / "s.csv")
    assert sampled.signature.inputs[0].datatype is Datatype.FP64
    assert kinds(sampled)["sample"].detail["rows"] == zoo.ROWS
    near = bring(LinearRegression().fit(x, target))
    assert near.signature.inputs[0].datatype is Datatype.FP32


def test_no_linear_model_far_from_zero_comes_in_wrong(bring):
    """In float64 where it has one, else refused: float32 near 1e8 has steps of eight."""
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.linear_model import Ridge, RidgeClassifier

    x, _, target = zoo.numbers()
    for model, wanted in (
        (PLSRegression(2), target),
        (Ridge(), np.stack([target, -target], axis=1)),
    ):
        candidate = bring(model.fit(x + 1e8, wanted))
        assert candidate.signature.inputs[0].datatype is Datatype.FP64, model
        assert kinds(candidate)["parity"].detail["max_relative"] < 1e-5
        near = bring(model.fit(x, wanted))
        assert near.signature.inputs[0].datatype is Datatype.FP32, model
    with pytest.raises(RefusedError, match="does not predict"):
        bring(RidgeClassifier().fit(x + 1e8, target > 0))


def forests():
    from sklearn.ensemble import (
        BaggingClassifier,
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
        RandomForestRegressor,
    )
    from sklearn.tree import DecisionTreeClassifier

    return [
        RandomForestClassifier(20),
        RandomForestRegressor(20),
        ExtraTreesClassifier(20),
        DecisionTreeClassifier(),
        BaggingClassifier(DecisionTreeClassifier(), 10),
        HistGradientBoostingClassifier(max_iter=2),  # each asks for all cores: slow where busy
    ]


@pytest.mark.parametrize("forest", forests(), ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("trained_with_missing", [True, False])
def test_missing_values_in_forests_are_right(bring, forest, trained_with_missing):
    """skl2onnx alone gets this wrong without a word (see the next test)."""
    x, classes, _ = zoo.numbers()
    if trained_with_missing:
        x = x.copy()
        x[x[:, 1] > 2.5, 1] = np.nan
    forest.fit(x, classes)
    candidate = bring(forest)
    assert candidate.signature.inputs[0].allow_nan
    groups = {g["name"]: g for g in kinds(candidate)["parity"].detail["groups"]}
    assert groups["missing"]["rows"] > 0
    assert groups["missing"]["rows_off"] == 0
    rows = zoo.numbers(1)[0]
    rows[::2, 1] = np.nan
    answer = run(candidate, {"input": rows.astype(np.float32)})
    name = "score" if "score" in answer else "label"
    expected = forest.predict(rows.astype(np.float32))
    assert np.mean(answer[name].ravel() == expected) > 0.99 or np.allclose(
        answer[name].ravel(), expected, atol=1e-5
    )


@pytest.mark.parametrize("place", [0, 2])
def test_a_forest_whose_missing_values_went_astray_is_caught(tmp_path, monkeypatch, place):
    """Without our repair the parity check refuses it, with the numbers."""
    from modelworks.core import codec
    from modelworks.ext.importers.sklearn import missing
    from modelworks.intake import job

    monkeypatch.setattr(missing, "restore", lambda *_: 0)
    x, classes, _ = zoo.numbers()
    x[x[:, 1] > 2.5, 1] = np.nan
    joblib.dump(forests()[place].fit(x, classes), tmp_path / "m.joblib")
    pd.DataFrame(x).to_csv(tmp_path / "s.csv", index=False)

    def order(into, **options):
        (tmp_path / into).mkdir()
        return codec.encode(
            job.Order(tmp_path / "m.joblib", tmp_path / into, ImportOptions(**options))
        )

    with pytest.raises(RefusedError, match=r"does not predict.*rows lie beyond.*--accept-diff"):
        job.run(order("a", sample=tmp_path / "s.csv"), lambda _: None)
    accepted = job.run(
        order("b", sample=tmp_path / "s.csv", accept_difference=True), lambda _: None
    )
    parity = next(e for e in accepted["brought"]["evidence"] if e["kind"] == "parity")
    assert parity["verdict"] == "accepted"
    assert parity["detail"]["max_absolute"] > 0.05
    assert parity["detail"]["worst"]
    without = job.run(order("c"), lambda _: None)  # nobody said that NaN comes: it is refused then
    assert not without["brought"]["signature"]["inputs"][0]["allow_nan"]


def test_a_wrong_conversion_is_refused_and_can_be_accepted(bring):
    model = zoo.pipelines()["isotonic calibration"]
    with pytest.raises(RefusedError, match="does not predict") as caught:
        bring(model)
    assert "\n" not in caught.value.message
    candidate = bring(model, accept_difference=True)
    assert kinds(candidate)["parity"].verdict is Verdict.ACCEPTED


def test_another_version_is_told(bring, monkeypatch):
    import sklearn.base

    model = zoo.fitted("LogisticRegression")
    monkeypatch.setattr(sklearn.base, "__version__", "1.5.0")
    assert "written by scikit-learn 1.5.0" in notes(bring(model))


def test_samples_that_contradict_the_model(bring, tmp_path):
    (tmp_path / "s.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidError, match="2 columns and the model takes 5"):
        bring(zoo.fitted("LogisticRegression"), sample=tmp_path / "s.csv")
    (tmp_path / "t.csv").write_text("age,income,city\n1,2,Rome\n")
    with pytest.raises(InvalidError, match="lacks the column 'plan'"):
        bring(zoo.pipelines()["numbers and texts, logistic regression"], sample=tmp_path / "t.csv")


def test_what_is_no_fitted_estimator(bring):
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(InvalidError, match="not fitted"):
        bring(LogisticRegression())
    with pytest.raises(InvalidError, match="no scikit-learn estimator"):
        bring({"model": zoo.fitted("LogisticRegression")})
    with pytest.raises(InvalidError, match="no scikit-learn estimator"):
        bring(np.zeros(3), name="x.pkl", dump=pickled(4))


def test_converters_that_do_not_exist_are_named(bring):
    with pytest.raises(UnsupportedError, match="no converter for DBSCAN"):
        bring(zoo.fitted("DBSCAN"))
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import SplineTransformer  # noqa: F401 - known, not convertible

    x, classes, _ = zoo.numbers()
    from sklearn.kernel_approximation import RBFSampler

    with pytest.raises(UnsupportedError, match="no converter for RBFSampler"):
        bring(make_pipeline(RBFSampler(), LogisticRegression()).fit(x, classes))


def test_functions_are_refused(bring):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    x, classes, _ = zoo.numbers()
    model = make_pipeline(FunctionTransformer(json.dumps), LogisticRegression())
    model.steps[1][1].fit(x, classes)
    with pytest.raises(RefusedError, match=r"json.*not on the allow-list"):
        bring(model)


def test_truncated_files_give_one_line(bring, tmp_path, warm):
    model = zoo.fitted("RandomForestClassifier")
    joblib.dump(model, tmp_path / "whole.joblib")
    data = (tmp_path / "whole.joblib").read_bytes()
    file = tmp_path / "cut.joblib"
    for size in (1, 2, 50, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:size])
        with pytest.raises(ModelworksError) as caught:
            bring_in(file, ImportOptions(), tmp_path / f"w{size}", runner=warm.run)
        assert "\n" not in caught.value.message
        assert len(caught.value.message) <= 500


def test_the_same_file_gives_the_same_artifact(bring):
    model = zoo.fitted("GradientBoostingClassifier")
    one, two = bring(model), bring(model)
    assert (one.folder / "model.onnx").read_bytes() == (two.folder / "model.onnx").read_bytes()
    assert one.signature == two.signature


def test_options_choose_datatypes(bring):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = zoo.fitted("StandardScaler")
    wide = TensorSpec("input", Datatype.FP64, (None, 5))
    candidate = bring(model, inputs=(wide,))
    assert candidate.signature.inputs[0].datatype is Datatype.FP64
    with pytest.raises(InvalidError, match="--input nope"):
        bring(model, inputs=(TensorSpec("nope", Datatype.FP32, (None, 1)),))
