"""Planted divergences, through ONNX Runtime: the place is found, and the cause is guessed."""

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from diverging_graphs import branches, cnn, operator, rows, spoilt, weight, written
from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.optimize.diverging.child import follow, opened
from modelworks.optimize.diverging.following import parting
from modelworks.optimize.diverging.looking import Given, Looking, Side
from modelworks.optimize.forms import Rows
from modelworks.plugins.load import load

pytestmark = pytest.mark.contract


def quiet(_):
    """Nobody listens."""


def followed(first, second, given=None, **asked):
    inputs = given or rows(first)
    size = first.signature.inputs[0].shape[0] or 0
    views = [opened(one, 1) for one in (first, second)]
    sides = [Side(view, served=True) for view in views]
    return follow(Looking(Given(inputs, size), quiet), sides, asked.pop("tolerance", 0.0), **asked)


def quantized(source, into, count=64):
    """By the pass `int8_static`."""
    file = into.parent / "calibration.npz"
    np.savez(file, **rows(source, count, seed=9))
    step = load("passes", "int8_static")()
    into.mkdir()
    job = PassJob(
        source.folder, "onnx", into, source.signature, settled(step.facts, {}), calibration=file
    )
    step.apply(job)
    return type(source)(source.recipe, into, "onnx", source.signature)


def test_a_weight_that_was_changed_in_the_middle(tmp_path):
    source = cnn(tmp_path / "a")
    change = weight("layer2.weight", lambda w: w + np.eye(8)[:, :, None, None].astype("f4"))
    found = followed(source, spoilt(source, tmp_path / "b", change))
    first = found.first
    assert (found.agree, first.operator, first.kind) == (False, "/layer2/Conv", "Conv")
    assert (first.stage, first.value) == ("stored", "layer2.weight")
    assert "the weights differ" in first.why
    assert found.summary.startswith("parts first at /layer2/Conv")
    assert not found.others


def test_an_operator_that_became_another(tmp_path):
    source = cnn(tmp_path / "a")
    found = followed(
        source, spoilt(source, tmp_path / "b", operator("/layer3/Relu", "LeakyRelu", alpha=0.3))
    )
    assert (found.first.value, found.first.operator) == ("r3", "/layer3/Relu")
    assert max(one.apart for one in found.first.inputs) < 1e-5
    assert found.first.rows
    assert found.first.other == "/layer3/Relu (LeakyRelu)"


def test_the_same_graph_agrees(tmp_path):
    source = cnn(tmp_path / "a")
    found = followed(source, spoilt(source, tmp_path / "b", lambda model: None))
    assert found.agree
    assert found.summary.startswith("they agree")
    assert (found.rows, found.looked, found.first) == (32, 0, None)


def test_passes_that_only_round_agree(tmp_path):
    source = cnn(tmp_path / "a")
    for name, settings in (("onnx_clean", {}), ("ort_optimize", {"level": "all"})):
        into = tmp_path / name
        into.mkdir()
        step = load("passes", name)()
        step.apply(
            PassJob(source.folder, "onnx", into, source.signature, settled(step.facts, settings))
        )
        assert followed(source, type(source)(source.recipe, into, "onnx", source.signature)).agree
    assert followed(source, quantized(source, tmp_path / "q")).agree


def test_a_number_beyond_float16(tmp_path):
    numbers = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], "first"),
        helper.make_node("Mul", ["h", "large"], ["big"], "scale"),
        helper.make_node("Mul", ["big", "small"], ["y"], "back"),
    ]
    constants = {
        "a": numbers.normal(size=(6, 6)).astype("f4"),
        "large": np.float32(50_000),
        "small": np.float32(1e-4),
    }
    source = written(tmp_path / "a", nodes, constants, (6,), (6,))

    def halves(model):
        model.CopyFrom(convert_float_to_float16(model, keep_io_types=True))

    form = spoilt(source, tmp_path / "b", halves)
    found = followed(source, form)
    assert found.first.operator == "scale"
    assert found.first.why.startswith("beyond float16: it reaches")
    assert "65504" in found.first.why


def test_a_range_that_cuts_values_off(tmp_path):
    source = cnn(tmp_path / "a")
    good = quantized(source, tmp_path / "q")
    model = onnx.load(good.folder / "model.onnx")
    node = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "r2")
    bad = spoilt(good, tmp_path / "b", weight(node.input[1], lambda scale: scale / 20))
    found = followed(source, bad)
    assert (found.first.value, found.first.stage) == ("r2", "rounded")
    assert found.first.why.startswith("cut off: it is rounded within 0 to ")
    assert found.first.second_range[1] < found.first.first_range[1] / 10
    assert max(one.apart for one in found.first.inputs) < 0.1


