"""LightGBM models of every sort predict the same after the conversion, or are refused."""

import pickle
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from modelworks.core.errors import InvalidError, ModelworksError, UnsupportedError
from modelworks.core.imports import ImportOptions, Ranges
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Layout, Role
from modelworks.ext.importers.lightgbm import LightgbmImporter
from modelworks.plugins.load import load

pytestmark = pytest.mark.unit
lightgbm = pytest.importorskip("lightgbm")

DATA = Path(__file__).parents[2] / "data" / "importers"
IRIS, SPECIES = load_iris(return_X_y=True)
CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
FEW = {"n_estimators": 6, "num_leaves": 7, "verbose": -1, "n_jobs": 1}


def converted(path: Path, into: Path, **options):
    """The import and a function that runs the result on a matrix."""
    imported = LightgbmImporter().read(path, into, ImportOptions(**options))
    session = load("engines", "onnxruntime")().load(into, EngineOptions())
    names = [spec.name for spec in imported.signature.outputs]
    dtype = np.float64 if imported.signature.inputs[0].datatype is Datatype.FP64 else np.float32

    def run(rows):
        given = _inputs(imported.signature, np.asarray(rows, dtype))
        return dict(zip(names, session.infer(given), strict=True))

    return imported, run


def _inputs(signature, rows):
    if signature.layout is Layout.MATRIX:
        return {"X": rows}
    return {name: rows[:, i : i + 1] for i, name in enumerate(signature.features)}


def with_gaps(rows):
    rows = np.array(rows, float)
    random = np.random.default_rng(0).random(rows.shape)
    rows[random < 0.2] = np.nan
    rows[random > 0.8] = 0.0
    return rows


def agrees(model, rows, folder, suffix="txt", **options):
    """Save, import, and compare with what the model itself says; returns the import."""
    path = folder / f"model.{suffix}"
    if suffix == "pkl":
        path.write_bytes(pickle.dumps(model))
    elif suffix == "joblib":
        joblib.dump(model, path, compress=3)
    else:
        getattr(model, "booster_", model).save_model(path)
    imported, run = converted(path, folder, **options)
    double = imported.signature.inputs[0].datatype is Datatype.FP64
    for rows_of_a_sort in (rows, with_gaps(rows), rows[:1]):
        part = np.asarray(rows_of_a_sort, np.float64 if double else np.float32)
        told = imported.predict(_inputs(imported.signature, part))
        for name, array in run(part).items():
            if name == "label":
                assert np.array_equal(array, told[name])
            else:
                np.testing.assert_allclose(array, told[name], rtol=2e-5, atol=1e-5)
    return imported, run


@pytest.mark.parametrize("labels", [[0, 1], [5, 9], ["no", "yes"], [False, True]])
def test_a_classifier_keeps_its_labels(labels, tmp_path):
    model = lightgbm.LGBMClassifier(**FEW).fit(CANCER, np.array(labels)[MALIGNANT])
    imported, run = agrees(model, CANCER, tmp_path, "joblib")
    assert imported.signature.classes == tuple(
        int(x) if x is True or x is False else x for x in labels
    )
    told = model.predict(CANCER.astype(np.float32))
    found = [x.decode() if isinstance(x, bytes) else x for x in run(CANCER)["label"]]
    assert found == told.tolist()
    assert imported.signature.output(Role.PROBABILITIES).shape == (None, 2)
    assert "lightgbm.sklearn.LGBMClassifier" in imported.scan.names


@pytest.mark.parametrize("kind", ["gbdt", "dart", "rf"])
@pytest.mark.parametrize("objective", ["multiclass", "multiclassova"])
def test_several_classes(kind, objective, tmp_path):
    model = lightgbm.LGBMClassifier(
        objective=objective, boosting_type=kind, subsample=0.7, subsample_freq=1, **FEW
    ).fit(IRIS, np.array(["a", "b", "c"])[SPECIES])
    imported, _ = agrees(model, IRIS, tmp_path, "pkl")
    assert imported.signature.classes == ("a", "b", "c")
    imported, _ = agrees(model, IRIS, tmp_path)
    assert imported.signature.classes == (0, 1, 2)


def test_names_ranges_and_columns(tmp_path):
    frame = pd.DataFrame(IRIS, columns=["a", "b", "c", "d"])
    model = lightgbm.LGBMRegressor(**FEW).fit(frame, SPECIES)
    imported, _ = agrees(model, IRIS, tmp_path)
    assert imported.signature.features == ("a", "b", "c", "d")
    assert imported.ranges["a"] == Ranges(4.3, 7.9)
    imported, _ = agrees(model, IRIS, tmp_path, layout=Layout.COLUMNS)
    assert [spec.name for spec in imported.signature.inputs] == ["a", "b", "c", "d"]
    nameless = lightgbm.LGBMRegressor(**FEW).fit(IRIS, SPECIES)
    imported, _ = agrees(nameless, IRIS, tmp_path)
    assert imported.signature.features == ()
    assert imported.ranges["0"] == Ranges(4.3, 7.9)


