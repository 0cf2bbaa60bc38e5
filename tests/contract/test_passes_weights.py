"""Weights in few bits and graphs optimized beforehand: the contract of each."""

import numpy as np
import onnx
import pytest

from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.testing import onnx_models, pass_models
from modelworks.testing.passes import PassCase, PassContract, PassSource

pytestmark = pytest.mark.contract


def worded(folder):
    """Word numbers to vectors by a table and two matrices; 40 words."""
    folder.mkdir()
    node = onnx.helper.make_node
    nodes = [
        node("Gather", ["table", "word"], ["h0"], "look up"),
        node("Gemm", ["h0", "w0", "b"], ["h1"], "inner"),
        node("Relu", ["h1"], ["h2"], "bend"),
        node("MatMul", ["h2", "w1"], ["y"], "outer"),
    ]
    numbers = np.random.default_rng(0)
    constants = {
        "table": numbers.normal(size=(40, 64)).astype("f4"),
        "w0": (numbers.normal(size=(64, 64)) / 8).astype("f4"),
        "w1": (numbers.normal(size=(64, 32)) / 8).astype("f4"),
        "b": numbers.normal(size=64).astype("f4"),
    }
    ends = [
        onnx_models.info("word", Datatype.INT64, (None,)),
        onnx_models.info("y", Datatype.FP32, (None, 32)),
    ]
    onnx_models.write(folder / "model.onnx", nodes, ends[:1], ends[1:], constants)
    inputs = (TensorSpec("word", Datatype.INT64, (None,)),)
    return PassSource(
        folder, "onnx", Signature(inputs, (TensorSpec("y", Datatype.FP32, (None, 32)),))
    )


def words(rows):
    return {"word": np.random.default_rng(1).integers(0, 40, rows)}


class _WeightsContract(PassContract):
    bits = 0
    tolerance = 0.0

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp(f"weights{cls.bits}")
        return PassCase(
            name=f"weights_int{cls.bits}",
            good=worded(folder / "worded"),
            inputs=words,
            tolerance=cls.tolerance,
            alone=1e-3,
            others={
                "block": {"block": 16},
                "symmetric": {"symmetric": True},
                "accuracy": {"accuracy": 0},
                "tables": {"tables": True},
            },
            unfit=pass_models.cnn(folder / "cnn", channels=16),
            broken={},
            modules=pass_models.MODULES,
        )


class TestWeightsInt4(_WeightsContract):
    bits, tolerance = 4, 0.15


class TestWeightsInt8(_WeightsContract):
    bits, tolerance = 8, 0.02


class TestOrtOptimize(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("offline")
        alone = folder / "alone"
        alone.mkdir()
        onnx_models.double(alone / "model.onnx")
        good = pass_models.cnn(folder / "cnn")
        return PassCase(
            name="ort_optimize",
            good=good,
            inputs=pass_models.image_rows,
            tolerance=1e-5,
            others={"level": {"level": "basic"}},
            unfit=PassSource(alone, "onnx", good.signature),
            broken={},
            modules=pass_models.MODULES,
        )

    def test_the_layout_of_this_processor_is_said(self, case, tmp_path):
        result = case.apply(tmp_path, settings={"level": "all"})
        assert any("the processor it was made on" in note for note in result.notes)
        assert any("only onnxruntime runs it" in note for note in result.notes)
