"""The loaders against their contract: scikit-learn and Python folders; the others are in real."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.imports import ImportOptions, Runtime
from modelworks.core.native import NativeModel, write_native
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.plugins.load import load as plugin
from modelworks.testing.loaders import LoaderCase, LoaderContract

pytestmark = pytest.mark.contract
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


class TestPython(LoaderContract):
    """A folder with `model.py`: texts in, numbers and texts out."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        artifact = tmp_path_factory.mktemp("python")
        (artifact / "model").mkdir()
        (artifact / "model" / "model.py").write_text(
            "import numpy as np\n"
            "def load(folder):\n"
            "    return (folder / 'ending').read_text()\n"
            "def predict(ending, inputs):\n"
            "    words = [w.decode() for w in inputs['word'].ravel().tolist()]\n"
            "    if 'bad' in words:\n"
            "        raise ValueError('a bad word')\n"
            "    return {'length': np.array([[len(w)] for w in words]),\n"
            "            'loud': np.array([w.upper() + ending for w in words], object)}\n"
        )
        (artifact / "model" / "ending").write_text("!é")
        signature = Signature(
            (TensorSpec("word", Datatype.BYTES, (None, 1)),),
            (
                TensorSpec("loud", Datatype.BYTES, (None,)),
                TensorSpec("length", Datatype.INT64, (None, 1)),
            ),
        )
        write_native(artifact, NativeModel("python", "model", signature))
        words = ["a", "", "été", "four"]
        given = np.array([[word.encode()] for word in words], object)
        expected = {
            "loud": np.array([(word.upper() + "!é").encode() for word in words], object),
            "length": np.array([[len(word)] for word in words]),
        }

        def damaged(folder: Path) -> Path:
            shutil.copytree(artifact, folder)
            (folder / "model" / "ending").unlink()
            return folder

        refused = {"word": np.array([[b"bad"]], object)}
        return LoaderCase(artifact, {"word": given}, expected, refused, damaged)
