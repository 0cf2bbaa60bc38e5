"""A bandit's shares: the chance to be the best, over a floor, from rewards that are final."""

import numpy as np
import pytest
from scipy.stats import beta

from modelworks.core.rollouts import (
    ArmEvidence,
    Direction,
    Kind,
    Metric,
    Plan,
    Step,
    Strategy,
    Sums,
)
from modelworks.rollout.bandit import FLOOR, chances, shares

pytestmark = pytest.mark.unit
CLICKS = Metric("clicks", Kind.RATE, Direction.HIGHER, 0.01)
MONEY = Metric("revenue", Kind.MEAN, Direction.HIGHER, 0.1, low=0.0, high=0.0)
PLAN = Plan("b", "shop", "a", ("b", "c"), Strategy.BANDIT, (Step(0.5),), CLICKS)


def test_the_chance_to_be_the_best_is_that_of_drawing_from_the_posteriors():
    arms = [(100, 10), (80, 12), (500, 55)]
    rng = np.random.default_rng(2)
    drawn = np.stack([beta(k + 1, n - k + 1).rvs(200_000, random_state=rng) for n, k in arms])
    wanted = np.bincount(drawn.argmax(0), minlength=3) / 200_000
    found = chances(CLICKS, [Sums(n, k) for n, k in arms])
    assert found == pytest.approx(wanted, abs=0.005)
    lowest = chances(
        Metric("errors", Kind.RATE, Direction.LOWER, 0.01), [Sums(n, k) for n, k in arms]
    )
    assert lowest == pytest.approx(np.bincount(drawn.argmin(0), minlength=3) / 200_000, abs=0.005)


def test_very_many_and_very_few_rewards_go_together():
    found = chances(CLICKS, [Sums(10_000_000, 1_000_000), Sums(0, 0)])
    assert found == pytest.approx([0.1, 0.9], abs=0.01)  # an even prior is above 0.1 so often


def test_means_need_two_rewards_of_each():
    assert chances(MONEY, [Sums(100, 1_000.0, 11_000.0), Sums(1, 50.0, 2_500.0)]) == [0.5, 0.5]
    found = chances(MONEY, [Sums(400, 4_000.0, 44_000.0), Sums(400, 4_400.0, 52_400.0)])
    assert found[1] > 0.98


def test_every_arm_keeps_its_floor_and_all_add_up_to_one():
    arms = [
        ArmEvidence(name, 1_000, metrics={"clicks": Sums(1_000, 1_000 * rate)})
        for name, rate in (("a", 0.1), ("b", 0.3), ("c", 0.1))
    ]
    found = shares(PLAN, arms)
    assert sum(found.values()) == pytest.approx(1.0)
    assert found["a"] == pytest.approx(FLOOR, abs=1e-6)
    assert found["b"] == pytest.approx(1 - 2 * FLOOR, abs=1e-6)
    assert shares(PLAN, [ArmEvidence(n, 0) for n in "abc"]) == pytest.approx(
        dict.fromkeys("abc", 1 / 3)
    )


def test_the_better_arm_gets_the_traffic_though_rewards_come_late():
    rng, late, rounds = np.random.default_rng(8), 10, 200
    truths, share = np.array([0.10, 0.14]), np.array([0.5, 0.5])
    sent, clicked = np.zeros((rounds, 2)), np.zeros((rounds, 2))
    for turn in range(rounds):
        sent[turn] = rng.multinomial(100, share)
        clicked[turn] = rng.binomial(sent[turn].astype(int), truths)
        final = slice(0, max(0, turn - late))
        sums = [Sums(int(sent[final, k].sum()), float(clicked[final, k].sum())) for k in (0, 1)]
        share = np.array(chances(CLICKS, sums)) * 0.9 + 0.05
    assert share[1] > 0.9
    assert clicked.sum() > 1.05 * rounds * 100 * truths.mean()
