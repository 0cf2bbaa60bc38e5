"""The ONNX importer against the contract of all importers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelworks.core.tensor import Datatype
from modelworks.testing import onnx_models as models
from modelworks.testing.importers import Bad, Good, ImporterContract

pytestmark = pytest.mark.contract


def old(path, opset, ir_version):
    """`y = x + x`, as a release of years ago wrote it."""
    node = helper.make_node("Add", ["x", "x"], ["y"])
    graph = helper.make_graph(
        [node], "g", [models.info("x", Datatype.FP32, (None, 2))],
        [models.info("y", Datatype.FP32, (None, 2))],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir_version), path)
    return path


def outside(path):
    """A model whose weights point at a file above its folder."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node], "g", [models.info("x", Datatype.FP32, (None, 2))],
        [models.info("y", Datatype.FP32, (None, 2))], [tensor],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def unknown(path):
    """A model with an operator that no engine has."""
    node = helper.make_node("Teleport", ["x"], ["y"], domain="example")
    return models.write(
        path, [node], [models.info("x", Datatype.FP32, (None, 2))],
        [models.info("y", Datatype.FP32, (None, 2))],
    )  # fmt: skip


class TestOnnx(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        from modelworks.ext.importers.onnx import OnnxImporter

        return OnnxImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("onnx")
        rows = np.arange(32, dtype=np.float32).reshape(16, 2)
        three = np.arange(30, dtype=np.float32).reshape(10, 3)
        words = np.array([[b"a", b"\xc3\xa9"]] * 4, dtype=object)
        return [
            Good(models.double(folder / "double.onnx"), "onnx", {"x": three}),
            Good(models.identity(folder / "words.onnx", Datatype.BYTES), "onnx", {"x": words}),
            Good(old(folder / "opset7.onnx", 7, 3), "onnx", {"x": rows}),
            Good(old(folder / "opset13.onnx", 13, 7), "onnx", {"x": rows}),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("bad")
        newer = old(folder / "newer.onnx", 17, 9)
        model = onnx.load(newer)
        model.opset_import[0].version = 999
        newer.write_bytes(model.SerializeToString())
        return [
            Bad(outside(folder / "outside.onnx"), "outside of the model's folder"),
            Bad(unknown(folder / "unknown.onnx"), "Teleport"),
            Bad(newer, "opset"),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("foreign")
        (folder / "tree.txt").write_text("tree\nversion=v4\n")
        (folder / "zip.pt").write_bytes(b"PK\x03\x04" + bytes(100))
        (folder / "named.onnx").write_bytes(b"\x80\x05garbage")
        return sorted(folder.iterdir())
