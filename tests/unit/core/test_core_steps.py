"""Steps as values: what is wrong with them is said by path, and what callers send follows."""

import pytest

from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.outer import plan
from modelworks.core.patterns import longest_text, slow_pattern
from modelworks.core.stepped import Stepped, read_stepped, write_stepped
from modelworks.core.steps import InputSteps, StepsFile
from modelworks.core.steps_check import check_steps
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec

pytestmark = pytest.mark.unit


def steps(*items):
    return codec.decode(StepsFile, {"inputs": list(items)}).inputs


def matrix(width, features=(), *, datatype=Datatype.FP32, allow_nan=False):
    spec = TensorSpec("X", datatype, (None, width), allow_nan=allow_nan)
    out = TensorSpec("y", Datatype.FP32, (None, 1))
    return Signature((spec,), (out,), Layout.MATRIX, features)


def columns(**kinds):
    specs = tuple(TensorSpec(n, Datatype(k), (None, 1), allow_nan=False) for n, k in kinds.items())
    out = TensorSpec("y", Datatype.FP32, (None, 1))
    return Signature(specs, (out,), Layout.COLUMNS, tuple(kinds))


TEXT = Signature(
    tuple(
        TensorSpec(n, Datatype.INT64, (None, None), allow_nan=False)
        for n in ("input_ids", "attention_mask")
    ),
    (TensorSpec("logits", Datatype.FP32, (None, 2)),),
)


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ({"name": "", "impute": {"value": 1}}, "inputs[0].name"),
        ({"name": "a", "validate": {"min": 2, "max": 1}}, "inputs[0].validate.min"),
        ({"name": "a", "validate": {"pattern": "("}}, "inputs[0].validate.pattern"),
        ({"name": "a", "validate": {"pattern": "(a+)+"}}, "inputs[0].validate.pattern"),
        (
            {"name": "a", "validate": {"pattern": "a*b*c*", "max_length": 9999}},
            "inputs[0].validate.max_length",
        ),
        ({"name": "a", "scale": {"mean": 1}}, "inputs[0].scale.std"),
        ({"name": "a", "scale": {"mean": 1, "std": 0}}, "inputs[0].scale"),
        ({"name": "a", "scale": {"mean": 1, "std": 1, "iqr": 2}}, "inputs[0].scale.iqr"),
        ({"name": "a", "scale": {"mean": 1, "std": 1, "clip": True}}, "inputs[0].scale.clip"),
        ({"name": "a", "scale": {"kind": "minmax", "min": 1, "max": 1}}, "inputs[0].scale"),
        ({"name": "a", "one_hot": {"categories": []}}, "inputs[0].one_hot.categories"),
        ({"name": "a", "one_hot": {"categories": ["x", 1]}}, "inputs[0].one_hot.categories"),
        ({"name": "a", "one_hot": {"categories": ["x", "x"]}}, "inputs[0].one_hot.categories"),
        ({"name": "a", "one_hot": {"categories": ["x"], "drop": "y"}}, "inputs[0].one_hot.drop"),
        (
            {"name": "a", "impute": {"value": "z"}, "one_hot": {"categories": ["x"]}},
            "inputs[0].impute.value",
        ),
        ({"name": "a", "impute": {"value": float("nan")}}, "inputs[0].impute.value"),
        ({"name": "a", "tokenize": {"tokenizer": "../t.json"}}, "inputs[0].tokenize.tokenizer"),
        ({"name": "a", "tokenize": {"max_length": 0}}, "inputs[0].tokenize.max_length"),
        ({"name": "a", "tokenize": {}, "impute": {"value": "x"}}, "inputs[0].impute"),
        ({"name": "a", "decode_image": {"height": 0, "width": 1}}, "inputs[0].decode_image.height"),
        (
            {"name": "a", "decode_image": {"height": 1, "width": 1, "mean": [1]}},
            "inputs[0].decode_image.mean",
        ),
        (
            {"name": "a", "decode_image": {"height": 1, "width": 1, "resize": {}}},
            "inputs[0].decode_image.resize",
        ),
        (
            {"name": "a", "scale": {"mean": 0, "std": 1}, "one_hot": {"categories": [1]}},
            "inputs[0]",
        ),
    ],
)
def test_contradictions_are_refused_by_path(item, path):
    with pytest.raises(InvalidError) as caught:
        check_steps(steps(item))
    assert caught.value.field == path
    assert "\n" not in caught.value.message


def test_unknown_keys_come_with_a_suggestion():
    with pytest.raises(InvalidError, match="did you mean 'categories'") as caught:
        steps({"name": "a", "one_hot": {"category": ["x"]}})
    assert caught.value.field == "inputs[0].one_hot.category"


def test_steps_survive_the_codec():
    found = steps({"name": "a", "one_hot": {"categories": [1, 2], "unknown": "ignore"}})
    signature = Signature((), (), steps=found)
    assert codec.decode(Signature, codec.encode(signature)) == signature


