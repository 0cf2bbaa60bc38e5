"""The Keras importer against the contract of all importers, inside TensorFlow's environment.

Run by tests/real/test_importer_keras.py; the files come from tests/makers/keras_files.py and lie in
the folder that MODELWORKS_KERAS_FILES names.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.imports import ImportOptions
from modelworks.ext.importers.keras import KerasImporter
from modelworks.testing.importers import Bad, Good, ImporterContract

FILES = Path(os.environ["MODELWORKS_KERAS_FILES"])
FORMATS = {".keras": "keras-v3", ".h5": "keras-h5", "_saved": "tf-savedmodel"}
MODELS = ("mlp", "cnn", "recurrent", "several", "scaled", "words")


def rows(name, kind="in_"):
    """Rows or Keras's own answers, by name; texts as bytes objects."""
    found = {k.removeprefix(kind): v for k, v in np.load(FILES / f"{name}.npz").items()
             if k.startswith(kind)}  # fmt: skip
    return {k: v.astype(object) if v.dtype.kind == "S" else v for k, v in found.items()}


def good(name, suffix):
    return Good(FILES / f"{name}{suffix}", FORMATS[suffix], rows(name))


class TestKeras(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        return KerasImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls):
        every = [good(name, suffix) for name in MODELS for suffix in FORMATS]
        more = [("named", ".keras"), ("attention", ".keras"), ("own", "_saved")]
        trusted = Good(
            FILES / "lambda.keras", "keras-v3", rows("lambda"), ImportOptions(trust=True)
        )
        session = Good(FILES / "session_saved", "tf-savedmodel", {"x": rows("several")["a"]})
        return [*every, *(good(*pair) for pair in more), trusted, session]

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls):
        trust = ImportOptions(trust=True)
        return [
            Bad(FILES / "lambda.keras", "double"),
            Bad(FILES / "lambda.h5", "Lambda"),
            Bad(FILES / "own.keras", "Own"),
            Bad(FILES / "own.keras", "SavedModel", options=trust),
            Bad(FILES / "reader_saved", "ReadFile"),
            Bad(FILES / "reader_saved", "ReadFile", options=trust),
            Bad(FILES / "split.keras", "StringSplit"),
            Bad(FILES / "only.weights.h5", "weights without a model"),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("foreign")
        (folder / "tree.txt").write_text("tree\nversion=v4\n")
        (folder / "zip.pt").write_bytes(b"PK\x03\x04" + bytes(100))
        (folder / "table.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(900))
        (folder / "model.onnx").write_bytes(b"\x08\x09\x3a\x00")
        (folder / "folder").mkdir()
        return sorted(folder.iterdir())

    def test_answers_are_those_of_keras_itself(self, reads):
        compared = 0
        for read in reads:
            name = read.good.path.name.removesuffix("_saved").partition(".")[0]
            file = FILES / f"{name}.npz"
            if not file.exists() or read.good.path.name.endswith("_saved"):
                continue  # an exported folder names its outputs by number
            wanted = rows(name, "out_")
            found = read.imported.predict(read.good.inputs)
            assert set(found) == set(wanted), read.good.path.name
            for key, answer in wanted.items():
                np.testing.assert_allclose(found[key], answer, atol=1e-5, rtol=1e-4)
            compared += 1
        assert compared >= 14

    def test_images_keep_their_axes(self, reads):
        shapes = {read.good.path.name: read.imported.signature.inputs[0].shape for read in reads}
        assert shapes["cnn.keras"] == shapes["cnn_saved"] == (None, 12, 12, 3)

    def test_a_lambda_is_opened_by_the_owners_word_and_says_so(self, reads):
        read = next(read for read in reads if read.good.path.name == "lambda.keras")
        assert read.imported.scan.opened
        assert read.imported.scan.names.count("Lambda") == 1