SPACED = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width"]
KNOWN = tuple(name.replace(" ", "_") for name in SPACED)


@pytest.fixture
def spaced(tmp_path):
    """A frame with spaces in its names, and the model of it, which knows them otherwise."""
    frame = pd.DataFrame(IRIS, columns=SPACED)
    model = lightgbm.LGBMClassifier(**FEW).fit(frame, SPECIES)
    assert tuple(model.feature_name_) == KNOWN
    model.booster_.save_model(tmp_path / "model.txt")
    return frame, tmp_path / "model.txt"


@pytest.mark.parametrize("layout", [Layout.MATRIX, Layout.COLUMNS])
def test_the_samples_names_stand_for_those_that_lightgbm_changed(spaced, layout, tmp_path):
    frame, path = spaced
    frame.to_csv(tmp_path / "rows.csv", index=False)
    imported, _ = converted(path, tmp_path, sample=tmp_path / "rows.csv", layout=layout)
    assert imported.signature.features == tuple(SPACED)
    assert set(imported.ranges) == set(SPACED)
    assert any("sepal length (cm)" in note for note in imported.notes)
    given = np.concatenate(
        [imported.sample[s.name].reshape(len(frame), -1) for s in imported.signature.inputs], axis=1
    )
    assert np.array_equal(given, IRIS)


@pytest.mark.parametrize(
    "columns",
    [
        list(KNOWN),  # the model's own
        SPACED[::-1],  # another order
        [*SPACED[:3], "petal  width"],  # another name
        [*SPACED, "kind"],  # one more
    ],
)
def test_other_names_are_not_taken_over(spaced, columns, tmp_path):
    frame, path = spaced
    frame = frame.assign(kind=1.0)[[*SPACED, "kind"]].iloc[:, : len(columns)]
    frame.set_axis(columns, axis=1).to_csv(tmp_path / "rows.csv", index=False)
    if columns[0] != KNOWN[0]:
        with pytest.raises(InvalidError, match=r"no column 'sepal_length_\(cm\)'"):
            converted(path, tmp_path, sample=tmp_path / "rows.csv")
        return
    imported, _ = converted(path, tmp_path, sample=tmp_path / "rows.csv")
    assert imported.signature.features == KNOWN
    assert not any("underscores" in note for note in imported.notes)


def test_a_matrix_as_a_sample_changes_no_names(spaced, tmp_path):
    _, path = spaced
    np.save(tmp_path / "rows.npy", IRIS)
    imported, _ = converted(path, tmp_path, sample=tmp_path / "rows.npy")
    assert imported.signature.features == KNOWN


def test_early_stopping_counts_as_the_source_counts(tmp_path):
    model = lightgbm.LGBMClassifier(**FEW | {"n_estimators": 200, "learning_rate": 0.3})
    model.fit(
        CANCER[:400],
        MALIGNANT[:400],
        eval_X=CANCER[400:],
        eval_y=MALIGNANT[400:],
        callbacks=[lightgbm.early_stopping(3, verbose=False)],
    )
    assert model.best_iteration_ < 200
    for suffix in ("txt", "pkl"):
        _, run = agrees(model, CANCER, tmp_path, suffix)
        np.testing.assert_allclose(
            run(CANCER)["probabilities"],
            model.predict_proba(CANCER.astype(np.float32)),
            atol=1e-6,
        )


@pytest.mark.parametrize(
    "objective",
    [
        "regression", "regression_l1", "huber", "fair", "quantile", "mape", "poisson", "gamma",
        "tweedie", "cross_entropy", "cross_entropy_lambda",
    ],
)  # fmt: skip
def test_objectives_pass_their_link(objective, tmp_path):
    target = PROGRESS / 400 if objective.startswith("cross") else PROGRESS
    model = lightgbm.LGBMRegressor(objective=objective, **FEW).fit(DIABETES, target)
    _, run = agrees(model, DIABETES, tmp_path)
    told = model.predict(DIABETES.astype(np.float32))
    np.testing.assert_allclose(run(DIABETES)["score"][:, 0], told, rtol=2e-5)


