"""Windows of quality: measured where labels are, estimated where not, inferred where few are."""

import json

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.evaluation.predictions import Task
from modelworks.monitor.quality.estimator import document, fit, restored
from modelworks.monitor.quality.plan import Plan, plan_of
from modelworks.monitor.quality.rows import rows_of
from modelworks.monitor.quality.window import windows

pytestmark = pytest.mark.unit

BINARY = Plan(Task.BINARY, "out.label", "out.probabilities", ("0", "1"), slices=("in.region",))
NUMBER = Plan(Task.REGRESSION, "out.variable")


def lists(values):
    column = np.empty(len(values), object)
    column[:] = [list(value) for value in values]
    return column


def classified(count=3000, seed=0, shift=0.0, labelled=1.0, version="1.0.0"):
    """Records of a sure model, as `Batch` has them, joined with what is true."""
    generator = np.random.default_rng(seed)
    x = generator.normal(shift, 1, count)
    truth = generator.random(count) < 1 / (1 + np.exp(-x))
    score = 1 / (1 + np.exp(-2.5 * x))
    told = np.empty(count, object)
    told[:] = [bool(t) if generator.random() < labelled else None for t in truth]
    return {
        "version": np.array([version] * count, object),
        "status": np.full(count, 200),
        "in.x": x,
        "in.region": generator.choice(["eu", "us"], count).astype(object),
        "out.label": (score >= 0.5).astype(np.int64),
        "out.probabilities": lists(np.stack([1 - score, score], axis=1)),
        "truth": told,
    }, truth


def points(series, name="quality"):
    return {
        (s.labels["kind"], s.labels["metric"], s.labels["slice"]): s.values[0]
        for s in series
        if s.name == name
    }


def fitted(plan=BINARY, columns=None):
    return fit(rows_of(columns or classified(seed=9)[0], plan), plan)


def test_labels_are_measured_with_intervals_by_slice():
    columns, truth = classified()
    series = windows(columns, BINARY, 3600.0, {"model": "fraud"})
    values = points(series)
    right = (columns["out.label"] == truth).mean()
    assert values["measured", "accuracy", "*"] == pytest.approx(right)
    low, high = (points(series, f"quality_{end}") for end in ("low", "high"))
    rows = points(series, "quality_rows")
    eu = columns["in.region"] == "eu"
    for key, count in ((("measured", "accuracy", "*"), 3000),
                       (("measured", "accuracy", "in.region=eu"), eu.sum())):  # fmt: skip
        assert low[key] < values[key] < high[key]
        assert rows[key] == count
    assert all(kind == "measured" for kind, _, _ in values)
    assert {s.labels["version"] for s in series} == {"1.0.0"}
    assert {s.labels["model"] for s in series} == {"fraud"}
    assert {s.times for s in series} == {(3600.0,)}


def test_an_estimate_before_the_labels_is_confirmed_by_them():
    estimators = {"1.0.0": fitted()}
    key, held = ("estimated", "accuracy", "*"), 0
    for seed in range(6):
        columns, truth = classified(4000, seed, shift=-0.8, labelled=0.0)
        series = windows(columns, BINARY, 60.0, {}, estimators)
        values = points(series)
        assert {kind for kind, _, _ in values} == {"estimated"}
        low, high = (points(series, f"quality_{end}") for end in ("low", "high"))
        right = (columns["out.label"] == truth).mean()
        assert values[key] == pytest.approx(right, abs=0.03)
        held += low[key] <= right <= high[key]
    assert held >= 4
    late = points(windows(classified(4000, 5, shift=-0.8)[0], BINARY, 60.0, {}, estimators))
    assert late["measured", "accuracy", "*"] == pytest.approx(right)
    assert late[key] == pytest.approx(values[key])


def test_few_labels_and_the_estimates_beside_them():
    estimators = {"1.0.0": fitted()}
    columns, truth = classified(6000, 2, labelled=0.05)
    series = windows(columns, BINARY, 60.0, {}, estimators)
    low, high = (points(series, f"quality_{end}") for end in ("low", "high"))
    inferred, measured = ((kind, "accuracy", "*") for kind in ("inferred", "measured"))
    right = (columns["out.label"] == truth).mean()
    assert low[inferred] <= right <= high[inferred]
    assert high[inferred] - low[inferred] < 1.03 * (high[measured] - low[measured])
    for name in ("precision", "recall", "f1"):
        value = points(series)["inferred", name, "*"]
        assert low["inferred", name, "*"] < value < high["inferred", name, "*"]


