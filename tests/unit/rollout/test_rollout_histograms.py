"""Histograms made finer: no row is lost, what is fine stays, and tails are met."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.rollouts import Direction, Kind, Metric, Sums
from modelworks.rollout.compare import compare
from modelworks.rollout.histograms import quantile, refined

pytestmark = pytest.mark.unit
P99 = Metric("latency_p99_ms", Kind.QUANTILE, Direction.LOWER, 0.2, relative=True)
OCTAVES = [2.0**power for power in range(-2, 12)]
histograms = st.dictionaries(
    st.sampled_from([*OCTAVES, math.inf]), st.integers(0, 2_000), min_size=1, max_size=12
)


@given(histograms, st.sampled_from([0.5, 0.9, 0.99]), st.floats(1.01, 2.5))
def test_no_row_is_lost_and_bounds_keep_what_is_below_them(buckets, q, ratio):
    found = refined(buckets, q, ratio)
    assert min(found.values()) >= 0
    for bound in buckets:
        assert sum(n for b, n in found.items() if b <= bound) == sum(
            n for b, n in buckets.items() if b <= bound
        )


@given(histograms)
def test_what_is_fine_enough_stays(buckets):
    assert refined(buckets, 0.9, math.inf) == dict(sorted(buckets.items()))


def lognormal(rng, median, count):
    values = np.exp(rng.normal(math.log(median), 0.5, count))
    edges = [0.0, *OCTAVES]
    return dict(zip(OCTAVES, (int(n) for n in np.histogram(values, edges)[0]), strict=True))


@pytest.mark.parametrize("median", [9.0, 12.0, 15.0, 17.0])
def test_a_tail_is_met_within_a_few_percent(median):
    found = quantile(
        refined(lognormal(np.random.default_rng(1), median, 200_000), 0.99, 1.01), 0.99
    )
    assert found == pytest.approx(median * math.exp(0.5 * 2.3263), rel=0.12)


@pytest.mark.parametrize("median", [9.0, 12.0, 15.0, 17.0])
def test_octaves_are_enough_to_judge_a_fifth(median):
    """Alike passes, twice as slow is harmed, though both lie in buckets twice as wide as they."""
    rng, count = np.random.default_rng(2), 40_000
    stable, same, slow = (lognormal(rng, median * factor, count) for factor in (1.0, 1.0, 2.0))
    sums = [
        Sums(count, buckets={str(bound): n for bound, n in of.items()})
        for of in (stable, same, slow)
    ]
    assert compare(P99, sums[0], sums[1], 0.001, 0.05).passed
    found = compare(P99, sums[0], sums[2], 0.001, 0.05)
    assert (found.harmed, found.passed) == (True, False)
