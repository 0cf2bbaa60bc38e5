"""Intervals against scipy's and published ones, and how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from modelworks.stats.intervals import (
    Estimate,
    Scale,
    adjusted,
    basic,
    bca,
    combined,
    difference,
    kish,
    mean,
    quantile,
    resampled,
    wald,
    wilson,
)
from modelworks.stats.student import beta_below, t_below, t_quantile

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("freedom", [1, 2, 3.5, 9, 30, 1000, 1e5])
def test_student_is_scipys(freedom):
    for share in (0.01, 0.4, 0.5, 0.9, 0.975, 0.9999):
        assert t_quantile(share, freedom) == pytest.approx(
            stats.t.ppf(share, freedom), rel=1e-9, abs=1e-9
        )
    for value in (-3.0, -0.2, 0.0, 1.5):
        assert t_below(value, freedom) == pytest.approx(stats.t.cdf(value, freedom), rel=1e-9)


@pytest.mark.parametrize("place", [0.0, 1e-6, 0.3, 0.7, 0.999, 1.0])
def test_the_incomplete_beta_function_is_scipys(place):
    for first, second in ((0.5, 0.5), (2, 7), (80, 3)):
        wanted = stats.beta.cdf(place, first, second)
        assert beta_below(place, first, second) == pytest.approx(wanted, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("case", [[0, 10], [3, 10], [10, 10], [81, 263], [1, 1], [999, 1000]])
def test_wilson_is_scipys(case):
    successes, count = case
    for level in (0.8, 0.95, 0.999):
        found = wilson(successes / count, count, level)
        wanted = stats.binomtest(successes, count).proportion_ci(level, "wilson")
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert math.isnan(wilson(math.nan, 0).value)


def test_newcombes_published_differences():
    # Statistics in Medicine 17 (1998), 873: 56/70 - 48/80 by method 10 is 0.0524 to 0.3339
    found = difference(wilson(56 / 70, 70), wilson(48 / 80, 80))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    # his second example, 9/10 - 3/10: 0.1705 to 0.8090
    found = difference(wilson(0.9, 10), wilson(0.3, 10))
    assert (found.low, found.high) == pytest.approx((0.1705, 0.8090), abs=5e-5)


def test_estimates_that_move_together_differ_by_less():
    one, other = wilson(0.8, 100), wilson(0.75, 100)
    apart, together = difference(one, other), difference(one, other, 0.9)
    assert together.high - together.low < 0.5 * (apart.high - apart.low)
    plain = wald(0.8, 0.1, Scale.PLAIN)
    same = difference(plain, plain, 1.0)
    assert (same.low, same.high) == pytest.approx((0, 0), abs=1e-12)


def test_a_sum_of_normal_intervals_is_the_normal_interval_of_the_sum():
    parts = [wald(v, e, Scale.PLAIN) for v, e in ((1.0, 0.1), (2.0, 0.2))]
    found = combined(parts, [0.5, -2.0], np.array([[1, 0.3], [0.3, 1]]))
    error = math.sqrt(0.05**2 + 0.4**2 - 2 * 0.3 * 0.05 * 0.4)
    wanted = stats.norm.interval(0.95, -3.5, error)
    assert (found.low, found.high) == pytest.approx(wanted)
    broken = combined([parts[0], Estimate(1, math.nan, math.nan, "")], [1, 1])
    assert broken.value == 2
    assert math.isnan(broken.low)


def test_a_mean_has_students_interval():
    values = np.array([3.0, 4.5, 1.0, 7.0])
    error = values.std(ddof=1) / 2
    found = mean(values.mean(), error, 4, 0.9)
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.9, 3, 3.875, error))
    assert math.isnan(mean(1.0, 0.0, 1).low)


@pytest.mark.parametrize("scale", list(Scale))
def test_scales_agree_where_errors_are_small_and_keep_their_bounds_where_not(scale):
    small = wald(0.6, 1e-4, scale)
    assert (small.low, small.high) == pytest.approx((0.6 - 1.96e-4, 0.6 + 1.96e-4), abs=1e-7)
    wide = wald(0.9, 0.5, scale)
    lowest, highest = {
        Scale.PLAIN: (-9, 9),
        Scale.LOG: (0, 9),
        Scale.LOGIT: (0, 1),
        Scale.FISHER: (-1, 1),
    }[scale]
    assert lowest <= wide.low < 0.9 < wide.high <= highest


def test_bca_is_scipys():
    values = np.random.default_rng(1).exponential(size=60)
    found = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=4000, rng=np.random.default_rng(2)
    )
    replicates = resampled(60, 4000, 5) @ values / 60
    ours = bca(values.mean(), replicates, values - values.mean())
    low, high = found.confidence_interval
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=0.02)
    skewed = np.median(replicates)
    assert ours.high - skewed > skewed - ours.low  # and not the plain one


def test_what_resampling_cannot_say_is_not_said():
    replicates = np.full(100, np.nan)
    assert math.isnan(bca(1.0, replicates, np.ones(3)).low)
    assert math.isnan(basic(1.0, replicates).low)
    assert bca(1.0, np.ones(100), np.zeros(3)).method != "bca"


def test_the_basic_interval_takes_off_a_bias():
    replicates = np.random.default_rng(0).normal(1.2, 0.1, 4000)  # of an estimate that was 1.1
    found = basic(1.1, replicates)
    assert (found.low + found.high) / 2 == pytest.approx(1.0, abs=0.01)


def test_the_medians_interval_holds_it_about_as_often_as_it_says():
    generator = np.random.default_rng(4)
    samples = generator.exponential(size=(400, 80))
    found = [quantile(row, 0.5) for row in samples]
    held = sum(one.low <= math.log(2) <= one.high for one in found)
    assert 372 <= held <= 398
    assert math.isnan(quantile([1.0, 2.0], 0.5).low)
    assert math.isnan(quantile([], 0.5).value)


def test_levels_and_effective_counts():
    assert adjusted(0.95, 10) == pytest.approx(0.995)
    assert adjusted(0.95, 0) == 0.95
    assert kish(np.ones(7)) == pytest.approx(7)
    assert kish(np.array([1.0, 0.0])) == pytest.approx(1)
    assert kish(np.zeros(2)) == 0
