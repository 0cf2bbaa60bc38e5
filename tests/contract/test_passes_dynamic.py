"""Dynamic int8: the contract on dense layers, and a graph that shares a matrix."""

import numpy as np
import pytest
from onnx import helper

from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.testing import onnx_models, pass_models
from modelworks.testing.pass_cases import answers, distance
from modelworks.testing.passes import PassCase, PassContract, PassSource

pytestmark = pytest.mark.contract


def tied(folder):
    """Words looked up in a table that the last layer reads too, turned round: 50 words, 32 wide."""
    folder.mkdir()
    numbers = np.random.default_rng(0)
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "word"], ["h0"], "look up"),
        node("Gemm", ["h0", "w", "b"], ["h1"], "inner"),
        node("Relu", ["h1"], ["h2"], "bend"),
        node("Gemm", ["h2", "table"], ["y"], "outer", transB=1),
    ]
    constants = {
        "table": numbers.normal(size=(50, 32)).astype("f4"),
        "w": (numbers.normal(size=(32, 32)) / 6).astype("f4"),
        "b": numbers.normal(size=32).astype("f4"),
    }
    ends = [
        onnx_models.info("word", Datatype.INT64, (None,)),
        onnx_models.info("y", Datatype.FP32, (None, 50)),
    ]
    onnx_models.write(folder / "model.onnx", nodes, ends[:1], ends[1:], constants)
    signature = Signature(
        (TensorSpec("word", Datatype.INT64, (None,)),),
        (TensorSpec("y", Datatype.FP32, (None, 50)),),
    )
    return PassSource(folder, "onnx", signature)


def words(rows):
    return {"word": np.random.default_rng(1).integers(0, 50, rows)}


class TestInt8Dynamic(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("dynamic")
        return PassCase(
            name="int8_dynamic",
            good=tied(folder / "tied"),
            inputs=words,
            tolerance=0.05,
            alone=0.05,  # the scale of activations is that of the whole batch
            others={
                "per_channel": {"per_channel": False},
                "tables": {"tables": False},
                "unsigned": {"unsigned": True},
                "reduce": {"reduce": True},
            },
            unfit=pass_models.cnn(folder / "cnn", channels=16),
            broken={},
            modules=pass_models.MODULES,
        )

    def test_a_shared_matrix_stays_right_for_who_keeps_it(self, case, tmp_path, applied):
        names = applied[1].operators
        assert set(names) == {"look up", "inner", "outer"}
        case.apply(tmp_path, keep=("look up", "inner"))
        inputs, signature = words(9), case.good.signature
        wanted = answers("onnxruntime", case.good.folder, signature, inputs)
        got = answers("onnxruntime", tmp_path, signature, inputs)
        assert 0 < distance(wanted, got) < 0.02
