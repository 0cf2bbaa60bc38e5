"""What a drill asks, which of it is spoilt, and what the spoilt version says."""

import json

import numpy as np
import pytest

from modelworks.control.drilling.pool import chosen, made_up, of_records, steered, within
from modelworks.control.drilling.spoilt import FAULT, ORIGINAL, Spoilt, digests, load, predict
from modelworks.core import codec
from modelworks.core.errors import CrashedError, InvalidError
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.testing import onnx_models

pytestmark = pytest.mark.unit
TABLE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 2)),),
    (
        TensorSpec("label", Datatype.INT64, (None,), Role.LABEL),
        TensorSpec("sure", Datatype.FP32, (None, 3), Role.PROBABILITIES),
        TensorSpec("note", Datatype.FP32, (None, 1)),
    ),
    Layout.MATRIX,
    ("amount", "country"),
    ("a", "b", "c"),
)
COLUMNS = Signature(
    (
        TensorSpec("country", Datatype.BYTES, (None, 1), categories=("de", "fr")),
        TensorSpec("age", Datatype.INT64, (None, 1)),
    ),
    (TensorSpec("y", Datatype.FP32, (None, 1), Role.SCORE),),
    Layout.COLUMNS,
)
ALONE = Signature((TensorSpec("x", Datatype.FP32, (4,)),), (TensorSpec("y", Datatype.FP32, (4,)),))


@pytest.mark.parametrize("signature", [TABLE, COLUMNS, ALONE], ids=["matrix", "columns", "alone"])
def test_made_up_rows_are_single_and_the_same_each_time(signature):
    rows = made_up(signature, 1, 40)
    assert [row.digest for row in rows] == [row.digest for row in made_up(signature, 1, 40)]
    assert {row.headers["Content-Type"] for row in rows} == {"application/json"}
    first = json.loads(rows[0].body)["inputs"][0]
    assert first["shape"][0] in {1, 4}


def test_a_digest_is_of_the_row_whatever_batch_it_is_in():
    rows = made_up(TABLE, 1, 5)
    batch = {"x": np.concatenate([row.inputs["x"] for row in rows])}
    assert digests(batch, TABLE) == [row.digest for row in rows]
    assert len(set(digests(batch, TABLE))) == 5
    assert len(digests({"x": np.zeros(4, np.float32)}, ALONE)) == 1


def test_as_many_rows_are_spoilt_as_are_wanted_and_only_of_the_slice():
    rows = made_up(TABLE, 1, 200)
    spoilt, share = chosen(rows, [True] * 200, 0.2)
    assert (len(spoilt), share) == (40, 0.2)
    inside = [place < 50 for place in range(200)]
    some, share = chosen(rows, inside, 0.2)
    assert some <= {row.digest for row in rows[:50]}
    assert (len(some), share) == (10, 0.2)
    alike = [rows[0]] * 3
    assert chosen(alike, [True] * 3, 0.2) == ({rows[0].digest}, 1.0)
    assert chosen(rows, [False] * 200, 0.2) == (set(), 0.0)


@pytest.mark.parametrize(
    ("signature", "slice_"), [(TABLE, "country=1"), (COLUMNS, "country=it"), (COLUMNS, "age=40")]
)
def test_rows_are_moved_into_a_slice_that_none_is_in(signature, slice_):
    rows = made_up(signature, 1, 20)
    assert not any(within(rows, slice_, signature))
    moved = steered(rows, slice_, signature)
    assert within(moved, slice_, signature) == [True, False] * 10
    assert moved[1] is rows[1]
    assert moved[0].body != rows[0].body


def test_a_slice_that_no_row_can_be_in_is_refused():
    rows = made_up(TABLE, 1, 4)
    with pytest.raises(InvalidError, match="'region=eu' is of no input"):
        steered(rows, "region=eu", TABLE)
    with pytest.raises(InvalidError, match="country is a number, and 'de' is none"):
        steered(rows, "country=de", TABLE)
    assert within(rows, "*", TABLE) == [True] * 4


def test_records_are_sent_again_and_what_lacks_inputs_is_passed_over():
    lines = [
        {"id": "1", "in.amount": 0.5, "in.country": 1},
        {"id": "2", "in.amount": 0.5},
        {"id": "3", "in.amount": "much", "in.country": 1},
    ]
    (row,) = of_records(lines, TABLE)
    assert row.inputs["x"].tolist() == [[0.5, 1.0]]
    with pytest.raises(InvalidError, match="they lack country; without --records"):
        of_records(lines[1:2], TABLE)
    with pytest.raises(InvalidError, match="there are no records of it"):
        of_records([], TABLE)


def spoiled(tmp_path, signature, fault, rows, delay_ms=0.0):
    """`y = 2 x` with a fault, as it lies in the artifact."""
    (tmp_path / ORIGINAL).mkdir(exist_ok=True)
    onnx_models.double(tmp_path / ORIGINAL / "model.onnx", width=2)
    told = Spoilt("onnx", signature, fault, delay_ms, tuple(rows))
    (tmp_path / FAULT).write_text(json.dumps(codec.encode(told)))
    return load(tmp_path)


def test_only_the_spoilt_rows_are_wrong_late_or_failed(tmp_path):
    signature = Signature(
        (TensorSpec("x", Datatype.FP32, (None, 2)),), (TensorSpec("y", Datatype.FP32, (None, 2)),)
    )
    inputs = {"x": np.arange(6, dtype=np.float32).reshape(3, 2)}
    bad = digests(inputs, signature)[1]
    right = (2 * inputs["x"]).tolist()
    healthy = predict(spoiled(tmp_path, signature, "", [bad]), inputs)
    assert healthy["y"].tolist() == right
    wrong = predict(spoiled(tmp_path, signature, "wrong", [bad]), inputs)["y"]
    assert (wrong[[0, 2]].tolist(), bool((wrong[1] != right[1]).all())) == (right[::2], True)
    failing = spoiled(tmp_path, signature, "failing", [bad])
    with pytest.raises(CrashedError, match="fails on purpose"):
        predict(failing, inputs)
    assert predict(failing, {"x": inputs["x"][2:]})["y"].tolist() == right[2:]
    slow = spoiled(tmp_path, signature, "slow", [bad], delay_ms=1.0)
    assert predict(slow, inputs)["y"].tolist() == right


def test_wrong_is_another_label_and_another_likeliest_class():
    from modelworks.control.drilling.spoilt import changed

    sure = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], np.float32)
    outputs = {"label": np.array([0, 1]), "sure": sure, "note": np.ones((2, 1), np.float32)}
    found = changed(outputs, np.array([True, False]), TABLE)
    assert found["label"].tolist() == [1, 1]
    assert found["sure"].argmax(axis=1).tolist() == [1, 1]
    assert found["note"].tolist() == [[1.0], [1.0]]  # what says no class stays
    assert outputs["label"].tolist() == [0, 1]
    texts = Signature(
        TABLE.inputs, (TensorSpec("l", Datatype.BYTES, (None,), Role.LABEL),), classes=("a", "b")
    )
    given = {"l": np.array([b"a", b"b"], object)}
    assert changed(given, np.array([True, True]), texts)["l"].tolist() == [b"b", b"a"]
