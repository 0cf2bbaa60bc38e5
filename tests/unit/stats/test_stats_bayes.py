"""Posteriors, bandits with late rewards, and covariates from before."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.stats import cuped
from modelworks.stats.bandits import Arm, seen, thompson, ucb
from modelworks.stats.multiple import benjamini_hochberg, holm, holm_found, holm_levels
from modelworks.stats.posterior import Beta, better, expected_loss
from modelworks.stats.sequences.means import half_width

ORACLES = json.loads(
    (Path(__file__).parents[2] / "data" / "statistics" / "oracles.json").read_text()
)


def test_chances_and_losses_are_those_of_scipys_integrals():
    for case in ORACLES["posterior"]:
        stable, candidate = Beta(*case["one"]), Beta(*case["other"])
        assert better(stable, candidate) == pytest.approx(case["better"], abs=1e-5)
        assert expected_loss(stable, candidate) == pytest.approx(case["loss"], abs=1e-6)
        assert better(candidate, stable) == pytest.approx(1 - case["better"], abs=1e-5)
    assert Beta().after(3, 10) == Beta(4.0, 8.0)
    with pytest.raises(InvalidError, match="above 0"):
        Beta(0.0, 1.0)


def test_a_posteriors_chance_is_the_share_of_worlds_where_it_is_so():
    rng = np.random.default_rng(1)
    truth = rng.beta(2, 8, (2, 1500))
    events = rng.binomial(200, truth)
    told = [
        better(Beta(2 + a, 8 + 200 - a), Beta(2 + b, 8 + 200 - b)) for a, b in events.T.tolist()
    ]
    sure = np.array(told) > 0.9
    assert sure.sum() > 200
    right = (truth[1] > truth[0])[sure].mean()
    assert right == pytest.approx(np.array(told)[sure].mean(), abs=0.03)


def test_thompson_gives_an_arm_the_chance_that_it_is_the_best():
    shares = thompson([Arm(12, 200), Arm(25, 200)], draws=100_000)
    assert shares[1] == pytest.approx(better(Beta(13, 189), Beta(26, 176)), abs=0.01)
    assert sum(shares) == pytest.approx(1)
    held = thompson([Arm(1, 2000), Arm(900, 2000), Arm(1, 2000)], floor=0.1)
    assert held == pytest.approx((0.1, 0.8, 0.1))
    assert thompson([Arm(0, 0, 500), Arm(0, 0)])[0] == pytest.approx(0.5, abs=0.02)


def test_bounds_spread_a_batch_over_arms_that_are_alike_and_wait_for_no_reward():
    assert ucb([Arm(10, 100), Arm(10, 100)]) == pytest.approx((0.5, 0.5))
    fresh = ucb([Arm(10, 100), Arm(0, 0, 5000)], batch=100)
    assert fresh[1] > 0.9  # unknown: worth a look
    waiting = ucb([Arm(90, 100), Arm(0, 0, 10**6)], batch=100)
    assert waiting[0] < 1 or waiting[1] < 1
    assert ucb([Arm(900, 1000), Arm(100, 1000)], floor=0.05)[1] == pytest.approx(0.05)
    # what is pending has been tried, so that the other one is tried sooner
    assert ucb([Arm(50, 100), Arm(50, 100, 300)], batch=100)[0] == 1.0


def test_rewards_that_may_still_come_do_not_count_as_failures():
    ages = [10.0] * 50 + [1e6] * 50
    arm = seen(20, ages, lambda age: 1 - math.exp(-age / 3600))
    assert arm.resolved == pytest.approx(50 + 50 * (1 - math.exp(-10 / 3600)))
    assert arm.pending == pytest.approx(100 - arm.resolved)
    rng = np.random.default_rng(2)
    age = rng.uniform(0, 2, 4000)
    came = (rng.random(4000) < 0.3) & (rng.exponential(1.0, 4000) < age)
    found = seen(float(came.sum()), age.tolist(), lambda a: 1 - math.exp(-a))
    assert found.rewards / found.resolved == pytest.approx(0.3, abs=0.03)
    assert came.mean() < 0.2


@pytest.mark.parametrize("rule", [thompson, ucb])
def test_a_bandit_finds_the_best_arm_though_rewards_come_late(rule):
    rng, rates, delay = np.random.default_rng(3), (0.1, 0.3, 0.15), 3
    given, rewarded = [], []
    shares = (1 / 3,) * 3
    for step in range(30):
        counts = rng.multinomial(100, shares)
        given.append(counts)
        rewarded.append(rng.binomial(counts, rates))
        known = max(0, step + 1 - delay)
        arms = [
            Arm(
                float(sum(r[k] for r in rewarded[:known])),
                float(sum(g[k] for g in given[:known])),
                float(sum(g[k] for g in given[known:])),
            )
            for k in range(3)
        ]
        shares = (
            rule(arms, floor=0.02, draws=2000)
            if rule is thompson
            else rule(arms, floor=0.02, batch=100, width=0.25)
        )
    assert sum(g[1] for g in given) / 3000 > 0.6


def test_what_is_no_bandit_is_refused():
    with pytest.raises(InvalidError, match="at least one"):
        thompson([])
    with pytest.raises(InvalidError, match="floor"):
        ucb([Arm(0, 0)] * 3, floor=0.5)
    with pytest.raises(InvalidError, match="resolved"):
        Arm(3, 2)


def _sums(before, after):
    return cuped.Sums(
        *(len(after), after.sum(), (after**2).sum()),
        *(before.sum(), (before**2).sum(), (after * before).sum()),
    )


def test_the_past_is_taken_off_as_a_regression_does():
    case = ORACLES["cuped"]
    before, after = np.array(case["before"]), np.array(case["after"])
    found = cuped.adjusted(_sums(before[:300], after[:300]), _sums(before[300:], after[300:]))
    assert found.difference == pytest.approx(case["difference"], rel=1e-4)
    assert math.sqrt(found.variance) == pytest.approx(case["error"], rel=0.02)
    assert 0.1 < found.kept < 0.5
    with pytest.raises(InvalidError, match="fewer than three"):
        cuped.adjusted(_sums(before[:2], after[:2]), _sums(before, after))


def test_an_adjusted_sequence_is_missed_no_more_often_than_declared():
    rng = np.random.default_rng(4)
    looks, missed = np.unique(np.geomspace(80, 1500, 20).astype(int)), 0
    for _ in range(200):
        before = rng.gamma(2, 3, (2, 1500))
        after = 0.7 * before + rng.exponential(1.5, (2, 1500))
        for n in looks:
            found = cuped.adjusted(*(_sums(before[k, :n], after[k, :n]) for k in (0, 1)))
            if abs(found.difference) > half_width(found.variance, n / 2, 0.1, around=500):
                missed += 1
                break
    assert missed <= 200 * 0.1 + 3 * math.sqrt(200 * 0.1)


def test_adjusted_p_values_are_those_of_statsmodels():
    case = ORACLES["many"]
    assert holm(case["p"]) == pytest.approx(np.array(case["holm"]))
    assert benjamini_hochberg(case["p"]) == pytest.approx(np.array(case["bh"]))
    found = holm_found(lambda k, level: case["p"][k] <= level, len(case["p"]), case["alpha"])
    assert list(found) == case["found"]
    assert holm_levels(0.06, 3) == pytest.approx((0.02, 0.03, 0.06))


def test_holm_holds_the_chance_of_any_false_finding_while_others_are_true():
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(2000):
        p = rng.random(6)
        p[:3] /= 1e4  # three are so
        found = holm_found(lambda k, level, p=p: p[k] <= level, 6, 0.1)
        wrong += any(found[3:])
    assert wrong / 2000 == pytest.approx(0.1, abs=0.02)
