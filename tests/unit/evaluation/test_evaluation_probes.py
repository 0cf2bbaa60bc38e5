"""Generated rows, and how two models are run on them."""

from dataclasses import replace

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.imports import Ranges
from modelworks.core.model import Verdict
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.evaluation.parity import Tolerance
from modelworks.evaluation.probes import (
    UNKNOWN,
    Probe,
    batches,
    generate,
    known_range,
    narrow,
    nudge,
)
from modelworks.evaluation.trial import against_itself, against_source

pytestmark = pytest.mark.unit

OUT = (TensorSpec("score", Datatype.FP32, (None, 1), Role.SCORE),)
MATRIX = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 2)),), OUT, Layout.MATRIX, ("low", "high")
)
COLUMNS = Signature(
    (
        TensorSpec("age", Datatype.FP32, (None, 1)),
        TensorSpec("city", Datatype.BYTES, (None, 1), categories=("Rome", "Oslo")),
        TensorSpec("rank", Datatype.INT64, (None, 1), allow_nan=False),
    ),
    OUT,
    Layout.COLUMNS,
    ("age", "city", "rank"),
)


def by_name(probes):
    return {probe.name: probe.inputs for probe in probes}


def test_rows_follow_ranges_and_categories():
    ranges = {"low": Ranges(low=-2, high=-1), "high": Ranges(low=5, high=6)}
    rows = by_name(generate(MATRIX, ranges))["range"]["x"]
    assert rows.shape == (256, 2)
    assert rows.dtype == np.float64
    assert ((rows[:, 0] >= -2) & (rows[:, 0] <= -1)).all()
    assert ((rows[:, 1] >= 5) & (rows[:, 1] <= 6)).all()
    table = by_name(generate(COLUMNS, {"rank": Ranges(values=(3, 7))}))
    assert set(table["range"]["city"].ravel()) == {b"Rome", b"Oslo"}
    assert set(table["range"]["rank"].ravel()) == {3, 7}
    assert (table["unknown"]["city"] == UNKNOWN.encode()).all()


def test_the_same_seed_gives_the_same_rows():
    one, two, other = (by_name(generate(MATRIX, {}, seed)) for seed in (1, 1, 2))
    assert (one["range"]["x"] == two["range"]["x"]).all()
    assert (one["range"]["x"] != other["range"]["x"]).any()


def test_sorts_of_rows():
    probes = by_name(generate(MATRIX, {}))
    assert set(probes) == {"range", "missing", "empty", "zero", "negative", "wide", "offset"}
    missing = np.isnan(probes["missing"]["x"])
    assert missing.any()
    assert not missing.all(axis=1).any()
    assert np.isnan(probes["empty"]["x"]).all()
    assert (probes["zero"]["x"] == 0).all()
    assert (np.abs(probes["offset"]["x"]) > 9e5).all()


def test_no_missing_values_where_they_are_refused():
    inputs = (replace(MATRIX.inputs[0], allow_nan=False),)
    assert "missing" not in by_name(generate(replace(MATRIX, inputs=inputs), {}))


def test_dynamic_and_fixed_axes():
    dynamic = Signature((TensorSpec("x", Datatype.FP32, (None, 3, None, None)),), ())
    probes = by_name(generate(dynamic, {}, rows=32))
    assert probes["range"]["x"].shape == (32, 3, 3, 3)
    assert probes["axes"]["x"].shape == (16, 3, 5, 5)
    fixed = Signature((TensorSpec("x", Datatype.FP32, (4, 2)),), ())
    rows = generate(fixed, {}, rows=64)[0].inputs["x"]
    assert len(rows) == 16
    assert [(s.start, s.stop) for s in batches(16, fixed)] == [(0, 4), (4, 8), (8, 12), (12, 16)]


@pytest.mark.parametrize("datatype", list(Datatype))
def test_every_datatype_can_be_made_and_narrowed(datatype):
    signature = Signature((TensorSpec("x", datatype, (None, 2)),), ())
    for probe in generate(signature, {}, rows=16):
        narrowed = narrow(probe.inputs, signature)["x"]
        assert narrowed.shape[1] == 2
        assert (narrowed.dtype == object) is (datatype is Datatype.BYTES)


def test_batches_cover_every_row_once_in_several_sizes():
    parts = list(batches(100, MATRIX))
    assert [p.stop - p.start for p in parts] == [1, 2, 7, 16, 74]
    assert [i for p in parts for i in range(p.start, p.stop)] == list(range(100))
    assert [p.stop - p.start for p in batches(3, MATRIX)] == [1, 2]


def test_known_range():
    ranges = {"low": Ranges(0, 1), "high": Ranges(0, 1)}
    assert known_range(MATRIX, ranges)
    assert not known_range(MATRIX, {"low": Ranges(0, 1)})
    assert known_range(COLUMNS, {"age": Ranges(0, 1)})
    assert known_range(replace(MATRIX, features=()), {"0": Ranges(0, 1), "1": Ranges(0, 1)})


