"""LightGBM's importer against the contract of all importers."""

import json
import os
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest

from modelworks.testing.importers import Bad, Good, ImporterContract

pytestmark = pytest.mark.contract
pytest.importorskip("lightgbm")


class Gadget:
    """Pickles itself as a call of the shell."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.fixture(scope="class")
def rows():
    from sklearn.datasets import load_breast_cancer, load_iris

    return load_breast_cancer(return_X_y=True), load_iris(return_X_y=True)


class TestLightgbm(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        from modelworks.ext.importers.lightgbm import LightgbmImporter

        return LightgbmImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls, rows, tmp_path_factory):
        import lightgbm

        folder = tmp_path_factory.mktemp("lightgbm")
        (cancer, malignant), (iris, species) = rows
        cancer[::5, ::3] = np.nan
        few = {"n_estimators": 6, "num_leaves": 7, "verbose": -1}
        binary = lightgbm.LGBMClassifier(**few).fit(cancer, malignant)
        several = lightgbm.LGBMClassifier(**few).fit(iris, np.array(["a", "b", "c"])[species])
        poisson = lightgbm.LGBMRegressor(objective="poisson", **few).fit(iris, species)
        binary.booster_.save_model(folder / "binary.txt")
        joblib.dump(several, folder / "several.joblib")
        (folder / "poisson.pkl").write_bytes(pickle.dumps(poisson.booster_))
        cancer, iris = cancer.astype(np.float32), iris.astype(np.float32)
        return [
            Good(folder / "binary.txt", "lightgbm-txt", {"X": cancer[:64]}),
            Good(folder / "several.joblib", "lightgbm-joblib", {"X": iris}),
            Good(folder / "poisson.pkl", "lightgbm-pickle", {"X": iris}),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls, rows, tmp_path_factory):
        import lightgbm

        folder = tmp_path_factory.mktemp("bad")
        canary = folder / "canary"
        iris, species = rows[1]
        few = {"n_estimators": 2, "verbose": -1}
        linear = lightgbm.LGBMRegressor(linear_tree=True, **few).fit(iris, species)
        linear.booster_.save_model(folder / "linear.txt")
        trained = lightgbm.LGBMRegressor(**few).fit(iris, species)
        text = trained.booster_.model_to_string()
        circle = text.replace("left_child=", "left_child=0 ", 1).replace(
            "num_leaves=", "num_leaves=1", 1
        )
        (folder / "circle.txt").write_text(circle)
        (folder / "short.txt").write_text(text[: text.rindex("Tree=")])
        (folder / "objective.txt").write_text(
            text.replace("objective=regression", "objective=x", 1)
        )
        (folder / "dump.json").write_text(json.dumps(trained.booster_.dump_model()))
        trained._other_params["gadget"] = Gadget(canary)
        joblib.dump(trained, folder / "gadget.joblib", compress=("xz", 3))
        (folder / "unfitted.pkl").write_bytes(pickle.dumps(lightgbm.LGBMClassifier()))
        return [
            Bad(folder / "linear.txt", "linear trees"),
            Bad(folder / "circle.txt", "cut off"),
            Bad(folder / "short.txt", "truncated"),
            Bad(folder / "objective.txt", "objective x"),
            Bad(folder / "dump.json", "save_model"),
            Bad(folder / "gadget.joblib", "posix.system is not on the allow-list", canary),
            Bad(folder / "unfitted.pkl", "not fitted"),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        from sklearn.linear_model import LinearRegression

        folder = tmp_path_factory.mktemp("foreign")
        joblib.dump(LinearRegression(), folder / "linear.joblib")
        (folder / "model.json").write_text('{"learner": {"attributes": {}}}')
        (folder / "forest.txt").write_text("tree of life\n")
        return sorted(folder.iterdir())
