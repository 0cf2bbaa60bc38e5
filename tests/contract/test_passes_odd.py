"""Graphs that libraries of quantization take for granted not to be: old, wide, read twice."""

import numpy as np
import onnx
import pytest

from modelworks.core import digest
from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.ext.formats import onnx_model
from modelworks.plugins.load import load
from modelworks.testing import onnx_models, pass_models
from modelworks.testing.pass_cases import PassSource, answers, distance

pytestmark = pytest.mark.contract
QUANTIZING = ("int8_dynamic", "weights_int4", "weights_int8")


def apply(name, source, into, **settings):
    step = load("passes", name)()
    into.mkdir()
    known = settled(step.facts, settings)
    step.apply(PassJob(source.folder, "onnx", into, source.signature, known, source.calibration))
    return into


def apart(source, into, rows):
    both = [answers("onnxruntime", f, source.signature, rows) for f in (source.folder, into)]
    return distance(*both)


def two_outputs(folder):
    """Sums that are an output, and go through ReLU and another matrix to a second one."""
    numbers, node = np.random.default_rng(0), onnx.helper.make_node
    held = onnx.numpy_helper.from_array(numbers.normal(size=(32, 64)).astype("f4"), "w")
    nodes = [
        node("Constant", [], ["w"], value=held),
        node("Gemm", ["x", "w"], ["sums"], transB=1),
        node("Relu", ["sums"], ["r"]),
        node("Gemm", ["r", "v", "b"], ["y"], alpha=0.5),
    ]
    constants = {"v": numbers.normal(size=(32, 32)), "b": numbers.normal(size=32)}
    return written(folder, nodes, Datatype.FP32, constants, ("y", "sums"))


def written(folder, nodes, datatype, constants, outputs):
    folder.mkdir()
    kind = {Datatype.FP32: "f4", Datatype.FP64: "f8"}[datatype]
    constants = {name: value.astype(kind) for name, value in constants.items()}
    ends = [onnx_models.info("x", datatype, (None, 64))]
    out = [onnx_models.info(name, datatype, (None, 32)) for name in outputs]
    onnx_models.write(folder / "model.onnx", nodes, ends, out, constants)
    rows = folder.with_name(f"{folder.name}-rows.npz")
    np.savez(rows, x=np.random.default_rng(1).normal(size=(40, 64)).astype(kind))
    signature = Signature(
        (TensorSpec("x", datatype, (None, 64)),),
        tuple(TensorSpec(name, datatype, (None, 32)) for name in outputs),
    )
    return PassSource(folder, "onnx", signature, rows)


@pytest.mark.parametrize("settings", [{}, {"method": "percentile"}, {"symmetric": True}])
def test_an_output_that_an_activation_reads_is_not_cut(tmp_path, settings):
    source = two_outputs(tmp_path / "two")
    into = apply("int8_static", source, tmp_path / "into", **settings)
    rows = {"x": np.random.default_rng(2).normal(size=(9, 64)).astype("f4")}
    assert apart(source, into, rows) < 0.06
    assert answers("onnxruntime", into, source.signature, rows)[1].min() < -5


def test_biases_with_an_axis_before_them(tmp_path):
    """As the networks of scikit-learn have them."""
    numbers = np.random.default_rng(0)
    constants = {"w": numbers.normal(size=(64, 32)), "b": numbers.normal(size=(1, 32))}
    node = onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"])
    source = written(tmp_path / "flat", [node], Datatype.FP32, constants, ("y",))
    into = apply("int8_static", source, tmp_path / "into")
    rows = {"x": np.random.default_rng(2).normal(size=(9, 64)).astype("f4")}
    assert apart(source, into, rows) < 0.06


@pytest.mark.parametrize("opset", [9, 11, 12])
def test_graphs_of_older_operator_sets(tmp_path, opset):
    source = pass_models.cnn(tmp_path / "old", 16)
    model = onnx.load(source.folder / "model.onnx")
    model.opset_import[0].version = opset
    onnx.save(model, source.folder / "model.onnx")
    into = apply("int8_static", source, tmp_path / "into")
    assert apart(source, into, pass_models.image_rows(5)) < 0.05


@pytest.mark.parametrize("name", [*QUANTIZING, "int8_static", "fp16", "mixed_precision"])
def test_a_graph_of_doubles_is_not_for_them(tmp_path, name):
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], "only")]
    constants = {"w": np.random.default_rng(0).normal(size=(64, 32))}
    source = written(tmp_path / "doubles", nodes, Datatype.FP64, constants, ("y",))
    settings = {"size": True} if name in {"fp16", "mixed_precision"} else {}
    with pytest.raises(UnsupportedError, match="float"):
        apply(name, source, tmp_path / "into", **settings)
    assert not list((tmp_path / "into").iterdir())


def test_rows_of_another_type_are_named(tmp_path):
    source = pass_models.mlp(tmp_path / "mlp")
    np.savez(source.calibration, x=np.zeros((3, pass_models.PIXELS)))
    with pytest.raises(InvalidError, match="'x' are float64; the model takes float32") as caught:
        apply("int8_static", source, tmp_path / "into")
    assert caught.value.field == "calibration"


@pytest.mark.parametrize("name", ["onnx_clean", "int8_static", *QUANTIZING])
def test_weights_in_a_file_of_their_own_come_along(tmp_path, name):
    source = pass_models.mlp(tmp_path / "mlp")
    model = onnx.load(source.folder / "model.onnx")
    kept = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(model, source.folder / "model.onnx", **kept)
    into = apply(name, source, tmp_path / "into")
    assert [path.name for path in into.iterdir()] == ["model.onnx"]
    assert apart(source, into, pass_models.matrix_rows(5)) < 0.15


def test_what_is_too_large_for_one_message_gets_a_file_of_weights(tmp_path, monkeypatch):
    source = pass_models.mlp(tmp_path / "mlp", widths=(128, 128))
    monkeypatch.setattr(onnx_model, "LARGE", 1000)
    into = apply("weights_int8", source, tmp_path / "into")
    again = apply("weights_int8", source, tmp_path / "again")
    assert sorted(path.name for path in into.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert digest.tree(into) == digest.tree(again)
    assert apart(source, into, pass_models.matrix_rows(5)) < 0.02
    last = apply("onnx_clean", PassSource(into, "onnx", source.signature), tmp_path / "last")
    assert apart(source, last, pass_models.matrix_rows(5)) < 0.02
