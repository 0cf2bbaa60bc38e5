"""Graph clean-up: the contract, and what is found in graphs that exporters left untidy."""

import numpy as np
import onnx
import pytest
from onnx import helper

from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.testing import onnx_models, pass_models
from modelworks.testing.passes import PassCase, PassContract, PassSource

pytestmark = pytest.mark.contract


def untidy(folder):
    """A convolution with its normalisation, nodes that do nothing, and sums of constants."""
    folder.mkdir()
    node = helper.make_node
    nodes = [
        node("Identity", ["x"], ["same"]),
        node("Conv", ["same", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"]),
        node("Add", ["one", "two"], ["three"]),
        node("Mul", ["n", "three"], ["m"]),
        node("GlobalAveragePool", ["m"], ["p"]),
        node("Flatten", ["p"], ["y"]),
    ]
    numbers = np.random.default_rng(0)
    constants = {
        "w": numbers.normal(size=(4, 1, 3, 3)).astype("f4"),
        **{name: numbers.uniform(0.5, 1, 4).astype("f4") for name in ("scale", "mean", "var")},
        "bias": numbers.normal(size=4).astype("f4"),
        "one": np.float32(1),
        "two": np.float32(2),
    }
    shapes = ((None, 1, 8, 8), (1, 4))  # the output's first axis is wrong
    ends = [onnx_models.info(n, Datatype.FP32, s) for n, s in zip("xy", shapes, strict=True)]
    onnx_models.write(folder / "model.onnx", nodes, ends[:1], ends[1:], constants)
    signature = Signature(
        (TensorSpec("x", Datatype.FP32, shapes[0]),), (TensorSpec("y", Datatype.FP32, (None, 4)),)
    )
    return PassSource(folder, "onnx", signature)


class TestOnnxClean(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        good = untidy(tmp_path_factory.mktemp("clean") / "untidy")
        return PassCase(
            name="onnx_clean",
            good=good,
            inputs=pass_models.image_rows,
            tolerance=1e-5,
            others={"fuse": {"fuse": False}},
            unfit=None,
            broken={},
            modules=pass_models.MODULES,
        )

    def test_less_is_left_and_the_shape_is_right(self, case, applied):
        into, result = applied
        graph = onnx.load(into / "model.onnx").graph
        assert [node.op_type for node in graph.node].count("BatchNormalization") == 0
        assert result.figures["nodes"] == len(graph.node) < result.figures["nodes_before"] == 7
        assert graph.output[0].type.tensor_type.shape.dim[0].dim_value == 0
        assert any("y" in note and "repaired" in note for note in result.notes)
