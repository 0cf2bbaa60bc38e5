"""The frameworks' loaders against the loader contract, with models that do not convert."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.imports import ImportOptions, Runtime
from modelworks.plugins.load import load as plugin
from modelworks.testing.loaders import LoaderCase, LoaderContract

pytestmark = pytest.mark.real
NATIVE = ImportOptions(trust=True, runtime=Runtime.NATIVE)


@pytest.fixture(scope="module")
def iris():
    from sklearn.datasets import load_iris

    return load_iris(return_X_y=True)


def kept(importer, path, into, options=NATIVE):
    """The artifact that an importer makes of a file that stays as it is."""
    into.mkdir()
    plugin("importers", importer)().read(path, into, options)
    return into


def cut(artifact, name):
    """A maker of copies whose model file is cut short."""

    def damaged(folder: Path) -> Path:
        shutil.copytree(artifact, folder)
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])
        return folder

    return damaged


class TestSklearn(LoaderContract):
    """A calibration that does not convert, with the same probabilities as `predict_proba`."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, iris, tmp_path_factory):
        import joblib
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.naive_bayes import GaussianNB

        rows, labels = iris
        folder = tmp_path_factory.mktemp("sklearn")
        names = np.array(["setosa", "versicolor", "virginica"])[labels]
        model = CalibratedClassifierCV(GaussianNB(), method="isotonic").fit(rows, names)
        joblib.dump(model, folder / "model.joblib", compress=3)
        artifact = kept("sklearn", folder / "model.joblib", folder / "artifact")
        some = rows[::30]
        expected = {
            "label": np.array([name.encode() for name in model.predict(some)], object),
            "probabilities": model.predict_proba(some),
        }
        refused = {"input": np.full((4, 4), np.inf)}
        return LoaderCase(
            artifact, {"input": some}, expected, refused, cut(artifact, "model.joblib")
        )


class TestSklearnOwnClass(LoaderContract):
    """An estimator of the user's own, whose module lies beside it."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, iris, tmp_path_factory):
        import sys

        import joblib

        rows, labels = iris
        folder = tmp_path_factory.mktemp("own")
        source = folder / "source"
        source.mkdir()
        (source / "native_own_estimator.py").write_text(
            "import numpy as np\n"
            "from sklearn.base import BaseEstimator, RegressorMixin\n"
            "class Middle(RegressorMixin, BaseEstimator):\n"
            "    def fit(self, X, y):\n"
            "        self.n_features_in_ = X.shape[1]\n"
            "        self.middle_ = float(np.mean(y))\n"
            "        return self\n"
            "    def predict(self, X):\n"
            "        return np.asarray(X).sum(axis=1) + self.middle_\n"
        )
        sys.path.insert(0, str(source))
        try:
            from native_own_estimator import Middle

            model = Middle().fit(rows, labels)
            joblib.dump(model, source / "model.pkl")
            artifact = kept("sklearn", source, folder / "artifact")
        finally:
            sys.path.remove(str(source))
            sys.modules.pop("native_own_estimator", None)
            sys.path[:] = [place for place in sys.path if place != str(source)]
        some = rows[::30]
        expected = {"score": model.predict(some)[:, None]}
        damaged = cut(artifact, "model/model.pkl")
        return LoaderCase(artifact, {"input": some}, expected, None, damaged)


class TestXgboost(LoaderContract):
    """A linear booster, which no converter takes."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, iris, tmp_path_factory):
        import xgboost

        rows, labels = iris
        folder = tmp_path_factory.mktemp("xgboost")
        matrix = xgboost.DMatrix(rows, label=labels)
        options = {"booster": "gblinear", "objective": "multi:softprob", "num_class": 3}
        model = xgboost.train(options, matrix, 5)
        model.save_model(folder / "model.ubj")
        artifact = kept("xgboost", folder / "model.ubj", folder / "artifact")
        some = rows[::30].astype(np.float32)
        values = model.predict(xgboost.DMatrix(some))
        expected = {"label": values.argmax(axis=1), "probabilities": values}
        return LoaderCase(artifact, {"input": some}, expected, None, cut(artifact, "model.ubj"))


class TestLightgbm(LoaderContract):
    """Linear trees, which no converter takes."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, iris, tmp_path_factory):
        import lightgbm

        rows, labels = iris
        folder = tmp_path_factory.mktemp("lightgbm")
        model = lightgbm.LGBMRegressor(n_estimators=5, linear_tree=True, verbose=-1)
        model.fit(rows, labels)
        model.booster_.save_model(folder / "model.txt")
        artifact = kept("lightgbm", folder / "model.txt", folder / "artifact")
        some = rows[::30]
        expected = {"score": model.booster_.predict(some)[:, None]}

        def damaged(into: Path) -> Path:
            shutil.copytree(artifact, into)
            (into / "model.txt").write_text("tree\nversion=v4\n")
            return into

        return LoaderCase(artifact, {"input": some}, expected, None, damaged)


class TestTorch(LoaderContract):
    """An exported program, run by PyTorch itself."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        import torch

        folder = tmp_path_factory.mktemp("torch")
        torch.manual_seed(1)
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        batch = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(net.eval(), (torch.randn(2, 4),), dynamic_shapes=batch)
        torch.export.save(program, folder / "net.pt2")
        artifact = kept("torch", folder / "net.pt2", folder / "artifact")
        some = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
        with torch.no_grad():
            expected = {"output": net(torch.from_numpy(some)).numpy()}
        name = program.graph_signature.user_inputs[0]
        return LoaderCase(artifact, {name: some}, expected, None, cut(artifact, "net.pt2"))