def test_concept_drift_is_seen_by_labels_and_not_by_estimates():
    estimators = {"1.0.0": fitted()}
    columns, truth = classified(4000, 3, labelled=0.1)
    columns["truth"][:] = [None if t is None else not t for t in columns["truth"]]
    values = points(windows(columns, BINARY, 60.0, {}, estimators))
    right = (columns["out.label"] == ~truth).mean()
    assert values["inferred", "accuracy", "*"] == pytest.approx(right, abs=0.06)
    assert values["estimated", "accuracy", "*"] > right + 0.2


def numbers(count=3000, seed=0, shift=0.0, labelled=1.0):
    """A regression whose errors grow with x."""
    generator = np.random.default_rng(seed)
    x, z = generator.normal(shift, 1, count), generator.normal(size=count)
    said = 3 * x
    truth = said + generator.normal(0, 0.3 + 0.7 * (x > 0.5), count)
    told = np.where(generator.random(count) < labelled, truth, np.nan)
    return {"in.x": x, "in.z": z, "out.variable": said, "truth": told}, np.abs(said - truth).mean()


def test_a_regressions_loss_is_estimated_where_its_inputs_move():
    estimators = {"": fitted(NUMBER, numbers(4000, 9)[0])}
    held = 0
    for seed in range(5):
        columns, real = numbers(1500, seed, shift=0.7, labelled=0.0)
        series = windows(columns, NUMBER, 60.0, {}, estimators)
        low, high = (points(series, f"quality_{end}") for end in ("low", "high"))
        key = ("estimated", "mae", "*")
        held += low[key] <= real <= high[key]
        before = points(windows(numbers(1500, seed, labelled=0.0)[0], NUMBER, 60.0, {}, estimators))
        assert points(series)[key] > before[key] + 0.1
    assert held >= 4
    series = windows(numbers(3000, 7, labelled=0.1)[0], NUMBER, 60.0, {}, estimators)
    low, high = (points(series, f"quality_{end}") for end in ("low", "high"))
    inferred, measured = ((kind, "mae", "*") for kind in ("inferred", "measured"))
    assert high[inferred] - low[inferred] < 0.9 * (high[measured] - low[measured])
    assert ("inferred", "rmse", "*") in low


@pytest.mark.parametrize(
    "case", [(BINARY, lambda: classified()[0]), (NUMBER, lambda: numbers()[0])]
)
def test_estimators_are_written_and_read(case):
    plan, make = case
    estimator = fitted(plan, make())
    again = restored(json.loads(json.dumps(document(estimator))))
    columns = make()
    left = points(windows(columns, plan, 1.0, {}, {"": estimator, "1.0.0": estimator}))
    assert left == points(windows(columns, plan, 1.0, {}, {"": again, "1.0.0": again}))


@pytest.mark.parametrize(
    "data", [{}, {"format": 2}, {"format": 1, "calibration": {}, "losses": None}]
)
def test_what_is_no_estimator(data):
    with pytest.raises(InvalidError, match="estimator"):
        restored(data)


def test_versions_do_not_mix():
    old, _ = classified(200, 1)
    new, _ = classified(200, 2, version="1.1.0")
    new["out.label"] = 1 - new["out.label"]
    both = {name: np.concatenate([old[name], new[name]]) for name in old}
    series = windows(both, BINARY, 1.0, {"model": "m"})
    found = {
        s.labels["version"]: s.values[0]
        for s in series
        if s.name == "quality" and s.labels["metric"] == "accuracy" and s.labels["slice"] == "*"
    }
    assert found["1.0.0"] > 0.6
    assert found["1.1.0"] < 0.4


