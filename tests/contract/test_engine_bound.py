"""Calls on tensors that stay give what a plain session gives, whatever comes in which order."""

import gc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelworks.core.errors import ModelworksError
from modelworks.core.seams import EngineOptions, Reusable
from modelworks.ext.engines.bound import ReusingSession
from modelworks.ext.engines.onnxruntime import OnnxRuntimeEngine
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.contract


def load(path):
    return OnnxRuntimeEngine().load(path, EngineOptions())


def model_of(path, nodes, inputs, outputs):
    def info(given):
        return [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in given]

    graph = helper.make_graph(nodes, "g", info(inputs), info(outputs))
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


@pytest.fixture
def both(tmp_path):
    """x -> (2x, sum over the row as int64): outputs of two datatypes, one without a second axis."""
    path = model_of(
        tmp_path / "m.onnx",
        [
            helper.make_node("Constant", [], ["one"], value_ints=[1]),
            helper.make_node("Add", ["x", "x"], ["double"]),
            helper.make_node("ReduceSum", ["x", "one"], ["sum"], keepdims=0),
            helper.make_node("Cast", ["sum"], ["total"], to=TensorProto.INT64),
        ],
        [("x", TensorProto.FLOAT, [None, 3])],
        [("double", TensorProto.FLOAT, [None, 3]), ("total", TensorProto.INT64, [None])],
    )
    return load(path)


def test_any_order_of_batch_sizes(both):
    session = both.reusing()
    assert isinstance(both, Reusable)
    assert isinstance(session, ReusingSession)
    chance = np.random.default_rng(0)
    for _ in range(2000):
        rows = int(chance.integers(1, 40))
        x = chance.integers(-99, 99, (rows, 3)).astype(np.float32)
        double, total = session.infer({"x": x})
        np.testing.assert_array_equal(double, 2 * x)
        np.testing.assert_array_equal(total, x.sum(1).astype(np.int64))
        assert double.dtype == np.float32
    assert session._bound.keys() == set(range(1, 33))


def test_it_keeps_and_gives_no_array_of_the_callers(both):
    session = both.reusing()
    given = [np.full((2, 3), i, np.float32) for i in range(20)]
    for i, x in enumerate(given):
        found = session.infer({"x": x})
        np.testing.assert_array_equal(x, np.full((2, 3), i))
        assert not np.shares_memory(found[0], x)


def test_inputs_that_do_not_lie_in_order(both):
    session = both.reusing()
    for i in range(30):
        x = np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2] + i
        np.testing.assert_array_equal(session.infer({"x": x})[0], 2 * x)


def test_outputs_that_depend_on_the_values(tmp_path):
    """As many rows as inputs by chance only: the tensors that were kept do not fit, and go."""
    path = model_of(
        tmp_path / "m.onnx",
        [
            helper.make_node("NonZero", ["x"], ["where"]),
            helper.make_node("Transpose", ["where"], ["places"], perm=[1, 0]),
        ],
        [("x", TensorProto.FLOAT, [None])],
        [("places", TensorProto.INT64, [None, 1])],
    )
    session = load(path).reusing()
    full, thin = np.ones(4, np.float32), np.array([1, 0, 1, 0], np.float32)
    for _ in range(20):
        np.testing.assert_array_equal(session.infer({"x": full})[0].ravel(), [0, 1, 2, 3])
    for _ in range(3):
        np.testing.assert_array_equal(session.infer({"x": thin})[0].ravel(), [0, 2])
        np.testing.assert_array_equal(session.infer({"x": full})[0].ravel(), [0, 1, 2, 3])


def test_what_is_wrong_is_said_as_by_the_session(both):
    for wrong in (
        np.ones((2, 4), np.float32),
        np.ones((2, 1), np.float32),
        np.ones((2, 3), np.float64),
        np.array([["a", "b", "c"]] * 2, object),
    ):
        session = both.reusing()
        for _ in range(20):
            session.infer({"x": np.ones((2, 3), np.float32)})
        with pytest.raises(ModelworksError) as told:
            session.infer({"x": wrong})
        with pytest.raises(ModelworksError) as plain:
            both.infer({"x": wrong})
        assert type(told.value) is type(plain.value)
        good = session.infer({"x": np.ones((2, 3), np.float32)})
        np.testing.assert_array_equal(good[0], np.full((2, 3), 2))


def test_models_without_fixed_rows_have_no_such_way(tmp_path):
    for shape in ((2, 3), (None, None)):
        session = load(models.identity(tmp_path / "a.onnx", shape=shape))
        assert session.reusing() is session


def test_close_ends_both(both):
    session = both.reusing()
    for _ in range(20):
        session.infer({"x": np.ones((2, 3), np.float32)})
    session.close()
    gc.collect()
    for one in (session, both):
        with pytest.raises(ModelworksError, match="unloaded"):
            one.infer({"x": np.ones((2, 3), np.float32)})
