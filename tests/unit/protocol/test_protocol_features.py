"""Tensors as a table of numbers and back, for every layout; answers as columns."""

import numpy as np
import pytest

from modelworks.core.errors import UnsupportedError
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.protocol.features import Features, answer_of, answers
from modelworks.protocol.rows import read_rows

LABEL = TensorSpec("label", Datatype.INT64, (None,), Role.LABEL)
PROBABILITIES = TensorSpec("p", Datatype.FP32, (None, 2), Role.PROBABILITIES)
SCORE = TensorSpec("y", Datatype.FP32, (None, 1), Role.SCORE)


def signature(inputs, outputs=(SCORE,), **more):
    return Signature(inputs=tuple(inputs), outputs=tuple(outputs), **more)


MATRIX = signature(
    [TensorSpec("x", Datatype.FP32, (None, 2))], layout=Layout.MATRIX, features=("age", "income")
)
COLUMNS = signature(
    [
        TensorSpec("age", Datatype.FP32, (None, 1)),
        TensorSpec("city", Datatype.BYTES, (None, 1)),
        TensorSpec("visits", Datatype.INT64, (None,)),
        TensorSpec("paid", Datatype.BOOL, (None, 1)),
    ],
    layout=Layout.COLUMNS,
)


def test_a_matrix_is_its_own_table():
    inputs = read_rows([[1.5, 2], {"age": 3, "income": None}], MATRIX).inputs
    features = Features.of(MATRIX, (inputs,))
    table = features.table(inputs)
    assert features.names == ("age", "income")
    assert table.dtype == np.float64
    back = features.tensors(table)["x"]
    assert back.dtype == np.float32
    assert np.array_equal(back, inputs["x"], equal_nan=True)


def test_columns_come_back_as_they_were_and_may_be_mixed():
    rows = [[41.5, "Köln", 3, True], [None, "", 7, False]]
    inputs = read_rows(rows, COLUMNS).inputs
    features = Features.of(COLUMNS, (inputs,))
    table = features.table(inputs)
    back = features.tensors(table)
    for name, array in inputs.items():
        assert back[name].dtype == array.dtype, name
        assert back[name].shape == array.shape, name
        assert np.array_equal(back[name], array, equal_nan=name == "age"), name
    table[0, 1], table[0, 2] = table[1, 1], table[1, 2]
    mixed = features.tensors(table)
    assert mixed["city"].ravel().tolist()[0] == inputs["city"].ravel().tolist()[1]
    assert mixed["visits"].tolist() == [7, 7]


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec("image", Datatype.FP32, (None, 3, 8, 8)),
        TensorSpec("ids", Datatype.INT64, (None, None)),
        TensorSpec("words", Datatype.BYTES, (None, 4)),
        TensorSpec("x", Datatype.BF16, (None, 4)),
        TensorSpec("fixed", Datatype.FP32, (1,)),
    ],
    ids=lambda spec: spec.name,
)
def test_what_is_no_row_of_features_is_refused_by_name(spec):
    with pytest.raises(UnsupportedError, match=f"'{spec.name}'"):
        Features.of(signature([spec]))


def test_probabilities_go_before_the_label_and_one_column_is_two():
    both = signature(MATRIX.inputs, (LABEL, PROBABILITIES), classes=("no", "yes"))
    given = np.array([[0.25, 0.75]], np.float32)
    assert answer_of(both).classes == ("no", "yes")
    assert answers(both, {"label": np.array([1]), "p": given}).tolist() == [[0.25, 0.75]]
    one = signature(MATRIX.inputs, (TensorSpec("p", Datatype.FP32, (None, 1), Role.PROBABILITIES),))
    assert answer_of(one).names == ("0", "1")
    assert answers(one, {"p": np.array([[0.75]])}).tolist() == [[0.25, 0.75]]


def test_labels_alone_are_one_column_a_class():
    alone = signature(MATRIX.inputs, (LABEL,), classes=(3, 7))
    assert answers(alone, {"label": np.array([7, 3])}).tolist() == [[0, 1], [1, 0]]
    named = signature(MATRIX.inputs, (LABEL,), classes=("no", "yes"))
    assert answers(named, {"label": np.array([1, 0])}).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(UnsupportedError, match="classes are not known"):
        answer_of(signature(MATRIX.inputs, (LABEL,)))


def test_a_score_is_one_number_and_several_are_none():
    assert answers(MATRIX, {"y": np.array([[1.0], [2.0]])}).tolist() == [1, 2]
    wide = signature(MATRIX.inputs, (TensorSpec("z", Datatype.FP32, (None, 3)),))
    with pytest.raises(UnsupportedError, match="3 numbers"):
        answers(wide, {"z": np.zeros((2, 3))})
    text = signature(MATRIX.inputs, (TensorSpec("t", Datatype.BYTES, (None,)),))
    with pytest.raises(UnsupportedError, match="no number"):
        answer_of(text)
