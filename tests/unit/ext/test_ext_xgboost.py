"""XGBoost models of every sort predict the same after the conversion, or are refused."""

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from modelworks.core.errors import InvalidError, ModelworksError, UnsupportedError
from modelworks.core.imports import ImportOptions, Ranges
from modelworks.core.tensor import Layout, Role
from modelworks.ext.importers.xgboost import XgboostImporter
from modelworks.plugins.load import load

pytestmark = pytest.mark.unit
xgboost = pytest.importorskip("xgboost")

DATA = Path(__file__).parents[2] / "data" / "importers"
IRIS, SPECIES = load_iris(return_X_y=True, as_frame=True)
CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
FEW = {"n_estimators": 6, "max_depth": 3, "n_jobs": 1}


def converted(path: Path, into: Path, **options):
    """The import and a function that runs the result on a matrix."""
    imported = XgboostImporter().read(path, into, ImportOptions(**options))
    session = load("engines", "onnxruntime")().load(into, _options())
    names = [spec.name for spec in imported.signature.outputs]

    def run(rows):
        return dict(zip(names, session.infer(_inputs(imported.signature, rows)), strict=True))

    return imported, run


def _options():
    from modelworks.core.seams import EngineOptions

    return EngineOptions()


def _inputs(signature, rows):
    rows = np.asarray(rows, np.float32)
    if signature.layout is Layout.MATRIX:
        return {"X": rows}
    return {name: rows[:, i : i + 1] for i, name in enumerate(signature.features)}


def with_gaps(rows):
    rows = np.array(rows, np.float32)
    rows[np.random.default_rng(0).random(rows.shape) < 0.2] = np.nan
    return rows


def agrees(model, rows, folder, suffix="json", **options):
    """Save, import, and compare with what the model itself says; returns the import."""
    path = folder / f"model.{suffix}"
    if suffix == "pkl":
        path.write_bytes(pickle.dumps(model))
    else:
        model.save_model(path)
    imported, run = converted(path, folder, **options)
    for part in (np.asarray(rows, np.float32), with_gaps(rows), np.asarray(rows)[:1]):
        found = run(part)
        told = imported.predict(_inputs(imported.signature, part))
        for name, array in found.items():
            if name == "label":
                assert np.array_equal(array, told[name])
            else:
                np.testing.assert_allclose(array, told[name], rtol=2e-5, atol=1e-5)
    return imported, run


def test_a_classifier_gives_labels_and_probabilities(tmp_path):
    model = xgboost.XGBClassifier(**FEW).fit(CANCER, MALIGNANT)
    imported, run = agrees(model, CANCER, tmp_path)
    np.testing.assert_allclose(run(CANCER)["probabilities"], model.predict_proba(CANCER), atol=1e-6)
    assert imported.signature.classes == (0, 1)
    assert imported.signature.inputs[0].shape == (None, 30)
    assert imported.signature.output(Role.PROBABILITIES).shape == (None, 2)
    assert imported.kind == "trees"


def test_feature_names_are_kept_and_may_become_columns(tmp_path):
    model = xgboost.XGBClassifier(**FEW).fit(IRIS, SPECIES)
    imported, _ = agrees(model, IRIS, tmp_path)
    assert imported.signature.features == tuple(IRIS.columns)
    assert set(imported.ranges) <= set(IRIS.columns)
    imported, _ = agrees(model, IRIS, tmp_path, layout=Layout.COLUMNS)
    assert [spec.name for spec in imported.signature.inputs] == list(IRIS.columns)


