"""The whole controller on made-up traffic, look by look: its errors, its speed, its courses.

The full form is `make sims`: 10,000 roll-outs.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from modelworks.core.rollouts import (
    Direction,
    Kind,
    Metric,
    OnInconclusive,
    Phase,
    Plan,
    Step,
    Strategy,
)
from modelworks.testing.rollouts import Fixed, Truth, simulate

pytestmark = pytest.mark.unit
MARGIN = 0.005
PLAN = Plan(
    "sim",
    "fraud",
    "v3",
    ("v4",),
    Strategy.CANARY,
    (Step(0.05, 60.0), Step(0.5, 60.0), Step(1.0)),
    Metric("error_rate", Kind.RATE, Direction.LOWER, MARGIN),
    guardrails=(Metric("accuracy", Kind.RATE, Direction.HIGHER, 0.02),),
    most_s=1800.0,
)
GOOD = Truth()
LOOKS = [2, 4, 8, 16, 30, 60, 120, 240, 480]


def ends(plan, candidate, times, rate=100.0, looks=LOOKS, stable=GOOD, seed=1):
    return [
        simulate(
            plan,
            {"v3": stable, "v4": candidate},
            rate,
            looks,
            np.random.default_rng([seed, run]),
        )
        for run in range(times)
    ]


def lower(hits, times):
    """99 % bound (Clopper and Pearson)."""
    return beta.ppf(0.01, hits, times - hits + 1) if hits else 0.0


def test_what_is_worse_by_the_margin_is_neither_promoted_nor_rolled_back_too_often():
    risky = replace(PLAN, false_rollback=0.05, false_promotion=0.05)
    found = ends(risky, Truth(error_rate=GOOD.error_rate + MARGIN), 120)
    for phase in (Phase.ROLLED_BACK, Phase.PROMOTED):
        assert lower(sum(one.phase is phase for one in found), 120) <= 0.05


def test_the_bound_would_see_a_controller_that_errs():
    """A quarter of the margin worse is no harm, and promoted: more often than such a risk."""
    risky = replace(PLAN, false_promotion=0.05)
    found = ends(risky, Truth(error_rate=GOOD.error_rate + MARGIN / 4), 30)
    assert lower(sum(one.phase is Phase.PROMOTED for one in found), 30) > 0.05


def test_what_is_as_good_is_promoted_after_all_steps():
    found = ends(PLAN, GOOD, 30)
    assert {one.phase for one in found} == {Phase.PROMOTED}
    assert all(one.seconds >= 120 for one in found)


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_a_broken_candidate_gets_few_requests(share):
    """20 % errors at 100 requests a second: within 60 requests of the candidate, median."""
    plan = replace(PLAN, steps=(Step(share, 60.0), Step(0.5, 60.0), Step(1.0)))
    found = ends(plan, Truth(error_rate=0.2), 40, looks=[0.5])
    assert {one.phase for one in found} == {Phase.ROLLED_BACK}
    assert np.median([one.requests for one in found]) <= 60


def test_one_slice_that_is_worse_is_rolled_back():
    even = {"country=de": 0.005, "country=fr": 0.005}
    plan = replace(PLAN, guardrails=(), slices=tuple(even))
    stable, worse = Truth(slices=even), Truth(slices=even | {"country=fr": 0.08})
    found = ends(plan, worse, 15, stable=stable)
    assert {one.phase for one in found} == {Phase.ROLLED_BACK}
    assert sum("country=fr" in one.reason for one in found) >= 12
    assert {one.phase for one in ends(plan, stable, 8, stable=stable)} == {Phase.PROMOTED}


@pytest.mark.parametrize("wanted", [OnInconclusive.HOLD, OnInconclusive.PROMOTE])
def test_no_traffic_is_inconclusive(wanted):
    (found,) = ends(replace(PLAN, on_inconclusive=wanted), GOOD, 1, rate=0.0)
    assert (found.phase, found.requests) == (Phase.INCONCLUSIVE, 0)
    assert "no request reached the new version" in found.reason


def test_a_fixed_threshold_rolls_back_on_noise():
    nervous = Fixed("nervous", 10.0, 0.01, 1)
    runs = list(nervous.runs(GOOD.error_rate, 10.0, 3600.0, np.random.default_rng(3), 200))
    assert np.isfinite([seconds for seconds, _ in runs]).mean() > 0.9
    never = list(Fixed("blind", 10.0, 0.5, 1).runs(0.1, 10.0, 600.0, np.random.default_rng(3), 50))
    assert not np.isfinite([seconds for seconds, _ in never]).any()
