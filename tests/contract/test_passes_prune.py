"""Structured pruning: the contract, and graphs of which channels are taken out."""

import numpy as np
import onnx
import pytest
from onnx import helper

from modelworks.core.errors import UnsupportedError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.testing import onnx_models, pass_models
from modelworks.testing.passes import PassCase, PassContract, PassSource
from students import labelled

pytestmark = [pytest.mark.contract, pytest.mark.real]
MODULES = ("onnx", "onnxruntime", "torch", "torch_pruning")


def shared(folder):
    """Two layers of one matrix: no channel of one can go without one of the other."""
    source = pass_models.mlp(folder, widths=(64, 64))
    model = onnx.load(folder / "model.onnx")
    model.graph.node[2].input[1] = "w0"
    onnx.save(model, folder / "model.onnx")
    return source


def recurrent(folder):
    """A net with an operator that is not translated."""
    source = pass_models.mlp(folder)
    model = onnx.load(folder / "model.onnx")
    model.graph.node[1].op_type = "ThresholdedRelu"
    onnx.save(model, folder / "model.onnx")
    return source


class TestPruneChannels(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("prune")
        return PassCase(
            name="prune_channels",
            good=labelled(pass_models.cnn(folder / "good", channels=32)),
            inputs=pass_models.image_rows,
            tolerance=2.0,
            settings={"ratio": 0.3, "steps": 6, "rounds": 1, "round_to": 4},
            others={
                "ratio": {"ratio": 0.75},
                "rounds": {"rounds": 2},
                "round_to": {"round_to": 16},
                "steps": {"steps": 7},
                "rate": {"rate": 1e-4},
                "temperature": {"temperature": 1.0},
                "alpha": {"alpha": 0.1},
            },
            unfit=pass_models.mlp(folder / "one", widths=()),
            broken={
                "shared weights": shared(folder / "shared"),
                "an operator that is not translated": recurrent(folder / "recurrent"),
            },
            modules=MODULES,
        )

    def test_half_of_the_channels_go_also_around_a_shortcut(self, case, tmp_path):
        result = case.apply(tmp_path, settings={"ratio": 0.5, "round_to": 16})
        graph = onnx.load(tmp_path / "model.onnx").graph
        held = {t.name: list(t.dims) for t in graph.initializer}
        assert held["w0"] == held["w1"] == [16, 1, 3, 3]
        assert held["w2"] == [16, 16, 1, 1]
        assert held["w3"] == [16, 10]
        depth = next(node for node in graph.node if node.name == "depth")
        assert {a.name: helper.get_attribute_value(a) for a in depth.attribute}["group"] == 16
        assert result.figures["weights"] < 0.6 * result.figures["weights_before"]


def test_a_shape_in_which_a_number_of_channels_stands_is_written_anew(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    numbers = np.random.default_rng(0)
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], "conv", kernel_shape=[3, 3]),
        node("Relu", ["c"], ["r"]),
        node("Reshape", ["r", "shape"], ["f"], allowzero=1),
        node("MatMul", ["f", "m"], ["s"], "head"),
        node("Add", ["s", "a"], ["y"]),
    ]
    constants = {
        "w": numbers.normal(size=(16, 1, 3, 3)).astype("f4"),
        "b": numbers.normal(size=16).astype("f4"),
        "shape": np.array([-1, 16 * 36], np.int64),
        "m": numbers.normal(size=(16 * 36, 4)).astype("f4"),
        "a": numbers.normal(size=4).astype("f4"),
    }
    shapes = ((None, 1, 8, 8), (None, 4))
    ends = [onnx_models.info(n, Datatype.FP32, s) for n, s in zip("xy", shapes, strict=True)]
    onnx_models.write(folder / "model.onnx", nodes, ends[:1], ends[1:], constants)
    signature = Signature(
        (TensorSpec("x", Datatype.FP32, shapes[0]),), (TensorSpec("y", Datatype.FP32, shapes[1]),)
    )
    rows = tmp_path / "rows.npz"
    np.savez(rows, **pass_models.image_rows(64))
    source = PassSource(folder, "onnx", signature, rows)
    case = PassCase("prune_channels", source, None, 0, {}, None, {})
    result = case.apply(tmp_path / "into", settings={"steps": 100})
    held = {
        t.name: list(t.dims) for t in onnx.load(tmp_path / "into" / "model.onnx").graph.initializer
    }
    assert held["w"] == [8, 1, 3, 3]
    assert held["m"] == [8 * 36, 4]
    assert result.figures["cosine"] > 0.9


def test_a_net_whose_every_number_is_answered_is_refused(tmp_path):
    source = labelled(pass_models.mlp(tmp_path / "mlp", widths=(4,)))
    case = PassCase("prune_channels", source, None, 0, {}, None, {})
    with pytest.raises(UnsupportedError, match="no channel"):
        case.apply(tmp_path / "into", settings={"steps": 1, "round_to": 8})