def test_early_stopping_counts_as_the_source_counts(tmp_path):
    model = xgboost.XGBClassifier(n_estimators=100, max_depth=2, early_stopping_rounds=2, n_jobs=1)
    model.fit(CANCER[:400], MALIGNANT[:400], eval_set=[(CANCER[400:], MALIGNANT[400:])], verbose=0)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    for suffix in ("json", "pkl"):
        imported, run = agrees(model, CANCER, tmp_path, suffix)
        np.testing.assert_allclose(
            run(CANCER)["probabilities"], model.predict_proba(CANCER), atol=1e-6
        )
        assert any("Early stopping" in note for note in imported.notes)
    booster = model.get_booster()
    booster.set_attr(scikit_learn=None)
    imported, run = agrees(booster, CANCER, tmp_path)
    everything = booster.predict(xgboost.DMatrix(CANCER))
    np.testing.assert_allclose(run(CANCER)["probabilities"][:, 1], everything, atol=1e-6)
    assert any("Booster.predict uses all" in note for note in imported.notes)


@pytest.mark.parametrize(
    "objective",
    [
        "reg:squarederror", "reg:absoluteerror", "reg:gamma", "reg:tweedie", "count:poisson",
        "reg:pseudohubererror", "reg:squaredlogerror", "survival:cox", "reg:logistic",
    ],
)  # fmt: skip
def test_objectives_pass_their_link(objective, tmp_path):
    target = PROGRESS / 400 if objective == "reg:logistic" else PROGRESS
    model = xgboost.XGBRegressor(objective=objective, **FEW).fit(DIABETES, target)
    _, run = agrees(model, DIABETES, tmp_path)
    np.testing.assert_allclose(run(DIABETES)["score"][:, 0], model.predict(DIABETES), rtol=2e-5)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_boosters_of_several_classes(objective, classes, tmp_path):
    settings = {"objective": objective, "num_class": classes, "max_depth": 3, "nthread": 1}
    species = np.minimum(SPECIES, classes - 1)
    model = xgboost.train(settings, xgboost.DMatrix(IRIS, species), 5)
    imported, run = agrees(model, IRIS, tmp_path, "ubj")
    told = model.predict(xgboost.DMatrix(IRIS))
    told = told.argmax(axis=1) if objective == "multi:softprob" else told
    assert np.array_equal(run(IRIS)["label"], told)
    assert imported.signature.classes == tuple(range(classes))


def test_several_targets_quantiles_forests_and_ranks(tmp_path):
    both = np.c_[PROGRESS, -PROGRESS]
    models = [
        xgboost.XGBRegressor(**FEW).fit(DIABETES, both),
        xgboost.XGBRegressor(
            objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9], **FEW
        ).fit(DIABETES, PROGRESS),
        xgboost.XGBRegressor(booster="dart", rate_drop=0.5, **FEW).fit(DIABETES, PROGRESS),
        xgboost.XGBRFRegressor(n_estimators=5, n_jobs=1).fit(DIABETES, PROGRESS),
        xgboost.XGBRanker(**FEW).fit(
            DIABETES, (PROGRESS // 90).astype(int), qid=np.arange(len(PROGRESS)) // 40
        ),
        xgboost.XGBClassifier(objective="binary:logitraw", **FEW).fit(DIABETES, PROGRESS > 100),
    ]
    widths = [2, 3, 1, 1, 1, 1]
    for model, width in zip(models, widths, strict=True):
        imported, _ = agrees(model, DIABETES, tmp_path)
        assert imported.signature.outputs[0].shape == (None, width)
        assert imported.signature.outputs[0].role is Role.SCORE


@pytest.mark.parametrize("onehot", [1, 100])
def test_categories_are_codes(onehot, tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"size": random.random(800), "city": pd.Categorical(random.integers(0, 37, 800))}
    )
    target = frame["size"] + frame["city"].cat.codes % 3
    model = xgboost.XGBRegressor(enable_categorical=True, max_cat_to_onehot=onehot, **FEW)
    model.fit(frame, target)
    codes = np.c_[frame["size"], frame["city"].cat.codes]
    codes[:5, 1] = [36, 40, 2.7, -1, -0.5]  # known, unseen, cut to 2, absurd twice
    imported, run = agrees(model, codes, tmp_path)
    np.testing.assert_allclose(run(codes[5:])["score"][:, 0], model.predict(frame[5:]), rtol=1e-5)
    assert imported.ranges["city"] == Ranges(values=tuple(range(37)))
    assert any("category codes" in note for note in imported.notes)


