"""The OpenVINO importer against the contract of all importers, on files that OpenVINO wrote."""

import numpy as np
import pytest

import environments
from modelworks.core.errors import InvalidError
from modelworks.core.imports import ImportOptions
from modelworks.core.tensor import Layout
from modelworks.testing.importers import Bad, Good, ImporterContract

pytestmark = [pytest.mark.contract, pytest.mark.timeout(600)]


class TestOpenVino(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        from modelworks.ext.importers.openvino import OpenVinoImporter

        return OpenVinoImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def files(cls):
        return environments.made_here("openvino_files.py")

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls, files, tmp_path_factory):
        folder = tmp_path_factory.mktemp("folder") / "cnn"
        folder.mkdir()
        for kind in ("xml", "bin"):
            (folder / f"any_name.{kind}").write_bytes((files / f"cnn.{kind}").read_bytes())
        rows, images = np.load(files / "mlp_rows.npy"), np.load(files / "cnn_rows.npy")
        column = np.arange(10, dtype=np.float32).reshape(10, 1)
        words = np.array([[b"a", b"\xc3\xa9"]] * 8, dtype=object)
        return [
            Good(files / "mlp.xml", "openvino-ir", {"features": rows}),
            Good(files / "mlp_half.xml", "openvino-ir", {"features": rows}),
            Good(folder, "openvino-ir", {"image": images}),
            Good(files / "columns.xml", "openvino-ir", {"a": column, "b": column + 1}),
            Good(files / "state.xml", "openvino-ir", {"x": np.ones((1, 2), np.float32)}),
            Good(files / "kind_string.xml", "openvino-ir", {"x": words}),
            Good(files / "kind_bf16.xml", "openvino-ir", {"x": np.ones((8, 2), np.uint16)}),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls, files, tmp_path_factory):
        folder = tmp_path_factory.mktemp("bad")
        text = (files / "mlp.xml").read_text()
        (folder / "alone.xml").write_text(text)
        (folder / "short.xml").write_text(text)
        (folder / "short.bin").write_bytes(b"\0" * 100)
        (folder / "laughs.xml").write_text(f'<!DOCTYPE a [<!ENTITY a "ha">]>{text[21:]}')
        (folder / "code.xml").write_text(text.replace("opset1", "extension", 1))
        return [
            Bad(folder / "alone.xml", "must lie beside it"),
            Bad(folder / "short.xml", "cut short"),
            Bad(folder / "laughs.xml", "document type"),
            Bad(folder / "code.xml", "that is code"),
            Bad(folder, "one .xml file"),
            Bad(files / "kind_i4.xml", "i4"),
            Bad(files / "cnn.xml", "matrix", options=ImportOptions(layout=Layout.MATRIX)),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("foreign")
        (folder / "tree.txt").write_text("tree\nversion=v4\n")
        (folder / "page.xml").write_text("<?xml version='1.0'?><html/>")
        (folder / "text.json").write_text('{"a": "<net name="}')
        (folder / "model.onnx").write_bytes(b"\x08\x09\x3a\x00")
        return sorted(folder.iterdir())

    def test_the_pair_is_kept_byte_for_byte(self, reads, files):
        mlp = reads[0].folder
        assert (mlp / "model.xml").read_bytes() == (files / "mlp.xml").read_bytes()
        assert (mlp / "model.bin").read_bytes() == (files / "mlp.bin").read_bytes()

    def test_layouts_are_found(self, reads):
        layouts = [read.imported.signature.layout for read in reads]
        assert layouts[0] is Layout.MATRIX
        assert layouts[3] is Layout.COLUMNS
        assert reads[3].imported.signature.features == ("a", "b")

    def test_what_wrote_it_is_told(self, reads):
        assert "IR 11" in reads[0].imported.notes[0]
        assert "written by OpenVINO 20" in reads[0].imported.notes[0]
        assert any("reset before every request" in note for note in reads[4].imported.notes)

    def test_a_folder_with_two_models_is_refused(self, importer, files, tmp_path):
        with pytest.raises(InvalidError, match=r"one \.xml file"):
            importer.read(files, tmp_path, ImportOptions())
