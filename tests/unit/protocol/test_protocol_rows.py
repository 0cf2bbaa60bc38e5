"""Plain rows in, readable predictions out."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import CrashedError, InvalidError, ModelworksError
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.protocol.predictions import encode_predictions, predictions
from modelworks.protocol.rows import decode_rows
from properties import examples

pytestmark = pytest.mark.unit

LABEL = TensorSpec("label", Datatype.INT64, (None,), Role.LABEL)
PROBS = TensorSpec("probabilities", Datatype.FP32, (None, 2), Role.PROBABILITIES)
SCORE = TensorSpec("y", Datatype.FP32, (None, 1), Role.SCORE)
MATRIX = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 2), allow_nan=False),),
    (LABEL, PROBS),
    Layout.MATRIX,
    ("age", "bmi"),
    ("malignant", "benign"),
)
GAPS = Signature((TensorSpec("x", Datatype.FP64, (None, 2)),), (SCORE,), Layout.MATRIX)
COLUMNS = Signature(
    (
        TensorSpec("age", Datatype.INT64, (None, 1), allow_nan=False),
        TensorSpec("income", Datatype.FP32, (None, 1)),
        TensorSpec("city", Datatype.BYTES, (None, 1), categories=("Ulm", "Bonn")),
        TensorSpec("member", Datatype.BOOL, (None, 1)),
    ),
    (SCORE,),
    Layout.COLUMNS,
    ("age", "income", "city", "member"),
)
TENSORS = Signature(
    (
        TensorSpec("image", Datatype.FP32, (None, 2, None)),
        TensorSpec("scale", Datatype.FP32, (None,)),
    ),
    (SCORE,),
    Layout.TENSORS,
)
IMAGE = Signature((TensorSpec("image", Datatype.UINT8, (None, 2, 2)),), (SCORE,), Layout.TENSORS)


def decode(data, signature, **more):
    return decode_rows(json.dumps(data).encode(), signature, **more)


@pytest.mark.parametrize(
    "data",
    [
        {"rows": [{"age": 41, "bmi": 2.5}]},
        {"rows": [{"bmi": 2.5, "age": 41}]},
        {"rows": [[41, 2.5]]},
        [{"age": 41, "bmi": 2.5}],
        [[41, 2.5]],
        {"age": 41, "bmi": 2.5},
        [41, 2.5],
    ],
)
def test_one_row_of_a_matrix(data):
    rows = decode(data, MATRIX)
    assert rows.rows == 1
    assert rows.inputs["x"].dtype == np.float32
    assert rows.inputs["x"].tolist() == [[41, 2.5]]
    assert rows.warnings == ()


def test_dicts_and_lists_may_be_mixed():
    assert decode({"rows": [[1, 2], {"bmi": 4, "age": 3}]}, MATRIX).inputs["x"].tolist() == [
        [1, 2],
        [3, 4],
    ]


def test_a_model_without_names_takes_lists():
    assert np.isnan(decode({"rows": [[1, None], [3, 4]]}, GAPS).inputs["x"][0, 1])
    with pytest.raises(InvalidError, match="knows no feature names"):
        decode({"rows": [{"age": 1, "bmi": 2}]}, GAPS)


def test_columns():
    rows = decode(
        [
            {"age": 41, "income": None, "city": "Ulm", "member": True},
            [7.0, 1.5, "Bonn", False],
        ],
        COLUMNS,
    )
    assert rows.rows == 2
    assert list(rows.inputs) == ["age", "income", "city", "member"]
    assert rows.inputs["age"].tolist() == [[41], [7]]
    assert rows.inputs["age"].dtype == np.int64
    assert np.isnan(rows.inputs["income"][0, 0])
    assert rows.inputs["city"].tolist() == [[b"Ulm"], [b"Bonn"]]
    assert rows.inputs["member"].tolist() == [[True], [False]]


def test_an_unknown_category_is_a_warning():
    rows = decode([[1, 2, "Ullm", True], [1, 2, "Tokyo", True]], COLUMNS)
    assert rows.warnings == (
        "rows[0].city: the model never saw 'Ullm': did you mean 'Ulm'?",
        "rows[1].city: the model never saw 'Tokyo'",
    )


def test_warnings_are_bounded():
    rows = decode([[1, 2, f"town {i}", True] for i in range(100)], COLUMNS)
    assert len(rows.warnings) == 21
    assert "not listed" in rows.warnings[-1]


def test_tensors():
    rows = decode(
        {
            "rows": [
                {"image": [[1, 2, 3], [4, 5, 6]], "scale": 2},
                {"image": [[0, 0, 0], [0, 0, 0]], "scale": 1},
            ]
        },
        TENSORS,
    )
    assert rows.inputs["image"].shape == (2, 2, 3)
    assert rows.inputs["scale"].tolist() == [2, 1]


@pytest.mark.parametrize(
    "data",
    [
        {"image": [[1, 2], [3, 4]]},
        {"rows": [[[1, 2], [3, 4]]]},
        [[[1, 2], [3, 4]]],
        [{"image": [[1, 2], [3, 4]]}],
    ],
)
def test_the_only_tensor_needs_no_name(data):
    rows = decode(data, IMAGE)
    assert rows.inputs["image"].dtype == np.uint8
    assert rows.inputs["image"].tolist() == [[[1, 2], [3, 4]]]


ROW = {"age": 1, "income": 2, "city": "Ulm", "member": True}
WRONG = {
    "no JSON": (MATRIX, b"{", "body", "no JSON"),
    "a number": (MATRIX, 3, "rows", "rows"),
    "null": (MATRIX, None, "rows", "rows"),
    "no rows": (MATRIX, {"rows": []}, "rows", "no rows"),
    "an empty list": (MATRIX, [], "rows", "no rows"),
    "rows is an object": (MATRIX, {"rows": {}}, "rows", "list"),
    "another key": (MATRIX, {"rows": [[1, 2]], "row": 1}, "row", "unknown"),
    "a row is a number": (MATRIX, {"rows": [[1, 2], 3]}, "rows[1]", "object or a list"),
    "too few": (MATRIX, [[1, 2], [3]], "rows[1]", "1 values, 2 are wanted"),
    "too many": (MATRIX, [[1, 2, 3]], "rows[0]", "3 values"),
    "missing": (MATRIX, [{"age": 1}], "rows[0].bmi", "'bmi' is missing"),
    "misspelt": (MATRIX, [{"age": 1, "bmj": 2}], "rows[0].bmi", "'bmj'"),
    "surplus": (MATRIX, [{"age": 1, "bmi": 2, "bmx": 2}], "rows[0].bmx", "did you mean 'bmi'"),
    "a string": (MATRIX, [[1, 2], [3, "4"]], "rows[1].bmi", "'4' is no FP32"),
    "a boolean": (MATRIX, [{"age": True, "bmi": 1}], "rows[0].age", "write 1 or 0"),
    "null where refused": (MATRIX, [[1, 2], [None, 4]], "rows[1].age", "null is not accepted"),
    "a list as a value": (MATRIX, [{"age": [1], "bmi": 2}], "rows[0].age", "no FP32"),
    "too large": (MATRIX, [[1, 1e300]], "rows[0].bmi", "no FP32"),
    "without names": (GAPS, [[1, 2], [3, "x"]], "rows[1][1]", "'x'"),
    "column missing": (COLUMNS, [{**ROW, "city": "Ulm"}, {}], "rows[1].age", "missing"),
    "number as a string": (COLUMNS, [{**ROW, "city": 7}], "rows[0].city", "7 is no BYTES"),
    "fraction as an integer": (COLUMNS, [{**ROW, "age": 1.5}], "rows[0].age", "1.5 is no INT64"),
    "string as an integer": (COLUMNS, [ROW, {**ROW, "age": "1"}], "rows[1].age", "'1' is no"),
    "null integer": (COLUMNS, [{**ROW, "age": None}], "rows[0].age", "null"),
    "integer too large": (COLUMNS, [{**ROW, "age": 1e30}], "rows[0].age", "INT64"),
    "number as a boolean": (COLUMNS, [{**ROW, "member": 1}], "rows[0].member", "1 is no BOOL"),
    "list as a column": (COLUMNS, [{**ROW, "income": [1]}], "rows[0].income", "no FP32"),
    "rank": (TENSORS, [{"image": [1], "scale": 1}], "rows[0].image", "[2,-1] is wanted"),
    "width": (TENSORS, [{"image": [[1], [2], [3]], "scale": 1}], "rows[0].image", "[2,-1]"),
    "ragged": (TENSORS, [{"image": [[1, 2], [3]], "scale": 1}], "rows[0].image", "nested"),
    "scalar wanted": (TENSORS, [{"image": [[1], [2]], "scale": [1]}], "rows[0].scale", "[] is"),
    "other shape": (
        TENSORS,
        [{"image": [[1], [2]], "scale": 1}, {"image": [[1, 2], [3, 4]], "scale": 1}],
        "rows[1].image",
        "differs",
    ),
    "tensor missing": (TENSORS, [{"image": [[1], [2]]}], "rows[0].scale", "missing"),
    "pixel too large": (IMAGE, [{"image": [[1, 2], [3, 256]]}], "rows[0].image", "256"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name):
    signature, data, field, message = WRONG[name]
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    with pytest.raises(InvalidError) as caught:
        decode_rows(body, signature)
    assert caught.value.field == field
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_rows_are_bounded():
    decode([[1, 2]] * 5, MATRIX, max_rows=5)
    with pytest.raises(InvalidError, match="6 rows: at most 5"):
        decode([[1, 2]] * 6, MATRIX, max_rows=5)


def test_a_feature_may_be_called_rows():
    spec = TensorSpec("rows", Datatype.FP32, (None, 1))
    signature = Signature((spec,), (SCORE,), Layout.COLUMNS, ("rows",))
    assert decode({"rows": 3}, signature).inputs["rows"].tolist() == [[3]]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["rows", "age", "bmi", "income", "city", "member", "image", "scale"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@examples(120)
@given(data=JSON, signature=st.sampled_from([MATRIX, GAPS, COLUMNS, TENSORS, IMAGE]))
def test_any_json(data, signature):
    try:
        rows = decode(data, signature)
    except ModelworksError as error:
        assert error.field
        assert "\n" not in error.message
    else:
        assert {len(array) for array in rows.inputs.values()} == {rows.rows}


# -- predictions


def told(signature, outputs, warnings=()):
    return json.loads(encode_predictions("m", "1.0.0", signature, outputs, warnings))


def test_a_classifier():
    answer = told(
        MATRIX,
        [np.array([0, 1]), np.array([[0.9, 0.1], [0.25, 0.75]], np.float32)],
        ["careful"],
    )
    assert answer == {
        "model": "m",
        "version": "1.0.0",
        "predictions": [
            {
                "label": "malignant",
                "confidence": 0.9,
                "probabilities": {"malignant": 0.9, "benign": 0.1},
            },
            {
                "label": "benign",
                "confidence": 0.75,
                "probabilities": {"malignant": 0.25, "benign": 0.75},
            },
        ],
        "warnings": ["careful"],
    }


def classifier(*specs, classes=()):
    return Signature(MATRIX.inputs, specs, Layout.MATRIX, MATRIX.features, classes)


def test_without_labels_the_largest_probability_is_the_label():
    table = np.array([[0.1, 0.9]], np.float64)
    for classes, label in (((), 1), (("a", "b"), "b"), ((False, True), True), ((3, 7), 7)):
        (row,) = predictions(classifier(PROBS, classes=classes), [table])
        assert row["label"] == label
        assert type(row["label"]) is type(label)
        assert row["confidence"] == 0.9
    (row,) = predictions(classifier(PROBS, classes=(False, True)), [table])
    assert row["probabilities"] == {"false": 0.1, "true": 0.9}


def test_one_column_is_the_second_class():
    for table in (np.array([[0.75], [0.25]]), np.array([0.75, 0.25])):
        rows = predictions(classifier(PROBS, classes=("no", "yes")), [table])
        assert [row["label"] for row in rows] == ["yes", "no"]
        assert rows[0]["probabilities"] == {"no": 0.25, "yes": 0.75}


def test_a_label_that_is_not_the_largest_has_its_own_confidence():
    rows = predictions(MATRIX, [np.array([0]), np.array([[0.3, 0.7]])])
    assert rows[0]["label"] == "malignant"
    assert rows[0]["confidence"] == 0.3


def test_labels_alone():
    text = TensorSpec("label", Datatype.BYTES, (None,), Role.LABEL)
    outputs = [np.array([b"a", b"\xff"], dtype=object)]
    assert predictions(classifier(text), outputs) == [{"label": "a"}, {"label": "\ufffd"}]
    assert predictions(classifier(LABEL, classes=(3, 7)), [np.array([7])]) == [{"label": 7}]
    assert predictions(classifier(LABEL, classes=(False, True)), [np.array([1])]) == [
        {"label": True}
    ]
    assert predictions(classifier(LABEL), [np.array([[4], [2]])]) == [{"label": 4}, {"label": 2}]


def test_scores():
    assert told(GAPS, [np.array([[0.1], [2]], np.float32)])["predictions"] == [
        {"score": 0.1},
        {"score": 2.0},
    ]
    wide = Signature(GAPS.inputs, (TensorSpec("y", Datatype.FP64, (None, 2), Role.SCORE),))
    assert predictions(wide, [np.array([[1.0, np.nan]])]) == [{"score": [1.0, None]}]


def test_anything_else():
    specs = (
        TensorSpec("a", Datatype.BF16, (None, 1)),
        TensorSpec("b", Datatype.FP16, (None, 2, 1)),
        TensorSpec("c", Datatype.BOOL, (None,)),
        TensorSpec("d", Datatype.BYTES, (None, 2)),
    )
    outputs = [
        np.array([[0x3FC0]], np.uint16),
        np.array([[[1], [2]]], np.float16),
        np.array([True]),
        np.array([[b"x", b"y"]], dtype=object),
    ]
    assert predictions(Signature((), specs), outputs) == [
        {"outputs": {"a": 1.5, "b": [[1.0], [2.0]], "c": True, "d": ["x", "y"]}}
    ]


def test_further_outputs_of_a_classifier_are_kept():
    extra = TensorSpec("margin", Datatype.FP32, (None, 1), Role.SCORE)
    rows = predictions(
        classifier(LABEL, PROBS, extra),
        [np.array([1]), np.array([[0.5, 0.5]]), np.array([[3.0]], np.float32)],
    )
    assert rows[0]["outputs"] == {"margin": 3.0}


def test_outputs_that_disagree_are_the_engines_fault():
    with pytest.raises(CrashedError):
        predictions(MATRIX, [np.array([1, 2]), np.array([[0.5, 0.5]])])
