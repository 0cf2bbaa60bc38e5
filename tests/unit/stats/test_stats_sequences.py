"""Confidence sequences of differences: they hold the truth at all looks, and they become narrow."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from modelworks.core.errors import InvalidError
from modelworks.stats.sequences import Between, means, quantiles, rates, ratios, split
from modelworks.stats.sequences.tilts import log_evidence

LOOKS = np.unique(np.geomspace(1, 20_000, 30).astype(int))


def missed(evidence, alpha):
    """Share of the experiments that are refuted at any look, and what three errors above is."""
    share = (np.asarray(evidence) >= -math.log(alpha)).any(axis=1).mean()
    return share, alpha + 3 * math.sqrt(alpha / len(evidence))


def paths(rng, rate, experiments, share=1.0):
    steps = np.diff(np.concatenate([[0], np.maximum(1, (LOOKS * share).astype(int))]))
    return rng.binomial(steps, rate, (experiments, len(steps))).cumsum(1), steps.cumsum()


@pytest.mark.parametrize(("rate", "share"), [(0.001, 1.0), (0.05, 0.1), (0.5, 1.0), (0.95, 3.0)])
def test_a_difference_of_rates_is_missed_no_more_often_than_declared(rate, share):
    rng = np.random.default_rng(1)
    one, n1 = paths(rng, rate, 100)
    other, n2 = paths(rng, rate, 100, share)
    n1, n2 = np.broadcast_to(n1, one.shape), np.broadcast_to(n2, one.shape)
    found, most = missed(rates.log_evidence((one, n1), (other, n2), 0.0), 0.2)
    assert found <= most
    assert (rates.log_evidence((one, n1), (other, n2), 0.04)[:, -1] > math.log(1e3)).mean() > 0.5


def test_an_interval_of_rates_is_where_the_evidence_ends():
    for counts in ((5, 1000, 4, 50), (500, 100_000, 560, 100_000), (0, 30, 9, 30), (2, 2, 1, 2)):
        found = rates.difference(*counts, 0.05)
        for end, out in ((found.low, -1e-3), (found.high, 1e-3)):
            if not abs(end) < 1:
                continue
            step = out * (found.high - found.low)
            assert rates.log_evidence(counts[:2], counts[2:], end + step) > math.log(20) - 0.02
            assert rates.log_evidence(counts[:2], counts[2:], end - 20 * step) < math.log(20)


def test_rates_of_nothing_say_nothing_and_broken_counts_are_refused():
    assert rates.difference(0, 0, 0, 0, 0.05) == Between(-1.0, 1.0)
    assert rates.difference(3, 1000, 0, 0, 0.05).high > 0.99
    with pytest.raises(InvalidError, match="5 events of 4 rows") as caught:
        rates.difference(0, 4, 5, 4, 0.05)
    assert caught.value.field == "candidate_events"
    with pytest.raises(InvalidError, match="alpha"):
        rates.difference(0, 4, 1, 4, 1.0)


def test_a_candidate_that_fails_every_fifth_time_is_found_within_sixty_rows():
    rng = np.random.default_rng(2)
    errors = rng.binomial(1, 0.2, (50, 60)).cumsum(1)
    rows = np.broadcast_to(np.arange(1, 61), errors.shape)
    shape = np.full(errors.shape, 1.0)
    evidence = rates.log_evidence((20 * shape, 4000 * shape), (errors, rows), 0.005)
    assert (evidence.max(1) >= math.log(1 / 0.001)).mean() > 0.5
    assert rates.difference(20, 4000, 12, 60, 0.001).low > 0.005


@pytest.mark.parametrize("law", ["beta", "two points", "rare"])
def test_a_difference_of_bounded_means_is_missed_no_more_often_than_declared(law):
    rng = np.random.default_rng(3)

    def draw():
        shape = (100, 2000)
        if law == "beta":
            x = rng.beta(2, 5, shape)
        elif law == "two points":
            x = rng.binomial(1, 0.3, shape).astype(float)
        else:
            x = rng.binomial(1, 0.01, shape) * rng.random(shape)
        looks = np.unique(np.geomspace(1, 2000, 20).astype(int)) - 1
        count = np.broadcast_to(looks + 1.0, (100, len(looks)))
        return count, x.cumsum(1)[:, looks], (x * x).cumsum(1)[:, looks]

    found, most = missed(means.log_evidence(draw(), draw(), 0.0), 0.2)
    assert found <= most


def test_means_do_not_depend_on_the_unit_and_refuse_figures_outside_their_bounds():
    rng = np.random.default_rng(4)
    x, y = rng.beta(2, 5, 3000), rng.beta(2, 4, 3000)
    one, other = ((len(v), v.sum(), (v * v).sum()) for v in (x, y))
    found = means.difference(one, other, 0.05, 0.0, 1.0)
    assert found.holds(2 / 6 - 2 / 7)
    assert 0 < found.low < y.mean() - x.mean() < found.high
    moved = [(len(v), (40 * v - 10).sum(), ((40 * v - 10) ** 2).sum()) for v in (x, y)]
    scaled = means.difference(*moved, 0.05, -10.0, 30.0)
    assert (scaled.low / 40, scaled.high / 40) == pytest.approx((found.low, found.high), rel=1e-4)
    with pytest.raises(InvalidError, match="lie outside -10 to 20"):
        means.difference((10, 250.0, 6300.0), moved[1], 0.05, -10, 20)
    with pytest.raises(InvalidError, match="not below"):
        means.difference(one, other, 0.05, 1.0, 1.0)


def test_the_asymptotic_sequences_are_missed_no_more_often_than_declared():
    rng = np.random.default_rng(5)
    x, y = rng.exponential(3.0, (2, 500, 8000))
    looks = np.unique(np.geomspace(means.FEWEST, 8000, 60).astype(int)) - 1
    n = looks + 1.0
    apart = (y.cumsum(1) - x.cumsum(1))[:, looks] / n
    variance = sum(
        ((v * v).cumsum(1)[:, looks] / n - (v.cumsum(1)[:, looks] / n) ** 2) / n for v in (x, y)
    )
    outside = np.abs(apart) > means.half_width(variance, n / 2, 0.1)
    assert outside.any(1).mean() <= 0.1 + 3 * math.sqrt(0.1 / 500)
    sums = [(8000, v[0].sum(), (v[0] ** 2).sum()) for v in (x, y)]
    found = means.difference_asymptotic(*sums, 0.1)
    assert found.high - found.low == pytest.approx(
        2 * means.half_width(variance[0, -1], 4000, 0.1), rel=1e-3
    )
    assert means.difference_asymptotic((9, 1.0, 1.0), sums[1], 0.1).high == math.inf


def test_a_half_width_is_least_where_it_is_asked_to_be():
    widths = [means.half_width(1 / 500, 500, 0.05, around) for around in np.arange(50, 5000, 50)]
    assert np.arange(50, 5000, 50)[int(np.argmin(widths))] == pytest.approx(500, abs=100)
    assert min(widths) * math.sqrt(500) < 3.1  # against 1.96 at a single look


def test_a_difference_of_quantiles_holds_the_truth_to_the_bucket():
    rng = np.random.default_rng(6)
    edges = np.geomspace(0.1, 100, 40)
    looks = np.unique(np.geomspace(5, 3000, 15).astype(int))
    outside = 0
    for _ in range(30):
        x, y = rng.lognormal(1, 1, (2, 3000)) * np.array([[1.0], [1.5]])
        truth = 0.5 * math.exp(1 + 1.2815515655446004)
        outside += not all(
            quantiles.difference(_buckets(x[:n], edges), _buckets(y[:n], edges), 0.9, 0.2).holds(
                truth
            )
            for n in looks
        )
    assert outside <= 30 * 0.2 + 3 * math.sqrt(30 * 0.2)


def test_quantiles_become_narrow_whether_empty_buckets_are_named_or_not():
    rng = np.random.default_rng(7)
    edges = np.geomspace(0.1, 100, 200)
    one, other = (_buckets(rng.lognormal(m, 0.5, 20_000), edges) for m in (1.0, 1.2))
    found = quantiles.difference(one, other, 0.5, 0.05)
    assert found.holds(math.exp(1.2) - math.exp(1.0))
    assert found.low > 0.4
    assert found.high < 0.85
    sparse = [{bound: n for bound, n in b.items() if n} for b in (one, other)]
    assert quantiles.difference(*sparse, 0.5, 0.05) == found
    assert quantiles.difference({}, other, 0.5, 0.05).high == math.inf
    with pytest.raises(InvalidError, match="q: 99"):
        quantiles.difference(one, other, 99, 0.05)


def _buckets(values, edges):
    counts = np.histogram(values, np.concatenate([[0], edges, [math.inf]]))[0]
    return dict(zip([*map(float, edges), math.inf], map(int, counts), strict=True))


def test_a_ratio_is_compared_by_units_and_not_by_events():
    rng = np.random.default_rng(8)

    def sums(users, rate, scale=1.0):
        below = rng.poisson(5, users) + 1.0
        lean = rng.beta(2, 2, users) * 2 * rate  # users differ: clicks within one are dependent
        above = scale * rng.binomial(below.astype(int), np.minimum(lean, 1))
        parts = (above.sum(), (above**2).sum(), below.sum(), (below**2).sum())
        return ratios.Sums(users, *parts, (above * below).sum())

    outside = sum(
        not ratios.difference(sums(3000, 0.3), sums(3000, 0.3), 0.05).holds(0.0) for _ in range(60)
    )
    assert outside <= 3
    one, other = sums(20_000, 0.3), sums(20_000, 0.33)
    found = ratios.difference(one, other, 0.05)
    assert 0.02 < found.low < 0.03 < found.high < 0.04
    value, variance = ratios.estimate(one)
    events = value * (1 - value) / one.below
    assert variance > 1.5 * events
    with pytest.raises(InvalidError, match="denominators"):
        ratios.estimate(ratios.Sums(100, 1, 1, 0, 0, 0))


def test_a_split_is_doubted_only_when_it_is_off():
    rng = np.random.default_rng(9)
    steps = rng.multinomial(200, [0.9, 0.1], (300, 50)).cumsum(1)
    highest = [max(split.mismatch(row, [0.9, 0.1]) for row in run.tolist()) for run in steps]
    assert np.mean(np.array(highest) >= 10) <= 0.1 + 3 * math.sqrt(0.1 / 300)
    assert split.mismatch([8700, 1300], [9, 1]) > 1e6
    assert split.mismatch([10**7, 10**6], [0.5, 0.5]) == math.exp(700)
    assert split.mismatch([10, 1], [1, 0]) == math.exp(700)
    assert split.mismatch([10, 0], [1, 0]) == pytest.approx(1)
    for counts, shares in (([1], [0.5, 0.5]), ([1, 1], [0, 0]), ([-1, 1], [1, 1])):
        with pytest.raises(InvalidError, match="shares"):
            split.mismatch(counts, shares)


def test_an_aim_finds_sooner_and_is_as_valid():
    rng = np.random.default_rng(10)
    aim = rates.aim_at(0.02, 0.01, 0.5)
    one, n1 = paths(rng, 0.02, 100)
    other, n2 = paths(rng, 0.02, 100)
    n1, n2 = np.broadcast_to(n1, one.shape), np.broadcast_to(n2, one.shape)
    found, most = missed(rates.log_evidence((one, n1), (other, n2), 0.0, aim), 0.2)
    assert found <= most
    worse, _ = paths(rng, 0.04, 100)
    with_aim = rates.log_evidence((one, n1), (worse, n2), 0.0, aim)
    without = rates.log_evidence((one, n1), (worse, n2), 0.0)
    sooner, later = ((found > 3).argmax(1) for found in (with_aim, without))
    assert (sooner <= later).mean() > 0.95
    assert (sooner < later).mean() > 0.3
    found, plain = (
        means.difference((2000, 600.0, 200.0), (2000, 640.0, 220.0), 0.05, 0.0, 1.0, aim=aimed)
        for aimed in (means.aim_at(0.02, 0.015), None)
    )
    assert found.high - found.low < 0.9 * (plain.high - plain.low)


def test_the_least_evidence_over_common_levels_is_what_a_dense_search_finds():
    for counts in ((5, 1000, 9, 300), (0, 400, 2, 20), (40, 100, 700, 1000)):
        for null in (-0.05, 0.0, 0.03):
            found = float(rates.log_evidence(counts[:2], counts[2:], null))
            mixed = rates._mixed(None)
            levels = np.linspace(max(0, -null), min(1, 1 - null), 40_001)
            dense = log_evidence(
                mixed,
                rates.exponents(mixed, *counts[:2])(levels),
                rates.exponents(mixed, *counts[2:])(levels + null),
            ).min()
            assert found == pytest.approx(dense, abs=0.02)


def test_an_aim_at_the_share_above_makes_quantiles_tighter():
    rng = np.random.default_rng(11)
    edges = np.geomspace(0.1, 100, 300)
    one, other = (_buckets(rng.lognormal(m, 0.5, 5000), edges) for m in (1.0, 1.0))
    usual = quantiles.difference(one, other, 0.9, 0.05)
    gross = quantiles.difference(one, other, 0.9, 0.05, rates.aim_at(0.6, 0.1))
    assert usual.holds(0.0)
    assert usual.high - usual.low < 0.85 * (gross.high - gross.low)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(0, 5000)] * 4), st.floats(1e-6, 0.5))
def test_an_interval_of_rates_holds_the_estimate_and_grows_with_confidence(numbers, alpha):
    first, second, one, other = numbers
    counts = (min(one, first), first, min(other, second), second)
    found = rates.difference(*counts, alpha)
    estimate = counts[2] / max(second, 1) - counts[0] / max(first, 1)
    assert -1 <= found.low <= estimate + 1e-9
    assert estimate - 1e-9 <= found.high <= 1
    surer = rates.difference(*counts, alpha / 10)
    slack = 2e-3 * (surer.high - surer.low)
    assert surer.low <= found.low + slack
    assert found.high <= surer.high + slack


def test_arms_judged_apart_would_take_more_than_twice_the_rows():
    def apart(rate):  # Beta(1/2, 1/2) an arm, as log-likelihood ratio
        return (
            special.betaln(100.5, 9900.5)
            - special.betaln(0.5, 0.5)
            - (100 * np.log(rate) + 9900 * np.log1p(-rate))
        )

    levels = np.linspace(0.004, 0.014, 2001)
    beyond = np.linspace(0.004, 0.012, 400)
    evidence = np.array([(apart(levels) + apart(levels + d)).min() for d in beyond])
    high = beyond[int((evidence >= math.log(20)).argmax())]
    found = rates.difference(100, 10_000, 100, 10_000, 0.05, rates.aim_at(0.006, 0.01))
    assert 2 < (high / found.high) ** 2 < 4
