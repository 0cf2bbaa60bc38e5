"""The bets are fair: exact expectations over all outcomes of small samples."""

import math
from itertools import product

import numpy as np
import pytest

from modelworks.stats.sequences import betting, means, quantiles, rates, split
from modelworks.stats.sequences.tilts import log_evidence, mixture


@pytest.mark.parametrize("rate", [0.001, 0.2, 0.9])
def test_a_likelihood_ratio_of_rates_is_one_on_average(rate):
    mixed = rates._mixed(rates.aim_at(0.01, 0.05))
    at = np.array([rate])
    found = sum(
        math.comb(3, k)
        * rate**k
        * (1 - rate) ** (3 - k)
        * np.exp(rates.exponents(mixed, k, 3)(at)[0])
        for k in range(4)
    )
    assert found == pytest.approx(np.ones(len(mixed.tilts)), rel=1e-9)


def test_a_mixture_of_both_arms_is_one_on_average():
    mixed = rates._mixed(rates.aim_at(0.1, 0.3, 0.2))
    assert np.exp(mixed.weights).sum() == pytest.approx(1)
    first, second, total = 0.3, 0.45, 0.0
    for one, other in product(range(4), range(3)):
        chance = math.comb(3, one) * first**one * (1 - first) ** (3 - one)
        chance *= math.comb(2, other) * second**other * (1 - second) ** (2 - other)
        arms = [
            rates.exponents(mixed, k, n)(np.array([p]))[0]
            for k, n, p in ((one, 3, first), (other, 2, second))
        ]
        total += chance * math.exp(log_evidence(mixed, *arms))
    assert total == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("low", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("high", [0.41, 0.7, 1.0])
def test_bernsteins_exponent_of_any_two_points_is_not_above_one_on_average(low, high):
    mixed = means._mixed(means.aim_at(0.2, 0.05))
    closest = 0.0
    for share in (0.001, 0.05, 0.3, 0.5, 0.8, 0.999):
        mean = share * high + (1 - share) * low
        found = sum(
            chance * np.exp(means.exponents(mixed, 1, x, x * x)(np.array([mean]))[0])
            for chance, x in ((share, high), (1 - share, low))
        )
        assert (found <= 1 + 1e-9).all()
        closest = max(closest, float(found[1:].max()))
    assert closest > 0.99  # and not far below: little is given away


@pytest.mark.parametrize("below", [0.0, 0.5, 0.89])
def test_a_quantiles_exponent_is_not_above_one_wherever_the_quantile_lies_in_its_bucket(below):
    q, mixed = 0.9, mixture(quantiles.LARGEST, quantiles.SMALLEST)
    laws = {1.0: below, 2.0: 0.95 - below, 3.0: 0.05}  # the quantile lies in (1, 2]
    found = sum(
        chance * np.exp(quantiles._exponents({b: int(b == bound) for b in laws}, q, mixed)[2][1])
        for bound, chance in laws.items()
    )
    assert (found <= 1 + 1e-9).all()


def test_a_fortune_is_one_on_average_after_any_rows():
    share, points = 0.3, (0.1, 0.8)
    mean = share * points[1] + (1 - share) * points[0]
    up = down = 0.0
    for picks in product((0, 1), repeat=9):
        chance = math.prod(share if pick else 1 - share for pick in picks)
        nothing = np.zeros(1)
        start = betting.Fortunes(*(0.95, np.array([mean]), nothing, nothing, 0, 0.0, 0.0, 0.0, 1.0))
        found = start.after([points[pick] for pick in picks])
        up += chance * math.exp(found.up[0])
        down += chance * math.exp(found.down[0])
    assert (up, down) == pytest.approx((1, 1), rel=1e-9)


def test_a_mismatch_is_one_on_average():
    shares, total = [0.6, 0.3, 0.1], 0.0
    for a, b in product(range(7), repeat=2):
        if a + b <= 6:
            counts = [a, b, 6 - a - b]
            ways = math.factorial(6) / math.prod(map(math.factorial, counts))
            chance = ways * math.prod(p**k for p, k in zip(shares, counts, strict=True))
            total += chance * split.mismatch(counts, shares, 5.0)
    assert total == pytest.approx(1, rel=1e-9)
