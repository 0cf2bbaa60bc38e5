"""The LiteRT importer against the contract of all importers, on files of TensorFlow's converter."""

import numpy as np
import pytest

import environments
from modelworks.core.imports import ImportOptions
from modelworks.core.tensor import Layout
from modelworks.testing.importers import Bad, Good, ImporterContract

pytestmark = [pytest.mark.contract, pytest.mark.real, pytest.mark.timeout(900)]


class TestLiteRt(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        from modelworks.ext.importers.litert import LiteRtImporter

        return LiteRtImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def files(cls):
        return environments.made("TensorFlow 2.21", environments.TENSORFLOW, "litert_files.py")

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls, files):
        rows, images = np.load(files / "mlp_rows.npy"), np.load(files / "cnn_rows.npy")
        three = np.arange(30, dtype=np.float32).reshape(10, 3)
        words = np.array([[b"a", b"\xc3\xa9"]] * 8, dtype=object)
        given = {
            "mlp": {"features": rows},
            "mlp_weights8": {"features": rows},
            "mlp_int8": {"features": rows.astype(np.int8)},
            "mlp_uint8": {"features": rows.astype(np.uint8)},
            "cnn": {"image": images},
            "lstm": {"steps": np.load(files / "lstm_rows.npy")[:1]},
            "two": {"a": three, "b": three + 1},
            "text": {"s": words},
        }
        return [Good(files / f"{n}.tflite", "tflite", inputs) for n, inputs in given.items()]

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls, files, tmp_path_factory):
        folder = tmp_path_factory.mktemp("bad")
        for name in ("a", "b"):
            (folder / f"{name}.tflite").write_bytes((files / "mlp.tflite").read_bytes())
        return [
            Bad(files / "custom.tflite", "Betainc"),
            Bad(files / "flex.tflite", "TensorFlow"),
            Bad(folder, "one .tflite file"),
            Bad(files / "cnn.tflite", "matrix", options=ImportOptions(layout=Layout.MATRIX)),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("foreign")
        (folder / "tree.txt").write_text("tree\nversion=v4\n")
        (folder / "zip.pt").write_bytes(b"PK\x03\x04" + bytes(100))
        (folder / "named.tflite").write_bytes(b"\x80\x05garbage")
        (folder / "model.onnx").write_bytes(b"\x08\x09\x3a\x00")
        return sorted(folder.iterdir())

    def test_integers_are_explained(self, importer, files, tmp_path):
        imported = importer.read(files / "mlp_int8.tflite", tmp_path, ImportOptions())
        told = [note for note in imported.notes if "real value" in note]
        assert len(told) == 2
        assert "'features' is quantized: real value = 0.0" in told[0]

    def test_the_choice_of_a_signature_is_told(self, importer, files, tmp_path):
        imported = importer.read(files / "two.tflite", tmp_path, ImportOptions())
        assert any("'serving_default' is served" in note for note in imported.notes)

    def test_rows_have_names_where_a_sample_gives_them(self, importer, files, tmp_path):
        sample = tmp_path / "rows.csv"
        sample.write_text("a,b,c,d,e,f,g,h\n" + "1,2,3,4,5,6,7,8\n" * 3)
        into = tmp_path / "into"
        into.mkdir()
        imported = importer.read(files / "mlp.tflite", into, ImportOptions(sample=sample))
        assert imported.signature.layout is Layout.MATRIX
        assert imported.signature.features == tuple("abcdefgh")
        assert imported.sample["features"].shape == (3, 8)

    def test_the_file_is_kept_byte_for_byte(self, reads):
        for read in reads:
            assert (read.folder / "model.tflite").read_bytes() == read.good.path.read_bytes()
