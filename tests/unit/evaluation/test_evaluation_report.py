"""Slices, versions and baselines: planted differences are found, absent ones are not."""

import math

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.evaluation import predictions as rows
from modelworks.evaluation.measured import difference
from modelworks.evaluation.metrics import Options, measure
from modelworks.evaluation.report import Baseline, Sign, evaluate
from modelworks.evaluation.slices import cut

pytestmark = pytest.mark.unit


def answered(count=3000, seed=0, worse=()):
    """Labels right in nine of ten rows, in six of ten where the region is among the worse."""
    generator = np.random.default_rng(seed)
    region = generator.choice(["eu", "us", "asia", "moon"], count, p=[0.5, 0.3, 0.195, 0.005])
    truth = generator.integers(0, 2, count)
    right = generator.random(count) < np.where(np.isin(region, worse), 0.6, 0.9)
    return truth, np.where(right, truth, 1 - truth), {"region": region.astype(object)}


def test_the_worse_slice_is_named_and_no_other():
    truth, said, columns = answered(worse=["us"])
    found = evaluate(rows.binary(truth, labels=said), columns=columns, by=["region"])
    parts = {part.name: part for part in found.slices}
    assert list(parts) == ["region=eu", "region=us", "region=asia", "region=moon"]
    signs = {n: {g.metric: g.sign for g in p.rest} for n, p in parts.items()}
    assert signs["region=us"]["accuracy"] is Sign.WORSE
    assert signs["region=eu"]["accuracy"] is Sign.BETTER  # the rest holds the worse ones
    assert not parts["region=moon"].figures
    assert any("1 slices of fewer than 30" in note for note in found.notes)
    assert found.slice_level == pytest.approx(1 - 0.05 / 3)
    assert sum(part.rows for part in found.slices) == found.rows == 3000
    accuracy = next(f for f in parts["region=us"].figures if f.metric == "accuracy")
    rowwise = (truth == said)[columns["region"] == "us"]
    assert accuracy.value == pytest.approx(rowwise.mean())


def test_many_slices_without_a_difference_give_few_false_ones():
    generator = np.random.default_rng(7)
    false = 0
    for seed in range(12):
        truth, said, _ = answered(2000, seed)
        columns = {"city": generator.integers(0, 10, 2000)}
        given = rows.binary(truth, labels=said)
        found = evaluate(given, Options(only=("accuracy",)), columns=columns, by=["city"])
        false += any(gap.sign is not Sign.UNTOLD for part in found.slices for gap in part.rest)
    assert false <= 2  # 5 % of twelve are 0.6; unadjusted it is about five


def test_two_columns_are_crossed_and_numbers_are_cut_at_quartiles():
    columns = {
        "sex": np.array(["f", "m"] * 50, object),
        "age": np.append(np.arange(99.0), np.nan),
        "old": np.array([True] * 100),
    }
    found = cut(columns, ["sex*old", "age", "sex"])
    names = [part.name for part in found]
    assert names[:2] == ["sex=f, old=True", "sex=m, old=True"]
    assert names[-2:] == ["sex=f", "sex=m"]
    ages = {part.name: len(part.rows) for part in found if part.keys[0][0] == "age"}
    assert ages == {
        "age=24.5 to 49": 25,
        "age=<= 24.5": 25,
        "age=49 to 73.5": 24,
        "age=> 73.5": 25,
        "age=missing": 1,
    }
    assert sorted(np.concatenate([p.rows for p in found[:2]]).tolist()) == list(range(100))


@pytest.mark.parametrize(
    "case",
    [
        (["town"], "no column 'town'"),
        (["a*b*c"], "one column, or two"),
        (["a*a"], "one column, or two"),
        (["id*a"], "more than 500 slices"),
        (["lists"], "has lists"),
    ],
)
def test_slices_that_cannot_be(case):
    by, message = case
    names = np.array([f"n{i}" for i in range(600)], object)
    columns = {"a": np.arange(600) % 2, "id": names, "lists": np.zeros((600, 2))}
    with pytest.raises(InvalidError, match=message):
        cut(columns, by)


def test_a_baseline_on_the_same_rows_is_told_apart_sooner():
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 2, 1500)
    hard = generator.random(1500) < 0.2
    said = np.where(hard & (generator.random(1500) < 0.5), 1 - truth, truth)
    fixed = hard & (said != truth) & (generator.random(1500) < 0.3)
    better = np.where(fixed, truth, said)
    new, old = rows.binary(truth, labels=better), rows.binary(truth, labels=said)
    paired = {g.metric: g for g in evaluate(new, baseline=Baseline(old, paired=True)).baseline}
    apart = {g.metric: g for g in evaluate(new, baseline=Baseline(old, paired=False)).baseline}
    assert paired["accuracy"].sign is Sign.BETTER
    assert paired["accuracy"].value == pytest.approx(fixed.mean())
    for name, gap in paired.items():
        assert gap.high - gap.low < 0.75 * (apart[name].high - apart[name].low), name


def test_a_version_does_not_differ_from_itself():
    truth, said, _ = answered(500)
    given = rows.binary(truth, labels=said)
    found = evaluate(given, baseline=Baseline(given, paired=True))
    assert {gap.sign for gap in found.baseline} == {Sign.UNTOLD}
    assert {(gap.low, gap.high) for gap in found.baseline} == {(0.0, 0.0)}


@pytest.mark.parametrize("metric", ["rmse", "r2", "median_ae", "bias"])
def test_differences_on_the_same_rows_hold_the_truth_about_as_often_as_they_say(metric):
    generator = np.random.default_rng(2)
    big = generator.normal(size=(3, 50_000))
    large = rows.regression(big[0], big[0] + 0.5 * big[1])
    other = rows.regression(big[0], big[0] + 0.5 * big[1] + 0.2 * big[2] + 0.05)
    options = Options(only=(metric,))
    wanted = measure(large, options)[metric].value - measure(other, options)[metric].value
    held = 0
    for _ in range(25):
        y, e, d = generator.normal(size=(3, 150))
        left = measure(rows.regression(y, y + 0.5 * e), options)[metric]
        right = measure(rows.regression(y, y + 0.5 * e + 0.2 * d + 0.05), options)[metric]
        found = difference(left, right, paired=True)
        held += found.low <= wanted <= found.high
    assert held >= 21  # 95 % of 25 are 24


def test_another_task_is_no_baseline():
    left, right = rows.regression([1, 2], [1, 2]), rows.binary([0, 1], labels=[0, 1])
    with pytest.raises(InvalidError, match="another task"):
        evaluate(left, baseline=Baseline(right, paired=False))


def test_what_is_to_be_known_is_noted():
    found = evaluate(rows.regression([0, 1, 2], [1, 1, 1]))
    assert "mape leaves out 1 rows whose truth is 0" in found.notes
    found = evaluate(rows.ranking([1, 0], [1, 2], ["a", "b"]))
    assert "1 of 2 queries have no relevant item: left out" in found.notes
    found = evaluate(rows.binary([0, 0], scores=[0.1, 0.7]))
    assert "roc_auc" in found.notes[0]
    assert found.confusion == ((1.0, 1.0), (0.0, 0.0))
    assert [b.count for b in found.calibration] == [1, 1]
    assert math.isnan(next(f for f in found.figures if f.metric == "recall").value)
