"""Magnitude pruning: the contract, and that it says what it is: size, and nothing else."""

import zlib

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.plugins.load import load
from modelworks.testing import onnx_models, pass_models
from modelworks.testing.passes import PassCase, PassContract, PassSource

pytestmark = pytest.mark.contract


def weightless(folder):
    folder.mkdir()
    onnx_models.double(folder / "model.onnx")
    shape = (None, 3)
    signature = Signature(
        (TensorSpec("x", Datatype.FP32, shape),), (TensorSpec("y", Datatype.FP32, shape),)
    )
    return PassSource(folder, "onnx", signature)


def weights(folder):
    graph = onnx.load(folder / "model.onnx").graph
    return {t.name: numpy_helper.to_array(t) for t in graph.initializer if t.name.startswith("w")}


class TestMagnitude(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("magnitude")
        return PassCase(
            name="magnitude",
            good=pass_models.cnn(folder / "good"),
            inputs=pass_models.image_rows,
            tolerance=0.8,
            settings={"sparsity": 0.2},
            others={"sparsity": {"sparsity": 0.8}, "scope": {"scope": "layer"}},
            unfit=weightless(folder / "weightless"),
            broken={},
        )

    def test_the_smallest_go_and_the_file_packs_better(self, case, tmp_path):
        result = case.apply(tmp_path, settings={"sparsity": 0.5})
        before, after = weights(case.good.folder), weights(tmp_path)
        gone = np.concatenate([(before[n][after[n] == 0]).ravel() for n in before])
        left = np.concatenate([(before[n][after[n] != 0]).ravel() for n in before])
        assert np.abs(gone).max() < np.abs(left).min()
        assert gone.size / (gone.size + left.size) == pytest.approx(0.5, abs=0.01)
        assert result.figures["sparsity"] == pytest.approx(0.5, abs=0.01)
        packed = len(zlib.compress((tmp_path / "model.onnx").read_bytes(), 6))
        assert packed == pytest.approx(result.figures["compressed"], rel=0.05)
        assert result.figures["compressed"] < 0.8 * result.figures["compressed_before"]

    def test_one_threshold_a_layer_takes_as_much_of_each(self, case, tmp_path):
        case.apply(tmp_path, settings={"scope": "layer", "sparsity": 0.25})
        for name, value in weights(tmp_path).items():
            assert (value == 0).mean() == pytest.approx(0.25, abs=0.02), name

    def test_it_says_that_nothing_is_faster(self, applied):
        assert load("passes", "magnitude").facts.size_only
        assert any("no call is faster" in note for note in applied[1].notes)
