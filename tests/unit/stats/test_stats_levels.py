"""Robust lines and levels against scipy, and the false alarms that a CUSUM states."""

import numpy as np
import pytest
from scipy.stats import median_abs_deviation, theilslopes

from modelworks.stats.levels import cusum, level, limit, run_length
from modelworks.stats.trend import theil_sen, thinned

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("seed", range(5))
def test_a_robust_line_is_scipys(seed):
    chance = np.random.default_rng(seed)
    x = np.sort(chance.uniform(0, 100, 40))
    y = 3 * x + chance.standard_t(2, 40).round(1)
    ours = theil_sen(x, y)
    slope, intercept, low, high = theilslopes(y, x, 0.95)
    assert (ours.slope, ours.intercept) == pytest.approx((slope, intercept), rel=1e-12)
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-12)


def test_a_quarter_of_bad_samples_bends_no_line():
    x = np.arange(100.0)
    y = 2 * x
    y[::4] = 1e6
    assert theil_sen(x, y).slope == pytest.approx(2.0)
    with pytest.raises(ValueError, match="two different x"):
        theil_sen([1.0, 1.0], [1.0, 2.0])


def test_thinning_keeps_the_line():
    x = np.arange(1003.0)
    few, medians = thinned(x, 5 * x + 1)
    assert len(few) <= 200
    assert theil_sen(few, medians).slope == pytest.approx(5.0)


def test_a_level_is_scipys_and_survives_many_that_are_the_same():
    values = np.random.default_rng(1).normal(10, 2, 101)
    found = level(values)
    assert found.centre == np.median(values)
    assert found.scale == pytest.approx(median_abs_deviation(values, scale="normal"), rel=1e-6)
    assert level([1.0, 1.0, 1.0, 5.0]).scale > 0
    same = level([1.0, 1.0])
    assert (same.z(1.0), same.z(2.0), same.z(0.0)) == (0.0, float("inf"), float("-inf"))


def test_false_alarms_come_as_rarely_as_stated_and_shifts_are_found_soon():
    height = limit(1.0, 500, both=False)
    chance = np.random.default_rng(7)

    def run(shift, most):
        up = 0.0
        for number, value in enumerate(chance.normal(shift, 1, most), 1):
            up = max(0.0, up + value - 0.5)
            if up > height:
                return number
        return most

    false = np.mean([run(0.0, 5000) for _ in range(150)])
    assert 350 < false < 700  # 500 stated; the mean of 150 runs scatters by 40
    found = np.mean([run(1.0, 500) for _ in range(150)])
    assert found == pytest.approx(run_length(height, 1.0, actual=1.0), rel=0.25)
    assert limit(1.0, 500, both=True) > height
    assert cusum([0.0, 3.0, 3.0], 1.0) == (5.0, 0.0)
