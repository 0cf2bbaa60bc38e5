"""The rule by which a conversion is judged."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core import codec
from modelworks.core.model import Verdict
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.evaluation.parity import (
    TREES,
    Group,
    Rule,
    Tolerance,
    as_text,
    compare,
    tolerance_for,
)

pytestmark = pytest.mark.unit

SCORE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 1)),),
    (TensorSpec("score", Datatype.FP32, (None, 1), Role.SCORE),),
)
CLASSES = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 1)),),
    (
        TensorSpec("label", Datatype.BYTES, (None,), Role.LABEL),
        TensorSpec("probabilities", Datatype.FP32, (None, 2), Role.PROBABILITIES),
    ),
)


def scores(source, converted, name="range", **more):
    source = np.asarray(source, np.float64)[:, None]
    converted = np.asarray(converted, np.float32)[:, None]
    return Group(name, {"x": source}, {"score": source}, {"score": converted}, **more)


def classes(labels, converted, probabilities, name="range"):
    probabilities = np.asarray(probabilities, np.float64)
    return Group(
        name,
        {"x": np.zeros((len(labels), 1))},
        {"label": np.array(labels, object), "probabilities": probabilities},
        {"label": np.array(converted, object), "probabilities": probabilities},
    )


def test_equal_outputs_pass():
    report = compare([scores([1, 2, 3], [1, 2, 3])], SCORE, Tolerance(), (1, 2))
    assert report.verdict is Verdict.PASSED
    assert (report.rows, report.rows_off, report.max_absolute) == (3, 0, 0)
    assert report.batch_sizes == (1, 2)


@pytest.mark.parametrize(
    ("source", "converted", "off"),
    [
        (0.0, 0.9e-5, 0),
        (0.0, 1.2e-5, 1),
        (100.0, 100.009, 0),
        (100.0, 100.012, 1),
        (-100.0, -100.012, 1),
        (np.nan, np.nan, 0),
        (np.nan, 1.0, 1),
        (1.0, np.nan, 1),
        (np.inf, np.inf, 0),
        (np.inf, -np.inf, 1),
        (1e300, np.inf, 1),
    ],
)
def test_the_tolerance_is_absolute_plus_relative_and_nan_equals_nan(source, converted, off):
    report = compare([scores([source], [converted])], SCORE, Tolerance())
    assert report.rows_off == off
    assert report.verdict is (Verdict.FAILED if off else Verdict.PASSED)
    assert np.isfinite(report.max_absolute)


@pytest.mark.parametrize(("wrong", "passes"), [(1, True), (2, True), (3, False)])
def test_trees_may_have_one_row_in_a_thousand_off(wrong, passes):
    source = np.zeros(2000)
    converted = source.copy()
    converted[:wrong] = 0.73
    trees = compare([scores(source, converted)], SCORE, tolerance_for("trees"))
    others = compare([scores(source, converted)], SCORE, tolerance_for(""))
    assert (trees.verdict is Verdict.PASSED) is passes
    assert others.verdict is Verdict.FAILED
    assert trees.share_off == wrong / 2000


def test_labels_must_agree_on_all_but_one_in_a_thousand():
    sure = [[0.9, 0.1]] * 1000
    one = [b"a"] * 999 + [b"b"]
    two = [b"a"] * 998 + [b"b"] * 2
    assert compare([classes([b"a"] * 1000, one, sure)], CLASSES, TREES).verdict is Verdict.PASSED
    report = compare([classes([b"a"] * 1000, two, sure)], CLASSES, TREES)
    assert report.verdict is Verdict.FAILED
    assert report.agreement == pytest.approx(0.998)
    assert "labels agree on 99.80%" in report.summary


def test_a_tie_that_rounding_decides_is_counted_and_excused():
    report = compare([classes([b"a"], [b"b"], [[0.5, 0.5]])], CLASSES, Tolerance())
    assert report.verdict is Verdict.PASSED
    assert report.outputs[0].ties == 1
    clear = compare([classes([b"a"], [b"b"], [[0.51, 0.49]])], CLASSES, Tolerance())
    assert clear.verdict is Verdict.FAILED


def test_eased_rows_are_judged_apart():
    near = scores([1.0] * 98, [1.0] * 98)
    far = scores([1.0] * 100, [2.0] * 2 + [1.0] * 98, "offset", rule=Rule.EASED)
    report = compare([near, far], SCORE, Tolerance())
    assert report.verdict is Verdict.PASSED
    assert (report.rows, report.rows_off, report.max_absolute) == (98, 0, 0)
    assert [g.rows_off for g in report.groups] == [0, 2]
    worse = scores([1.0] * 100, [2.0] * 3 + [1.0] * 97, "offset", rule=Rule.EASED)
    assert "far from the training range" in compare([near, worse], SCORE, Tolerance()).summary


def test_slack_widens_the_tolerance_by_element():
    slack = {"score": np.array([[0.5], [0.0]])}
    report = compare([scores([1, 1], [1.4, 1.4], slack=slack)], SCORE, Tolerance())
    assert report.rows_off == 1


def test_reported_rows_decide_nothing_but_are_told():
    group = scores([1.0], [2.0], "offset", rule=Rule.REPORTED)
    report = compare([scores([1.0], [1.0]), group], SCORE, Tolerance())
    assert report.verdict is Verdict.PASSED
    assert "1 of 1 rows differ at 'offset'" in report.summary


def test_other_shapes_and_lost_outputs_fail():
    lost = Group("range", {}, {"score": np.zeros((2, 1))}, {})
    other = Group("range", {}, {"score": np.zeros((2, 1))}, {"score": np.zeros(2)})
    for group, reason in ((lost, "missing"), (other, "shape [2] where the source has [2, 1]")):
        report = compare([group], SCORE, Tolerance())
        assert report.verdict is Verdict.FAILED
        assert reason in report.summary


def test_nothing_to_compare_is_no_pass():
    report = compare([], SCORE, Tolerance(), skipped=("missing: refused",))
    assert report.verdict is Verdict.SKIPPED
    assert "missing: refused" in report.summary


def test_the_worst_rows_come_first_with_their_inputs():
    source = np.arange(10.0)
    converted = source + np.array([0, 0, 0.1, 0, 0, 5, 0, 0.2, 0, 0])
    report = compare([scores(source, converted)], SCORE, Tolerance())
    assert [row.row for row in report.worst] == [5, 7, 2]
    assert "x=[5.]" in report.worst[0].inputs
    assert report.worst[0].source == "[5.]"


def test_a_report_is_plain_json():
    report = compare([scores([np.nan, 1e300, 1], [1, np.inf, np.nan])], SCORE, Tolerance())
    json.dumps(codec.encode(report), allow_nan=False)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (np.array([True, False]), np.array([1, 0], np.int64)),
        (np.array([1.0, 2.0]), np.array([1, 2], np.int64)),
        (np.array(["a", "é"]), np.array([b"a", "é".encode()], object)),
        (np.array([b"a"]), np.array(["a"], object)),
    ],
)
def test_labels_of_any_type_compare_as_what_they_say(left, right):
    assert (as_text(left) == as_text(right)).all()


@given(st.lists(st.floats(allow_nan=True, width=32), min_size=1, max_size=20))
def test_a_model_always_agrees_with_itself(values):
    group = Group(
        "range",
        {"x": np.array(values)[:, None]},
        {"score": np.array(values, np.float64)[:, None]},
        {"score": np.array(values, np.float32)[:, None]},
    )
    assert compare([group], SCORE, Tolerance()).verdict is Verdict.PASSED