@pytest.mark.parametrize("pattern", [r"[A-Z]{2}\d{6}", r"\w+@\w+\.\w+", r"(\d{1,3}\.){3}\d{1,3}"])
def test_usual_patterns_pass(pattern):
    assert slow_pattern(pattern) == ""
    assert longest_text(pattern) >= 60


@pytest.mark.parametrize(
    "pattern", [r"(a+)+", r"(a|ab)*", r"(a)\1", r"a*a*a*a*a*a*", r"(?>a+)*b*a*"]
)
def test_patterns_without_an_end_are_refused(pattern):
    assert slow_pattern(pattern) or longest_text(pattern) < 2000


def test_a_matrix_of_numbers_stays_one():
    planned = plan(
        matrix(2, ("age", "pay")),
        steps({"name": "pay", "impute": {"value": 3.0}}, {"name": "age"}),
    )
    assert planned.outer.layout is Layout.MATRIX
    assert planned.outer.features == ("pay", "age")
    assert planned.targets[0].order == (1, 0)
    (spec,) = planned.outer.inputs
    assert (spec.datatype, spec.allow_nan) == (Datatype.FP32, True)
    # What is not filled in must be there: said as a rule, for one tensor holds both.
    assert {s.name: s.validate and s.validate.required for s in planned.outer.steps} == {
        "pay": None,
        "age": True,
    }


def test_scaling_wants_the_precision_of_training():
    planned = plan(matrix(1, ("a",)), steps({"name": "a", "scale": {"mean": 0, "std": 2}}))
    assert planned.outer.inputs[0].datatype is Datatype.FP64


def test_categories_make_named_columns():
    planned = plan(
        matrix(3),
        steps(
            {"name": "age", "impute": {"value": 1}},
            {"name": "city", "one_hot": {"categories": ["P", "R"]}},
        ),
    )
    assert planned.outer.layout is Layout.COLUMNS
    assert [(s.name, s.datatype) for s in planned.outer.inputs] == [
        ("age", Datatype.FP32),
        ("city", Datatype.BYTES),
    ]
    assert planned.outer.inputs[1].categories == ("P", "R")


def test_columns_are_found_by_name():
    planned = plan(
        matrix(3, ("city_R", "age", "city_P")),
        steps({"name": "city", "one_hot": {"categories": ["P", "R"]}}),
    )
    assert planned.targets[0].order == (1, 2, 0)
    assert planned.outer.features == ("city", "age")


def test_named_inputs_of_the_model_are_fed_by_name():
    model = columns(age="FP32", city_P="FP32", city_R="FP32", other="INT64")
    planned = plan(model, steps({"name": "city", "one_hot": {"categories": ["P", "R"]}}))
    assert planned.outer.features == ("city", "age", "other")
    assert {t.spec.name for t in planned.targets} == {"city_P", "city_R"}


@pytest.mark.parametrize(
    ("model", "item", "says"),
    [
        (matrix(2, ("age", "pay")), {"name": "agee", "impute": {"value": 1}}, "'age'"),
        (matrix(2), {"name": "a", "impute": {"value": 1}}, "1 columns and the model takes 2"),
        (columns(age="FP32"), {"name": "agge", "impute": {"value": 1}}, "'age'"),
        (columns(age="FP32"), {"name": "age", "impute": {"value": "x"}}, "does not fit"),
        (columns(age="INT64"), {"name": "age", "scale": {"mean": 0, "std": 1}}, "does not fit"),
        (columns(age="FP32"), {"name": "age", "datatype": "FP33"}, "none of"),
        (columns(age="FP32"), {"name": "text", "tokenize": {}}, "input_ids"),
        (columns(age="FP32"), {"name": "p", "decode_image": {"height": 1, "width": 1}}, "name the"),
        (TEXT, {"name": "t", "tokenize": {"ids": "input_id"}}, "did you mean"),
        (TEXT, {"name": "t", "tokenize": {"pair": "u"}}, "'u' is no input"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(model, item, says):
    with pytest.raises(InvalidError, match=says):
        plan(model, steps(item))


def test_a_text_stands_for_the_tensors_that_are_made_of_it():
    planned = plan(TEXT, steps({"name": "text", "tokenize": {}}))
    assert [(s.name, s.datatype, s.shape) for s in planned.outer.inputs] == [
        ("text", Datatype.BYTES, (None, 1))
    ]
    assert planned.outer.steps[0].tokenize.types == ""  # the model takes none
    assert planned.apart == planned.outer.steps
    assert planned.targets == ()


def test_the_artifact_says_how_its_files_work_together(tmp_path):
    assert read_stepped(tmp_path) is None
    told = Stepped(plan(TEXT, steps({"name": "text", "tokenize": {}})).outer, TEXT)
    write_stepped(tmp_path, told)
    assert read_stepped(tmp_path) == told
    assert not told.simple
    (tmp_path / "steps.json").write_text("{")
    with pytest.raises(InvalidError, match="cannot be read"):
        read_stepped(tmp_path)


def test_an_idle_input_says_so():
    assert InputSteps("a").idle
    assert steps({"name": "a", "validate": {"required": True}})[0].idle
