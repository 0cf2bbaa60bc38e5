"""Python folders against the loader contract; the frameworks' loaders are in real."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.native import NativeModel, write_native
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.testing.loaders import LoaderCase, LoaderContract

pytestmark = pytest.mark.contract


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
