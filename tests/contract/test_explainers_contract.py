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
