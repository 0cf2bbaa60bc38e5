"""The shipped explainers against their contract."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelworks.plugins import load as plugins
from modelworks.testing.explainers import Explained, ExplainerContract

pytestmark = pytest.mark.contract

WEIGHTS = (1.5, 1.5, -2.0, 0.75, 0.0)


def linear(rows):
    return np.asarray(rows) @ np.array(WEIGHTS) + 0.5


def wide(rows):
    return np.asarray(rows)[:, :5] @ np.array(WEIGHTS) + 0.5


def save(path, node, *, initializers=()):
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    return path


class TestPermutation(ExplainerContract):
    """Five features are enumerated."""

    @pytest.fixture
    def case(self):
        return Explained(plugins.load("explainers", "permutation")(), linear, WEIGHTS)


class TestPermutationSampled(ExplainerContract):
    """More features are sampled: the model's own, and sixteen that it does not look at."""

    @pytest.fixture
    def case(self):
        weights = (*WEIGHTS[:4], *([0.0] * 17))
        return Explained(plugins.load("explainers", "permutation")(), wide, weights)


def test_columns_that_are_joined_in_another_order_are_followed(tmp_path):
    """As ColumnTransformer is converted: an input a column, joined in the pipeline's order."""
    names = ("a", "b", "c")
    nodes = [
        helper.make_node("Concat", ["c", "a", "b"], ["x"], axis=1),
        helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.0], scale=[2.0]),
        helper.make_node(
            "LinearRegressor", ["s"], ["y"], domain="ai.onnx.ml", coefficients=[1.0, 10.0, 100.0]
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 1]) for n in names],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "model.onnx")
    weights = np.array([20.0, 200.0, 2.0])
    rows, background = np.eye(3), np.zeros((2, 3))
    found = plugins.load("explainers", "linear")().explain(
        lambda table: table @ weights, rows, background, {"artifact": tmp_path, "features": names}
    )
    assert found.values == pytest.approx(np.diag(weights))


class TestLinear(ExplainerContract):
    @pytest.fixture
    def case(self, tmp_path):
        node = helper.make_node(
            "LinearRegressor",
            ["x"],
            ["y"],
            domain="ai.onnx.ml",
            coefficients=list(WEIGHTS),
            intercepts=[0.5],
            targets=1,
        )
        path = save(tmp_path / "model.onnx", node)
        return Explained(plugins.load("explainers", "linear")(), linear, WEIGHTS, path)