def test_a_nudge_is_a_rounding():
    inputs = {"x": np.full((50, 2), 1e6)}
    moved = nudge(inputs, MATRIX, np.random.default_rng(0), 1.0)["x"] - 1e6
    assert 0 < np.abs(moved).max() <= 0.06


class Fake:
    """A session made of a function; a stand-in for an engine, whose own tests are elsewhere."""

    def __init__(self, function, signature=MATRIX):
        self.signature = signature
        self._function = function
        self.sizes = []

    def infer(self, inputs):
        self.sizes.append(len(inputs["x"]))
        return [self._function(inputs["x"]).astype(np.float32)]

    def close(self):
        return None


def line(x, weights=(1.0, -1.0)):
    return (x @ np.array(weights, x.dtype))[:, None]


def trial(source, converted, ranges=None, **more):
    probes = [p for p in generate(MATRIX, ranges or {}) if p.name not in {"missing", "empty"}]
    return against_source(
        lambda inputs: {"score": source(inputs["x"])}, Fake(converted), probes, Tolerance(), **more
    )


def test_a_right_conversion_passes_and_ran_in_every_size():
    report = trial(line, line, wide_inputs=True)
    assert report.verdict is Verdict.PASSED
    assert {1, 2, 7, 16} <= set(report.batch_sizes)


def test_a_wrong_conversion_fails():
    report = trial(line, lambda x: line(x) * np.float32(1.001), wide_inputs=True)
    assert report.verdict is Verdict.FAILED


def test_a_conversion_that_depends_on_the_batch_fails():
    report = trial(line, lambda x: line(x) + (len(x) > 1), wide_inputs=True)
    assert report.verdict is Verdict.FAILED


def test_float32_near_a_hundred_million_fails_only_where_the_model_lives_there():
    def centred(x):
        return line(x - np.array(1e8, x.dtype))

    far = {"low": Ranges(1e8 - 3, 1e8 + 3), "high": Ranges(1e8 - 3, 1e8 + 3)}
    there = trial(centred, centred, far, wide_inputs=True, known_range=True)
    assert there.verdict is Verdict.FAILED
    near = {"low": Ranges(-3, 3), "high": Ranges(-3, 3)}
    assert trial(line, line, near, wide_inputs=True, known_range=True).verdict is Verdict.PASSED


def test_unknown_ranges_let_offset_rows_decide_within_what_rounding_explains():
    assert trial(line, line, wide_inputs=True).verdict is Verdict.PASSED
    worse = trial(line, lambda x: line(x) * np.float32(1 + 9e-5) + (abs(x[:, :1]) > 9e5) * 500)
    assert worse.verdict is Verdict.FAILED
    assert "far from the training range" in worse.summary


def test_rows_that_the_source_refuses_are_left_out_with_the_reason():
    def picky(x):
        if (x < 0).any():
            raise ValueError("negative\nvalues")
        return line(x)

    positive = {"low": Ranges(0, 1), "high": Ranges(0, 1)}
    report = trial(picky, line, positive, wide_inputs=True)
    assert report.verdict is Verdict.PASSED
    assert any(
        "negative: the source refuses such rows (negative values)" in s for s in report.skipped
    )
    with pytest.raises(InvalidError, match="--sample"):
        trial(picky, line, wide_inputs=True)


def test_rows_that_only_the_conversion_refuses_fail_it():
    def picky(x):
        if (x == 0).all():
            raise InvalidError("no zeros")
        return line(x)

    report = trial(line, picky, wide_inputs=True)
    assert report.verdict is Verdict.FAILED
    assert "refuses rows of the sort 'zero'" in report.summary


def test_a_model_against_itself():
    probes = [Probe("range", {"x": np.random.default_rng(0).normal(size=(64, 2))})]
    report, batchable = against_itself(Fake(line), probes)
    assert (report.verdict, batchable) == (Verdict.PASSED, True)
    report, batchable = against_itself(Fake(lambda x: line(x) + x.sum()), probes)
    assert (report.verdict, batchable) == (Verdict.PASSED, False)
    random = np.random.default_rng(0)
    report, _ = against_itself(Fake(lambda x: random.normal(size=(len(x), 1))), probes)
    assert report.verdict is Verdict.FAILED


class Same:
    """A model whose output is its only input, or a constant where it has none."""

    def __init__(self, *shapes, datatype=Datatype.FP32):
        inputs = tuple(TensorSpec("x", datatype, shape) for shape in shapes)
        out = TensorSpec("y", datatype, shapes[0] if shapes else (1, 1))
        self.signature = Signature(inputs, (out,))

    def infer(self, inputs):
        return [inputs.get("x", np.ones((1, 1), np.float32))]


@pytest.mark.parametrize("datatype", [Datatype.FP32, Datatype.INT64, Datatype.BYTES])
@pytest.mark.parametrize("shapes", [[], [()], [(0, 4)], [(None, 0)], [(1, 0)]])
def test_models_without_inputs_rows_or_values_are_compared_too(shapes, datatype):
    model = Same(*shapes, datatype=datatype)
    report, _ = against_itself(model, generate(model.signature, {}))
    assert report.verdict is Verdict.PASSED, report.summary
