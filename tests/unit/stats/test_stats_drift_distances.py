"""Distances and tests of two samples are scipy's, to rounding."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from modelworks.stats import distances, multiple, samples, tables

RNG = np.random.default_rng(7)
PAIRS = [
    (RNG.normal(size=900), RNG.normal(0.2, 1.1, size=700)),
    (RNG.integers(0, 9, 500).astype(float), RNG.integers(1, 10, 800).astype(float)),
    (np.array([1.0, 2.0, 2.0]), np.array([2.0])),
    (np.zeros(5), np.zeros(4)),
    (RNG.exponential(size=3000), RNG.exponential(1.3, size=2500)),
]


@pytest.mark.parametrize("pair", PAIRS)
def test_ks_and_wasserstein_are_scipys(pair):
    found = samples.gap(np.sort(pair[0]), np.sort(pair[1]))
    assert found.ks == pytest.approx(stats.ks_2samp(*pair, method="asymp").statistic, abs=1e-12)
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(*pair), rel=1e-12)


def test_an_empty_sample_is_refused():
    with pytest.raises(ValueError, match="both samples"):
        samples.gap(np.array([]), np.array([1.0]))


def test_ks_p_value_of_many_values_is_scipys():
    first, second = PAIRS[4]
    wanted = stats.ks_2samp(first, second, method="asymp")
    found = samples.ks_p_value(wanted.statistic, len(first), len(second))
    assert found == pytest.approx(wanted.pvalue, rel=1e-9)


@pytest.mark.parametrize("sizes", [[5, 5], [7, 12], [40, 90], [200, 200], [1, 30]])
def test_ks_p_value_of_few_values_is_exact(sizes):
    rng = np.random.default_rng(sum(sizes))
    first, second = rng.normal(size=sizes[0]), rng.normal(0.4, 1, size=sizes[1])
    wanted = stats.ks_2samp(first, second, method="exact")
    found = samples.ks_p_value(samples.gap(np.sort(first), np.sort(second)).ks, *sizes)
    assert found == pytest.approx(wanted.pvalue, rel=1e-9)


def test_no_distance_has_p_value_one():
    assert samples.ks_p_value(0.0, 10, 10) == 1.0
    assert samples.ks_exact(0.0, 10, 10) == 1.0


def test_histogram_distances_are_scipys():
    p, q = distances.shares([5, 20, 0, 75]), distances.shares([10, 15, 5, 70])
    assert distances.js(p, q) == pytest.approx(jensenshannon(p, q, base=2), rel=1e-12)
    assert distances.kl(p, q) == pytest.approx(stats.entropy(p, q), rel=1e-12)
    assert distances.kl(q, p) == np.inf
    assert distances.total_variation(p, q) == pytest.approx(0.1)
    one, other = distances.shares([5, 20, 0, 75], 0.5), distances.shares([10, 15, 5, 70], 0.5)
    wanted = stats.entropy(one, other) + stats.entropy(other, one)
    assert distances.psi(one, other) == pytest.approx(wanted, rel=1e-12)


def test_identical_histograms_have_no_distance_and_disjoint_ones_the_largest():
    p, q = [0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.25, 0.75]
    assert distances.js(p, p) == 0.0
    assert distances.psi(p, p) == 0.0
    assert distances.js(p, q) == pytest.approx(1.0)
    assert distances.total_variation(p, q) == pytest.approx(1.0)


def test_ks_of_cells_brackets_that_of_the_samples():
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.1, 0.5, 2.0):
        first, second = np.sort(rng.normal(size=2000)), np.sort(rng.normal(shift, 1, size=1500))
        edges = np.quantile(first, np.linspace(0, 1, 11))[1:-1]
        counts = [np.bincount(np.searchsorted(edges, v), minlength=10) for v in (first, second)]
        low, bound = distances.grid_ks(*(distances.shares(c) for c in counts))
        true = samples.gap(first, second).ks
        assert low - 1e-12 <= true <= low + bound


@pytest.mark.parametrize("table", [[[90, 60, 104, 95], [30, 50, 51, 20]], [[50, 60], [40, 90]]])
def test_chi_square_is_scipys(table):
    wanted = stats.chi2_contingency(table)
    found = tables.chi_square(*table)
    assert found.statistic == pytest.approx(wanted.statistic, rel=1e-12)
    assert found.p_value == pytest.approx(wanted.pvalue, rel=1e-9)
    assert found.freedom == wanted.dof
    assert not found.pooled


def test_thin_cells_are_pooled_and_thin_tables_are_tested_exactly():
    found = tables.chi_square([500, 400, 3, 2, 4], [480, 430, 1, 0, 6])
    wanted = stats.chi2_contingency([[500, 400, 9], [480, 430, 7]])
    assert found.pooled == 3
    assert found.p_value == pytest.approx(wanted.pvalue, rel=1e-9)
    thin = tables.two_shares(0, 20, 4, 18)
    assert thin.p_value == pytest.approx(stats.fisher_exact([[0, 20], [4, 14]]).pvalue)
    assert np.isnan(thin.statistic)


@pytest.mark.parametrize("counts", [[[5, 0], [9, 0]], [[0, 0], [3, 4]], [[1], [2]]])
def test_nothing_to_compare_has_p_value_one(counts):
    assert tables.chi_square(*counts).p_value == 1.0


def test_chi_square_keeps_its_level_with_thin_cells():
    rng = np.random.default_rng(5)
    shares = np.array([0.5, 0.3, 0.15, 0.04, 0.008, 0.002])
    first, second = rng.multinomial(300, shares, 400), rng.multinomial(200, shares, 400)
    rate = np.mean([tables.chi_square(a, b).p_value < 0.05 for a, b in zip(first, second)])  # noqa: B905
    assert rate < 0.075


def test_adjusted_p_values_are_scipys():
    given = np.random.default_rng(2).random(40) ** 3
    wanted = stats.false_discovery_control(given, method="bh")
    np.testing.assert_allclose(multiple.benjamini_hochberg(given), wanted, rtol=1e-12)
    wanted = stats.false_discovery_control(given, method="by")
    np.testing.assert_allclose(multiple.benjamini_yekutieli(given), wanted, rtol=1e-12)


def test_tests_that_were_not_made_stay_out():
    found = multiple.benjamini_hochberg([0.01, np.nan, 0.02])
    assert np.isnan(found[1])
    np.testing.assert_allclose(found[[0, 2]], [0.02, 0.02])
    np.testing.assert_allclose(multiple.holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    assert np.isnan(multiple.benjamini_yekutieli([np.nan])).all()