def test_roots_ranks_and_own_objectives(tmp_path):
    groups = [40] * 10
    relevance = (PROGRESS[:400] // 90).astype(int)

    def squared(predicted, data):
        return predicted - data.get_label(), np.ones_like(predicted)

    settings = {"objective": squared, "verbose": -1, "num_threads": 1}
    for model in (
        lightgbm.LGBMRegressor(reg_sqrt=True, **FEW).fit(DIABETES, PROGRESS - 100),
        lightgbm.LGBMRanker(**FEW).fit(DIABETES[:400], relevance, group=groups),
        lightgbm.train(settings, lightgbm.Dataset(DIABETES, PROGRESS), 5),
    ):
        imported, _ = agrees(model, DIABETES, tmp_path)
        assert imported.signature.outputs[0].role is Role.SCORE


@pytest.mark.parametrize("missing", [{}, {"zero_as_missing": True}, {"use_missing": False}])
def test_missing_values_and_zeros(missing, tmp_path):
    rows = with_gaps(DIABETES)
    model = lightgbm.LGBMRegressor(**FEW, **missing).fit(rows, PROGRESS)
    imported, _ = agrees(model, rows, tmp_path)
    told = any("Zero counts as missing" in note for note in imported.notes)
    assert told is ("zero_as_missing" in missing)


def test_categories_are_codes(tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"size": random.random(900), "city": pd.Categorical(random.integers(0, 70, 900))}
    )
    target = frame["size"] + frame["city"].cat.codes % 3
    model = lightgbm.LGBMRegressor(min_data_per_group=1, cat_smooth=0, **FEW).fit(frame, target)
    codes = np.c_[frame["size"], frame["city"].cat.codes]
    codes[:6, 1] = [69, 70, -1, 500, 2.7, -0.5]  # known, unseen, absurd, unseen, cut to 2 and 0
    imported, run = agrees(model, codes, tmp_path)
    np.testing.assert_allclose(run(codes[6:])["score"][:, 0], model.predict(frame[6:]), rtol=1e-5)
    assert len(set(range(70)) & set(imported.ranges["city"].values)) > 60
    assert any("category codes" in note for note in imported.notes)


def test_large_offsets_take_double_inputs(tmp_path):
    rows = DIABETES + 1e8
    for model in (
        lightgbm.LGBMRegressor(**FEW).fit(rows, PROGRESS),
        lightgbm.LGBMClassifier(**FEW).fit(rows, PROGRESS > 140),
        lightgbm.LGBMClassifier(**FEW).fit(rows, PROGRESS // 120),
    ):
        imported, run = agrees(model, rows, tmp_path)
        assert imported.signature.inputs[0].datatype is Datatype.FP64
        assert any("float64" in note for note in imported.notes)
        assert len(np.unique(run(rows)[imported.signature.outputs[-1].name][:, 0])) > 5


def test_rows_on_a_threshold_take_the_same_road(tmp_path):
    model = lightgbm.LGBMRegressor(**FEW | {"n_estimators": 40}).fit(DIABETES, PROGRESS)
    _, run = agrees(model, DIABETES, tmp_path)
    thresholds = np.array(model.booster_.trees_to_dataframe()["threshold"].dropna())
    single = thresholds.astype(np.float32)
    around = [np.nextafter(single, np.float32(s), dtype=np.float32) for s in (-np.inf, np.inf)]
    rows = np.repeat(np.concatenate([single, *around])[:, None], DIABETES.shape[1], axis=1)
    np.testing.assert_allclose(run(rows)["score"][:, 0], model.predict(rows), rtol=1e-5)


@pytest.mark.parametrize("name", ["lightgbm-3.3.5.txt", "lightgbm-3.3.5.pkl"])
def test_files_of_the_previous_major_version(name, tmp_path):
    _, run = converted(DATA / name, tmp_path)
    wanted = np.load(DATA / "lightgbm-3.3.5.npy")
    np.testing.assert_allclose(run(IRIS)["probabilities"], wanted, atol=1e-5)


def test_what_does_not_convert_says_why(tmp_path):
    model = lightgbm.LGBMRegressor(linear_tree=True, **FEW).fit(DIABETES, PROGRESS)
    with pytest.raises(UnsupportedError, match="linear trees"):
        agrees(model, DIABETES, tmp_path)


def test_tampered_models_end_in_our_own_errors(tmp_path):
    path = tmp_path / "model.txt"
    lightgbm.LGBMRegressor(**FEW).fit(DIABETES, PROGRESS).booster_.save_model(path)
    whole = path.read_text()
    for old, new in (
        ("num_tree_per_iteration=1", "num_tree_per_iteration=4"),
        ("max_feature_idx=9", "max_feature_idx=x"),
        ("left_child=1", "left_child=0"),
        ("leaf_value=", "leaf_value=x "),
        ("num_leaves=7", "num_leaves=8"),
        ("split_feature=", "split_feature=1 "),
        ("objective=regression", "objective=imagined"),
        ("end of trees", "end"),
    ):
        assert old in whole
        path.write_text(whole.replace(old, new, 1))
        with pytest.raises(ModelworksError) as caught:
            converted(path, tmp_path)
        assert "\n" not in caught.value.message
