"""XGBoost's importer against the contract of all importers."""

import json
import os
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest

from modelworks.testing.importers import Bad, Good, ImporterContract

pytestmark = pytest.mark.contract
pytest.importorskip("xgboost")


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


class TestXgboost(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        from modelworks.ext.importers.xgboost import XgboostImporter

        return XgboostImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls, rows, tmp_path_factory):
        import xgboost

        folder = tmp_path_factory.mktemp("xgboost")
        (cancer, malignant), (iris, species) = rows
        cancer, iris = cancer.astype(np.float32), iris.astype(np.float32)
        cancer[::5, ::3] = np.nan
        binary = xgboost.XGBClassifier(n_estimators=8, max_depth=3).fit(cancer, malignant)
        several = xgboost.XGBClassifier(n_estimators=4, max_depth=3).fit(iris, species)
        plain = xgboost.train({"objective": "count:poisson"}, xgboost.DMatrix(iris, species), 4)
        binary.save_model(folder / "binary.json")
        several.save_model(folder / "several.ubj")
        joblib.dump(several, folder / "several.joblib", compress=3)
        (folder / "plain.pkl").write_bytes(pickle.dumps(plain))
        return [
            Good(folder / "binary.json", "xgboost-json", {"X": cancer[:64]}),
            Good(folder / "several.ubj", "xgboost-ubj", {"X": iris}),
            Good(folder / "several.joblib", "xgboost-joblib", {"X": iris}),
            Good(folder / "plain.pkl", "xgboost-pickle", {"X": iris}),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls, rows, tmp_path_factory):
        import xgboost

        folder = tmp_path_factory.mktemp("bad")
        canary = folder / "canary"
        iris, species = rows[1]
        linear = xgboost.XGBRegressor(n_estimators=2, booster="gblinear").fit(iris, species)
        linear.save_model(folder / "linear.json")
        hinge = xgboost.XGBClassifier(n_estimators=2, objective="binary:hinge")
        hinge.fit(iris, species > 0).save_model(folder / "hinge.json")
        trained = xgboost.XGBRegressor(n_estimators=2).fit(iris, species)
        trained.callbacks = [Gadget(canary)]
        joblib.dump(trained, folder / "gadget.joblib", compress=("gzip", 3))
        (folder / "gadget.pkl").write_bytes(pickle.dumps(trained, protocol=2))
        (folder / "unfitted.pkl").write_bytes(pickle.dumps(xgboost.XGBClassifier()))
        (folder / "old.model").write_bytes(b"binf" + bytes(200))
        (folder / "empty.json").write_text(json.dumps({"learner": {}, "version": [3, 2, 0]}))
        return [
            Bad(folder / "linear.json", "gblinear"),
            Bad(folder / "hinge.json", "binary:hinge"),
            Bad(folder / "gadget.joblib", "posix.system is not on the allow-list", canary),
            Bad(folder / "gadget.pkl", "posix.system is not on the allow-list", canary),
            Bad(folder / "unfitted.pkl", "not fitted"),
            Bad(folder / "old.model", "save_model"),
            Bad(folder / "empty.json", "no fitted XGBoost model: 'gradient_booster'"),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        import xgboost
        from sklearn.linear_model import LinearRegression
        from sklearn.pipeline import make_pipeline

        folder = tmp_path_factory.mktemp("foreign")
        joblib.dump(make_pipeline(xgboost.XGBRegressor()), folder / "pipeline.joblib")
        joblib.dump(LinearRegression(), folder / "linear.joblib")
        (folder / "tree.txt").write_text("tree\nversion=v4\n")
        (folder / "config.json").write_text('{"name": "learner"}')
        return sorted(folder.iterdir())
