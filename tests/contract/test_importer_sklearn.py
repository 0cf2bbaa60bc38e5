"""scikit-learn's importer against the contract of all importers."""

import os
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest

from modelworks.testing.importers import Bad, Good, ImporterContract

pytestmark = pytest.mark.contract
pytest.importorskip("skl2onnx")


class Gadget:
    """Pickles itself as a call of the shell."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


class TestSklearn(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        from modelworks.ext.importers.sklearn import SklearnImporter

        return SklearnImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls, tmp_path_factory):
        import skops.io
        from sklearn.datasets import load_iris
        from sklearn.decomposition import PCA
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        folder = tmp_path_factory.mktemp("sklearn")
        iris, species = load_iris(return_X_y=True)
        iris = iris.astype(np.float32)
        names = np.array(["setosa", "versicolor", "virginica"])[species]
        line = make_pipeline(StandardScaler(), LogisticRegression()).fit(iris, names)
        forest = RandomForestRegressor(5, random_state=0).fit(iris, species)
        joblib.dump(line, folder / "line.joblib", compress=3)
        (folder / "forest.pkl").write_bytes(pickle.dumps(forest))
        skops.io.dump(PCA(2).fit(iris), folder / "axes.skops")
        return [
            Good(folder / "line.joblib", "sklearn-joblib", {"input": iris}),
            Good(folder / "forest.pkl", "sklearn-pickle", {"input": iris}),
            Good(folder / "axes.skops", "sklearn-skops", {"input": iris}),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls, tmp_path_factory):
        from sklearn.linear_model import LinearRegression
        from sklearn.neighbors import NearestCentroid
        from sklearn.preprocessing import FunctionTransformer

        folder = tmp_path_factory.mktemp("bad")
        canary = folder / "canary"
        trained = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
        trained.extra = Gadget(canary)
        joblib.dump(trained, folder / "gadget.joblib", compress=3)
        (folder / "gadget.pkl").write_bytes(pickle.dumps(trained, protocol=2))
        joblib.dump(FunctionTransformer(os.system), folder / "function.joblib")
        joblib.dump(LinearRegression(), folder / "unfitted.joblib")
        centroids = NearestCentroid().fit([[0.0], [1.0], [2.0], [4.0]], [0, 0, 1, 1])
        joblib.dump(centroids, folder / "unconvertible.joblib")
        return [
            Bad(folder / "gadget.joblib", "posix.system is not on the allow-list", canary),
            Bad(folder / "gadget.pkl", "posix.system is not on the allow-list", canary),
            Bad(folder / "function.joblib", "posix.system is not on the allow-list"),
            Bad(folder / "unfitted.joblib", "not fitted"),
            Bad(folder / "unconvertible.joblib", "NearestCentroid"),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("foreign")
        joblib.dump({"a": np.arange(3)}, folder / "numbers.joblib")
        (folder / "tree.txt").write_text("tree\nversion=v4\n")
        (folder / "archive.zip").write_bytes(b"PK\x05\x06" + bytes(18))
        return sorted(folder.iterdir())


def test_an_estimator_that_takes_one_precision_only_is_asked_in_it(tmp_path: Path):
    from sklearn.cluster import KMeans
    from sklearn.datasets import load_iris

    from modelworks.core.imports import ImportOptions
    from modelworks.ext.importers.sklearn import SklearnImporter

    iris = load_iris().data.astype(np.float32)
    clusters = KMeans(3, random_state=0, n_init=1).fit(iris)
    joblib.dump(clusters, tmp_path / "clusters.joblib")
    (tmp_path / "into").mkdir()
    imported = SklearnImporter().read(
        tmp_path / "clusters.joblib", tmp_path / "into", ImportOptions()
    )
    assert imported.predict is not None
    answers = imported.predict({"input": iris.astype(np.float64)})
    assert (answers["label"] == clusters.predict(iris)).all()
