"""Group-sequential bounds beside another program's, and rows that give the power they promise."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.stats.designs.bounds import (
    Bounds,
    Call,
    efficacy,
    non_inferiority,
    superiority,
    with_futility,
)
from modelworks.stats.designs.sizes import Method, Question, plan, power, rate_question
from modelworks.stats.designs.spending import Shape, Spending

ORACLES = json.loads(
    (Path(__file__).parents[2] / "data" / "statistics" / "oracles.json").read_text()
)
QUARTERS = [0.25, 0.5, 0.75, 1.0]


def test_bounds_are_those_of_spotify_confidence():
    for case in ORACLES["sequential"]:
        spending = Spending(Shape.POWER, case["power"])
        found = efficacy(case["times"], case["alpha"], spending)
        # it stops within 1e-7 of a chance: of a chance of 1e-6 that is much in the z-value
        exact = [chance > 1e-5 for chance in spending.each(case["alpha"], case["times"])]
        assert any(exact)
        for ours, theirs, close in zip(found.upper, case["upper"], exact, strict=True):
            assert ours == pytest.approx(theirs, abs=2e-3 if close else 0.2)


def test_bounds_are_those_of_the_tables():
    # Lan and DeMets' spending, five looks, one-sided 0.025: Jennison and Turnbull's and ldbounds'
    found = efficacy([0.2, 0.4, 0.6, 0.8, 1.0], 0.025)
    assert found.upper == pytest.approx((4.8769, 3.3569, 2.6803, 2.2898, 2.0310), abs=2e-4)
    pocock = efficacy([0.2, 0.4, 0.6, 0.8, 1.0], 0.025, Spending(Shape.POCOCK))
    assert pocock.upper == pytest.approx((2.4380, 2.4268, 2.4101, 2.3966, 2.3859), abs=2e-4)


@pytest.mark.parametrize("shape", list(Shape))
def test_no_more_than_alpha_is_spent_and_the_power_is_what_was_asked(shape):
    spending = Spending(shape)
    bounds = with_futility(QUARTERS, 0.05, 0.2, spending, spending, binding=True)
    assert sum(bounds.chances(0.0)[0]) == pytest.approx(0.05, abs=1e-6)
    assert sum(bounds.chances(bounds.drift)[0]) == pytest.approx(0.8, abs=1e-6)
    rng = np.random.default_rng(1)
    steps = rng.standard_normal((40_000, 4)) / 2
    for drift, wanted in ((0.0, 0.05), (bounds.drift, 0.8)):
        z = ((steps + drift / 4).cumsum(1)) / np.sqrt(QUARTERS)
        assert _proved(bounds, z) == pytest.approx(wanted, abs=4 * math.sqrt(wanted / 40_000))


def test_who_goes_on_below_a_bound_that_does_not_bind_keeps_alpha():
    bounds = with_futility(QUARTERS, 0.025, 0.1)
    plain = efficacy(QUARTERS, 0.025)
    assert bounds.upper == pytest.approx(plain.upper)
    assert bounds.lower[-1] == bounds.upper[-1]
    assert bounds.lower[0] < bounds.lower[1] < bounds.lower[2]
    assert sum(bounds.chances(bounds.drift)[0]) == pytest.approx(0.9, abs=1e-6)
    assert sum(bounds.chances(0.0)[0]) < 0.025
    assert bounds.expected_time(0.0) < 0.7
    binding = with_futility(QUARTERS, 0.025, 0.1, binding=True)
    assert binding.upper[-1] < bounds.upper[-1]
    assert binding.drift < bounds.drift


def _proved(bounds, z):
    over, under = z >= bounds.upper, z < bounds.lower
    first_over = np.where(over.any(1), over.argmax(1), 99)
    first_under = np.where(under.any(1), under.argmax(1), 99)
    return (first_over < np.minimum(first_under, 99)).mean()


def test_a_look_is_judged():
    bounds = Bounds((0.5, 1.0), (2.8, 2.0), (0.3, 2.0))
    assert bounds.judge(0, superiority(0.03, 0.01)) is Call.PROVED
    assert bounds.judge(0, 1.0) is Call.GO_ON
    assert bounds.judge(0, superiority(-0.01, 0.01)) is Call.FUTILE
    assert bounds.judge(1, 1.9) is Call.NOT_PROVED
    # no worse by half a point: a tenth of a point worse is proved to be harmless, half is not
    assert bounds.judge(1, non_inferiority(-0.001, 0.002, 0.005)) is Call.PROVED
    assert bounds.judge(1, non_inferiority(-0.005, 0.002, 0.005)) is Call.NOT_PROVED


def test_what_is_no_design_is_refused():
    for times in ([], [0.5, 0.5], [0.0, 1.0], [0.5, 1.2]):
        with pytest.raises(InvalidError, match="times"):
            efficacy(times, 0.05)
    with pytest.raises(InvalidError, match="last look"):
        with_futility([0.5, 0.9], 0.05, 0.2)
    with pytest.raises(InvalidError, match="alpha"):
        efficacy([1.0], 0.7)
    for broken in ({"effect": 0.0}, {"share": 1.0}, {"alpha": 0.9}, {"power": 0.0}):
        with pytest.raises(InvalidError) as caught:
            Question(**{"effect": 1.0, "stable_variance": 1.0, "candidate_variance": 1.0} | broken)
        assert caught.value.field == next(iter(broken))


def test_rows_are_those_of_statsmodels():
    for case in ORACLES["sizes"]:
        share = case["ratio"] / (1 + case["ratio"])
        question = Question(case["effect"], 1.0, 1.0, share, case["alpha"], case["power"])
        assert plan(question, Method.FIXED).stable == math.ceil(case["first"])


def test_every_method_has_the_power_that_its_rows_promise():
    question = rate_question(0.05, 0.01, alpha=0.025, power=0.9)
    found = {method: plan(question, method, per_second=10) for method in Method}
    fixed, group, always = (found[method] for method in Method)
    assert fixed.rows < group.rows < always.rows
    assert group.expected < fixed.expected
    assert always.expected < always.rows / 1.5
    for method, needed in found.items():
        assert power(question, needed.rows, method) == pytest.approx(0.9, abs=0.005)
        assert needed.seconds == pytest.approx(needed.rows / 10, rel=1e-3)
    assert plan(question).seconds == math.inf
    uneven = plan(rate_question(0.05, 0.01, share=0.1), Method.FIXED)
    assert uneven.candidate == pytest.approx(uneven.stable / 9, rel=1e-2)
    assert uneven.rows > 2 * plan(rate_question(0.05, 0.01), Method.FIXED).rows


def test_rows_of_a_group_sequential_plan_keep_their_word_on_simulated_rates():
    question = rate_question(0.1, 0.0, margin=0.03, alpha=0.05, power=0.8)
    needed = plan(question, Method.GROUP_SEQUENTIAL)
    bounds = efficacy([0.2, 0.4, 0.6, 0.8, 1.0], 0.05)
    rng = np.random.default_rng(2)
    for rate, wanted in ((0.1, 0.8), (0.13, 0.05)):
        events = [
            rng.binomial(arm // 5, p, (3000, 5)).cumsum(1)
            for arm, p in ((needed.stable, 0.1), (needed.candidate, rate))
        ]
        rows = [arm // 5 * np.arange(1, 6) for arm in (needed.stable, needed.candidate)]
        shares = [e / n for e, n in zip(events, rows, strict=True)]
        error = np.sqrt(sum(p * (1 - p) / n for p, n in zip(shares, rows, strict=True)))
        z = (shares[0] - shares[1] + 0.03) / error
        found = (z >= bounds.upper).any(1).mean()
        assert found == pytest.approx(wanted, abs=4 * math.sqrt(wanted / 3000))


def test_an_always_valid_plan_spends_most_of_one_side():
    nothing = Question(1e-9, 0.25, 0.25, alpha=0.05)
    found = power(nothing, 1000, Method.ALWAYS_VALID)
    assert 0.015 < found < 0.05  # the rest is for looks after the horizon