def test_steps_that_are_too_coarse(tmp_path):
    source = cnn(tmp_path / "a")
    good = quantized(source, tmp_path / "q")
    model = onnx.load(good.folder / "model.onnx")
    node = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "r1")
    bad = spoilt(good, tmp_path / "b", weight(node.input[1], lambda scale: scale * 100))
    found = followed(source, bad, blame=True)
    assert (found.first.value, found.first.stage) == ("r1", "rounded")
    assert found.first.why.startswith("too coarse: steps of ")
    none = spoilt(good, tmp_path / "c", weight(node.input[1], lambda scale: scale * 1e6))
    assert "too coarse: every value becomes 0, and they" in followed(source, none).first.why


def test_nan_that_one_operator_makes(tmp_path):
    source = branches(tmp_path / "a")
    found = followed(source, spoilt(source, tmp_path / "b", operator("right/Sigmoid", "Sqrt")))
    assert found.first.operator == "right/Sigmoid"
    assert "the root of a number below zero" in found.first.why
    assert found.first.apart == pytest.approx(1e9)
    assert "endlessly" in found.summary


def test_of_two_branches_the_one_that_differs(tmp_path):
    source = branches(tmp_path / "a")
    right = operator("right/Sigmoid", "Softsign")
    found = followed(source, spoilt(source, tmp_path / "b", right))
    assert (found.first.operator, found.others) == ("right/Sigmoid", ())

    def both(model):
        right(model)
        weight("wl", lambda w: w * 1.5)(model)

    found = followed(source, spoilt(source, tmp_path / "c", both))
    assert found.first.operator == "left/MatMul"
    assert [one.operator for one in found.others] == ["right/Sigmoid"]


def test_what_the_engine_makes_of_a_graph_is_found_too(tmp_path):
    """ONNX Runtime joins two roundings into one: values that only the joined form has."""
    source = written(tmp_path / "a", _twice(), _STEPS, (6,), (6,))
    view = opened(source, 1)
    sides = [Side(view, served=False), Side(view, served=True)]
    found = follow(Looking(Given(rows(source), 0), quiet), sides, 0.001)
    assert (found.agree, found.first.operator) == (False, "back1")
    assert "the engine's own optimization makes it" in found.summary


def test_rows_in_calls_of_one_size(tmp_path):
    source = branches(tmp_path / "a")

    def four(model):
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].Clear()
            value.type.tensor_type.shape.dim[0].dim_value = 4

    specs = [
        type(s)(s.name, s.datatype, (4, 6))
        for s in (*source.signature.inputs, *source.signature.outputs)
    ]
    signature = type(source.signature)((specs[0],), (specs[1],))
    first = spoilt(source, tmp_path / "b", four)
    first = type(first)(first.recipe, first.folder, "onnx", signature)
    second = spoilt(first, tmp_path / "c", operator("join/Add", "Sub"))
    second = type(first)(first.recipe, second.folder, "onnx", signature)
    given = rows(source, 14)
    found = followed(first, second, given)
    assert (found.rows, found.looked, found.first.operator) == (12, 12, "join/Add")


def test_formats_that_nobody_can_look_into(tmp_path):
    source = branches(tmp_path / "a")
    other = type(source)(source.recipe, source.folder, "trees", source.signature)
    with pytest.raises(UnsupportedError, match="format trees cannot be looked at"):
        opened(other, 1)


_STEPS = {
    "coarse": np.float32(0.5), "fine": np.float32(0.02), "zero": np.int8(0),
}  # fmt: skip


def _twice():
    """Rounded to halves, then to fiftieths."""
    nodes = []
    for place, (value, scale, made) in enumerate((("x", "coarse", "a"), ("a", "fine", "y"))):
        nodes += [
            helper.make_node(
                "QuantizeLinear", [value, scale, "zero"], [f"q{place}"], f"round{place}"
            ),
            helper.make_node(
                "DequantizeLinear", [f"q{place}", scale, "zero"], [made], f"back{place}"
            ),
        ]
    return nodes


def test_it_ends_in_time_and_says_what_to_do(tmp_path):
    source = branches(tmp_path / "a")
    np.savez(tmp_path / "rows.npz", **rows(source))
    given = Rows(tmp_path / "rows.npz", 32)
    with pytest.raises(RefusedError, match=r"took longer than 0\.05 s: give fewer rows"):
        parting(source, source, given, tmp_path, seconds=0.05)
    with pytest.raises(InvalidError, match="tolerance: nan"):
        parting(source, source, given, tmp_path, tolerance=float("nan"))


def test_weights_in_a_file_of_their_own(tmp_path):
    source = branches(tmp_path / "a")
    other = spoilt(source, tmp_path / "b", weight("wr", lambda w: w * 2))
    for one in (source, other):
        file = one.folder / "model.onnx"
        model = onnx.load(file)
        file.unlink()
        onnx.save(
            model, file, save_as_external_data=True, location="model.onnx.data", size_threshold=0
        )
        assert (one.folder / "model.onnx.data").stat().st_size > 300
    found = followed(source, other)
    assert (found.first.operator, found.first.value) == ("right/MatMul", "wr")
    assert followed(source, source).agree