def test_business_outcomes():
    columns, _ = classified(100)
    revenue, clicked = np.full(100, np.nan), np.full(100, np.nan)
    revenue[:40], clicked[:50] = np.arange(40.0), [1.0] * 10 + [0.0] * 40
    columns |= {
        "outcome.revenue": revenue,
        "outcome.clicked": clicked,
        "outcome.none": clicked * np.nan,
    }
    series = [s for s in windows(columns, None, 1.0, {}) if s.name.startswith("business")]
    found = {(s.name, s.labels["metric"]): s.values[0] for s in series}
    assert found["business", "revenue_sum"] == 780
    assert found["business", "revenue_mean"] == 19.5
    assert found["business", "revenue_per_prediction"] == 7.8
    assert found["business", "clicked_rate"] == 0.2
    assert found["business_low", "clicked_rate"] == pytest.approx(0.1124, abs=1e-4)
    assert found["business_rows", "revenue_mean"] == 40
    assert not any("none" in metric for _, metric in found)
    assert ("business_low", "revenue_sum") not in found


def test_what_was_refused_or_not_recorded_is_left_out():
    columns, _ = classified(100)
    columns["status"][:60] = 503
    columns["out.label"] = columns["out.label"].astype(object)
    columns["out.label"][60] = None
    rows = rows_of(columns, BINARY)
    assert len(rows) == 39
    columns["truth"][61] = "perhaps"
    assert (rows_of(columns, BINARY).unfit, rows_of(columns, BINARY).known.sum()) == (1, 38)
    assert rows_of({"truth": np.zeros(3)}, BINARY) is None
    assert windows({"truth": np.zeros(3)}, BINARY, 1.0, {}) == []
    columns["status"][:] = 500
    assert rows_of(columns, BINARY) is None


def test_a_slice_of_too_many_values_makes_none():
    columns, _ = classified(1000)
    columns["in.region"] = np.array([f"r{i}" for i in range(1000)], object)
    values = points(windows(columns, BINARY, 1.0, {}))
    assert {name for _, _, name in values} == {"*"}


def test_several_labels_and_rankings():
    truth, said = lists([[1, 0], [0, 1]] * 20), lists([[1.0, 0.0], [0.0, 0.0]] * 20)
    plan = Plan(Task.MULTILABEL, "out.label", classes=("a", "b"))
    values = points(windows({"out.label": said, "truth": truth}, plan, 1.0, {}))
    assert values["measured", "accuracy", "*"] == 0.5
    assert values["measured", "micro_precision", "*"] == 1
    columns = {"out.score": np.arange(60.0), "truth": np.arange(60) % 2, "q": np.arange(60) // 2}
    plan = Plan(Task.RANKING, score="out.score", query="q")
    assert points(windows(columns, plan, 1.0, {}))["measured", "mrr", "*"] == 1
    with pytest.raises(UnsupportedError, match="cannot be estimated"):
        fit(rows_of(columns, plan), plan)
    with pytest.raises(InvalidError, match="200 are wanted"):
        fit(rows_of(numbers(50)[0], NUMBER), NUMBER)


def signature(*outputs, classes=()):
    specs = tuple(TensorSpec(name, kind, (None,), role) for name, kind, role in outputs)
    return Signature((), specs, classes=classes)


@pytest.mark.parametrize(
    "case",
    [
        (
            signature(
                ("label", Datatype.INT64, Role.LABEL),
                ("probabilities", Datatype.FP32, Role.PROBABILITIES),
                classes=(0, 1),
            ),
            Plan(Task.BINARY, "out.label", "out.probabilities", ("0", "1")),
        ),
        (
            signature(("p", Datatype.FP32, Role.PROBABILITIES), classes=("a", "b", "c")),
            Plan(Task.MULTICLASS, "", "out.p", ("a", "b", "c")),
        ),
        (
            signature(("variable", Datatype.FP32, Role.SCORE)),
            Plan(Task.REGRESSION, "out.variable"),
        ),
        (
            signature(("y", Datatype.FP64, Role.LABEL)),
            Plan(Task.REGRESSION, "out.y"),
        ),
        (signature(("y", Datatype.BYTES, Role.LABEL)), Plan(Task.MULTICLASS, "out.y")),
        (signature(("e", Datatype.FP32, Role.TENSOR)), None),
    ],
)
def test_a_signature_says_what_can_be_watched(case):
    given, plan = case
    assert plan_of(given) == plan
