"""Graphs made ready for the quantizer: means over pictures become poolings, others stay."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from modelworks.ext.passes.onnx_prepare import means_as_pools

pytestmark = pytest.mark.unit


def model(opset, axes, keepdims, rank=4):
    """Relu, then a mean over `axes`."""
    shape = ["n", 3, 5, 6][:rank]
    held, given = [], ["r"]
    said = {"keepdims": keepdims}
    if opset < 18:
        said["axes"] = axes
    else:
        held, given = [numpy_helper.from_array(np.array(axes), "axes")], ["r", "axes"]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("ReduceMean", given, ["y"], "mean", **said),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info("y", 1, None)],
        held,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def answers(made, rows):
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": rows})[0]


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2]])
def test_a_mean_over_a_whole_picture_is_a_pooling(opset, keepdims, axes):
    rows = np.random.default_rng(0).standard_normal((2, 3, 5, 6)).astype(np.float32)
    made = model(opset, axes, keepdims)
    before = answers(made, rows)
    means_as_pools(made)
    kinds = [node.op_type for node in made.graph.node]
    assert kinds == ["Relu", "GlobalAveragePool", *([] if keepdims else ["Flatten"])]
    after = answers(made, rows)
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("axes", "rank"), [([1, 2], 4), ([2], 4), ([1, 2], 3), ([0, 2, 3], 4)])
def test_other_means_stay(axes, rank):
    made = model(13, axes, 1, rank)
    means_as_pools(made)
    assert [node.op_type for node in made.graph.node] == ["Relu", "ReduceMean"]
