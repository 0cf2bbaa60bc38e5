"""How far distributions are apart: the truth stays inside at all looks; other programs' figures."""

import math

import numpy as np
import pytest
from scipy import stats

from modelworks.core.errors import InvalidError
from modelworks.stats.sequences import Between, distances

pytestmark = pytest.mark.unit
LOOKS = np.unique(np.geomspace(20, 3_000, 12).astype(int))


def test_the_samples_distance_is_scipys_and_that_at_one_time_lies_within():
    rng = np.random.default_rng(1)
    one, other = rng.normal(0, 1, 900), rng.normal(0.3, 1.2, 700)
    found, told = distances.numbers(one, other, 0.05)
    assert math.isclose(found, stats.ks_2samp(one, other).statistic, abs_tol=1e-12)
    at_once = sum(math.sqrt(math.log(2 / 0.025) / 2 / n) for n in (900, 700))  # DKW, once
    assert told.low < found - at_once < found + at_once < told.high
    ties = rng.integers(0, 4, 300).astype(float), rng.integers(0, 5, 300).astype(float)
    found, _ = distances.numbers(*ties, 0.05)
    assert math.isclose(found, stats.ks_2samp(*ties).statistic, abs_tol=1e-12)


def test_an_empirical_distribution_is_never_farther_off_than_told():
    """At a level where it would show: 30 %; the truth is uniform."""
    rng = np.random.default_rng(2)
    missed = 0
    wide = [distances.empirical(int(n), 0.3) for n in LOOKS]
    for _ in range(60):
        rows = rng.random(LOOKS[-1])
        for n, half in zip(LOOKS, wide, strict=True):
            steps = np.arange(n) / n
            some = np.sort(rows[:n])
            if max((steps + 1 / n - some).max(), (some - steps).max()) > half:
                missed += 1
                break
    assert missed / 60 <= 0.3
    assert distances.empirical(31, 0.3) == 1.0
    wide = [distances.empirical(n, 0.05) for n in (32, 100, 1_000, 10_000, 1_000_000)]
    assert wide == sorted(wide, reverse=True)
    for n, mine in zip((100, 1_000, 10_000), wide[1:4], strict=True):  # the price of all times
        assert 1.2 < mine / math.sqrt(math.log(40) / 2 / n) < 2.2


def test_a_true_distance_is_missed_no_more_often_than_declared():
    rng = np.random.default_rng(3)
    truth = 2 * stats.norm.cdf(0.25) - 1
    law, other_law = np.array([0.5, 0.4, 0.1]), np.array([0.4, 0.4, 0.2])
    missed = np.zeros(2)
    for _ in range(10):
        one, other = rng.normal(0, 1, 2_000), rng.normal(0.5, 1, 2_000)
        looks = (100, 2_000)
        missed[0] += any(
            not distances.numbers(one[:n], other[:n], 0.3)[1].holds(truth) for n in looks
        )
        counts = np.zeros((2, 3), int)
        wrong = False
        for before, n in zip((0, *looks), looks, strict=False):
            counts += [rng.multinomial(n - before, p) for p in (law, other_law)]
            wrong |= not distances.classes(*counts, 0.3)[1].holds(0.1)
        missed[1] += wrong
    assert (missed / 10 <= 0.3).all()


def test_much_is_known_of_many_rows():
    rng = np.random.default_rng(4)
    one, other = rng.normal(0, 1, 20_000), rng.normal(0.5, 1, 20_000)
    found, told = distances.numbers(one, other, 0.01)
    assert told.high - told.low < 0.1
    assert told.low > 0.1
    same = distances.numbers(one[:10_000], one[10_000:], 0.01)[1]
    assert same.low == 0.0
    assert same.high < 0.08
    assert found > 0.15


def test_a_rare_class_is_seen_and_two_classes_are_one_difference():
    _, told = distances.classes([4_990, 10, 0], [4_700, 295, 5], 0.01)
    assert 0.03 < told.low < 0.058 < told.high < 0.1
    found, told = distances.classes([900, 100], [700, 300], 0.01)
    assert math.isclose(found, 0.2)
    assert 0.1 < told.low < 0.2 < told.high < 0.3
    mirrored = distances.classes([100, 900], [300, 700], 0.01)[1]
    assert math.isclose(mirrored.low, told.low, abs_tol=2e-3)
    assert math.isclose(mirrored.high, told.high, abs_tol=2e-3)
    many = distances.classes([500] * 20, [480] * 10 + [520] * 10, 0.01)
    assert math.isclose(many[0], 0.02)
    assert many[1].low == 0.0
    assert many[1].high < 0.15
    _, same = distances.classes([900, 100], [880, 120], 0.01)
    assert same.low == 0.0


def test_nothing_is_said_of_nothing_and_broken_counts_are_refused():
    assert distances.numbers(np.zeros(0), np.ones(5), 0.05) == (0.0, Between(0.0, 1.0))
    assert distances.numbers(np.zeros(5), np.ones(5), 0.05) == (1.0, Between(0.0, 1.0))
    assert distances.classes([0, 0], [3, 1], 0.05) == (0.0, Between(0.0, 1.0))
    assert distances.classes([5], [9], 0.05) == (0.0, Between(0.0, 0.0))
    with pytest.raises(InvalidError, match="classes"):
        distances.classes([1, 2], [1, 2, 3], 0.05)
    with pytest.raises(InvalidError, match="classes"):
        distances.classes([1, -2], [1, 2], 0.05)