def test_a_value_that_means_missing(tmp_path):
    rows = np.where(IRIS < 2, -1, IRIS)
    model = xgboost.XGBRegressor(missing=-1, **FEW).fit(rows, SPECIES)
    imported, run = agrees(model, rows, tmp_path, "pkl")
    np.testing.assert_allclose(run(rows)["score"][:, 0], model.predict(rows), atol=1e-5)
    assert any("-1 counts as missing" in note for note in imported.notes)


def test_ranges_surround_the_thresholds(tmp_path):
    rows = np.random.default_rng(0).uniform(100, 200, (300, 2))
    model = xgboost.XGBRegressor(**FEW).fit(rows, rows[:, 0] > 150)
    imported, _ = agrees(model, rows, tmp_path)
    assert set(imported.ranges) <= {"0", "1"}
    assert imported.ranges["0"].low < 150 < imported.ranges["0"].high


@pytest.mark.parametrize("name", ["xgboost-2.1.4.json", "xgboost-2.1.4.pkl"])
def test_files_of_the_previous_major_version(name, tmp_path):
    imported, run = converted(DATA / name, tmp_path)
    assert any("older version" in note for note in imported.notes) is name.endswith("pkl")
    wanted = np.load(DATA / "xgboost-2.1.4.npy")
    np.testing.assert_allclose(run(IRIS)["probabilities"], wanted, atol=1e-6)


def test_what_does_not_convert_says_why(tmp_path):
    path = tmp_path / "model.json"
    both = np.c_[PROGRESS, -PROGRESS]
    for model, word in (
        (xgboost.XGBRegressor(booster="gblinear", n_jobs=1), "gblinear"),
        (xgboost.XGBRegressor(multi_strategy="multi_output_tree", **FEW), "vector leaves"),
        (xgboost.XGBClassifier(objective="binary:hinge", **FEW), "binary:hinge"),
    ):
        target = both if word == "vector leaves" else PROGRESS > 100
        model.fit(DIABETES, target).save_model(path)
        with pytest.raises(UnsupportedError, match=word):
            converted(path, tmp_path)


def test_tampered_models_end_in_our_own_errors(tmp_path):
    path = tmp_path / "model.json"
    xgboost.XGBRegressor(**FEW).fit(DIABETES, PROGRESS).save_model(path)
    whole = json.loads(path.read_text())
    trees = "learner", "gradient_booster", "model", "trees"

    def tampered(*keys, value):
        document = json.loads(json.dumps(whole))
        place = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        path.write_text(json.dumps(document))
        return path

    for changes in (
        {"keys": ("learner", "objective", "name"), "value": "reg:imagined"},
        {"keys": ("learner", "learner_model_param", "base_score"), "value": "x"},
        {"keys": trees, "value": []},
        {"keys": (*trees, 0, "split_indices"), "value": []},
        {"keys": ("learner", "gradient_booster", "name"), "value": "imagined"},
    ):
        with pytest.raises(ModelworksError) as caught:
            converted(tampered(*changes["keys"], value=changes["value"]), tmp_path)
        assert "\n" not in caught.value.message


def test_a_sample_comes_along(tmp_path):
    model = xgboost.XGBClassifier(**FEW).fit(IRIS, SPECIES)
    model.save_model(tmp_path / "model.json")
    IRIS.head(9).to_csv(tmp_path / "rows.csv", index=False)
    imported, _ = converted(tmp_path / "model.json", tmp_path, sample=tmp_path / "rows.csv")
    np.testing.assert_allclose(imported.sample["X"], IRIS.head(9))
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidError, match="sample"):
        converted(tmp_path / "model.json", tmp_path, sample=tmp_path / "rows.csv")
