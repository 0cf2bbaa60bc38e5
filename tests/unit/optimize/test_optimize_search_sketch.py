"""The outline of a network by its operators, without a library; what a form is called."""

from collections import Counter
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.control.optimizing.names import names
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.optimize.sketch import Kind, kind_of, sketch
from modelworks.testing import onnx_models
from optimize_fakes import recipe


def test_the_operators_are_those_that_the_library_finds(tmp_path: Path):
    path = onnx_models.heavy(tmp_path / "model.onnx", layers=3, width=64)
    wanted = Counter(node.op_type for node in onnx.load(path).graph.node)
    found = sketch(tmp_path, "onnx")
    assert found.operators == dict(wanted)
    assert found.kind is Kind.DENSE
    assert sketch(path, "onnx") == found


def test_steps_before_the_model_are_not_the_model(tmp_path: Path):
    onnx_models.heavy(tmp_path / "steps.onnx", layers=3, width=64)
    onnx_models.double(tmp_path / "model.onnx")
    assert "MatMul" not in sketch(tmp_path, "onnx").operators


@pytest.mark.parametrize(
    ("operators", "kind"),
    [
        ({"TreeEnsembleClassifier": 1, "Cast": 2}, Kind.TREES),
        ({"Conv": 9, "Relu": 9, "Gemm": 1, "Softmax": 1}, Kind.CONV),
        ({"MatMul": 12, "Softmax": 6, "Transpose": 12}, Kind.ATTENTION),
        ({"Attention": 6, "MatMul": 6}, Kind.ATTENTION),
        ({"MatMul": 3, "Add": 3, "Relu": 2, "Softmax": 1}, Kind.DENSE),
        ({"LSTM": 2, "Gemm": 1}, Kind.RECURRENT),
        ({"Scaler": 1}, Kind.OTHER),
        ({}, Kind.OTHER),
    ],
)
def test_families(operators, kind):
    assert kind_of(operators) is kind


@given(st.binary(max_size=200))
def test_any_bytes_are_some_model_or_none(data: bytes):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.onnx").write_bytes(data)
        sketch(Path(folder), "onnx")  # whatever it is, no error leaves


def test_openvino_is_read_as_text(tmp_path: Path):
    text = '<net><layer id="0" name="x" type="Convolution"/><layer id="1" type="MatMul"/></net>'
    (tmp_path / "model.xml").write_text(text)
    assert sketch(tmp_path, "openvino-ir").kind is Kind.CONV
    assert sketch(tmp_path, "tflite").kind is Kind.OTHER
    assert sketch(tmp_path / "none", "onnx").kind is Kind.OTHER


@pytest.mark.parametrize(
    ("one", "name"),
    [
        (recipe("int8_static"), "int8-static"),
        (recipe("onnx_clean", "int8_static"), "int8-static"),
        (recipe("onnx_clean"), "onnx-clean"),
        (recipe("nncf_int8", engine="openvino"), "nncf-int8-openvino"),
        (recipe("litert", "litert_int8_dynamic", engine="litert"), "litert-int8-dynamic"),
        (recipe("distil", "int8_dynamic"), "distil-int8-dynamic"),
        (Recipe((RecipeStep("int8", {"method": "entropy"}, ("x",)),)), "int8-entropy-mixed"),
        (Recipe(run=Execution("onnxruntime", (("arena", "off"),))), "arena-off"),
        (
            Recipe(parts=(recipe("a"), recipe("b")), rows=(4, 0), run=Execution("by_rows")),
            "by-rows",
        ),
        (recipe("fastest"), "fastest-2"),
    ],
)
def test_names_are_short_and_telling(one, name):
    found = names(one)
    assert next(found) == name
    assert next(found) != name
