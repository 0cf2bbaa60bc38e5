"""The discrepancy and the classifier find what no single column shows, and keep their level."""

import numpy as np
import pytest
from scipy import stats

from modelworks.stats.classifier import rank_test, separate
from modelworks.stats.discrepancy import (
    FourierMap,
    discrepancy,
    discrepancy_p_value,
    weighted_chi_square_tail,
)


def _correlated(rng, count, rho):
    return rng.multivariate_normal([0, 0, 0], [[1, rho, 0], [rho, 1, 0], [0, 0, 1]], count)


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.3, 0.2], list(1 / np.arange(1, 60) ** 1.5)])
def test_the_tail_is_that_of_the_sum(weights):
    rng = np.random.default_rng(0)
    sums = (rng.chisquare(1, (100_000, len(weights))) * weights).sum(1)
    for level in (0.5, 0.1, 0.01, 0.001):
        value = float(np.quantile(sums, 1 - level))
        found = weighted_chi_square_tail(value, np.array(weights))
        assert found == pytest.approx(level, rel=0.12)


def test_the_tail_of_equal_weights_is_chi_square():
    for value in (1.0, 9.999, 10.0, 10.001, 40.0, 90.0):
        found = weighted_chi_square_tail(value, np.ones(10))
        assert found == pytest.approx(stats.chi2.sf(value, 10), rel=0.02)
    assert weighted_chi_square_tail(0.0, np.ones(3)) == 1.0
    assert weighted_chi_square_tail(1.0, np.zeros(3)) == 1.0


def test_the_map_approximates_its_kernel():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(400, 3)).astype(np.float32)
    mapped = FourierMap.fit(rows, frequencies=3000)
    features = mapped.features(rows[:40]).astype(np.float64)
    plain = (rows[:40] - mapped.centre) / mapped.scale
    squared = ((plain[:, None] - plain[None]) ** 2).sum(-1)
    middle = float(np.sqrt((mapped.weights.astype(float) ** 2).sum(0)).mean())
    assert middle > 0
    chosen = rows[np.random.default_rng(0).integers(0, 400, 1000)]
    chosen = (chosen - mapped.centre) / mapped.scale
    median = np.median(np.sqrt(((chosen[:500] - chosen[500:]) ** 2).sum(1)))
    kernel = np.mean([np.exp(-squared / (2 * (w * median) ** 2)) for w in (0.5, 1, 2)], axis=0)
    assert np.abs(features @ features.T - kernel).max() < 0.1


def test_the_discrepancy_keeps_its_level_and_sees_a_correlation():
    rng = np.random.default_rng(2)
    reference = _correlated(rng, 4000, 0.0).astype(np.float32)
    mapped = FourierMap.fit(reference)
    mean, eigenvalues = mapped.means(reference), np.linalg.eigvalsh(mapped.covariance(reference))

    def p_value(rows):
        squared = discrepancy(mapped.means(rows.astype(np.float32)), mean)
        return discrepancy_p_value(squared, eigenvalues, len(rows), len(reference))

    calm = [p_value(_correlated(rng, 600, 0.0)) for _ in range(200)]
    # one reference for all of them: wider than 200 independent tests
    assert np.mean(np.array(calm) < 0.05) < 0.12
    assert 0.25 < np.mean(calm) < 0.75
    assert p_value(_correlated(rng, 600, 0.6)) < 1e-4


def test_missing_and_far_values_do_not_blind_the_map():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(1000, 4)).astype(np.float32)
    rows[::7, 1] = np.nan
    rows[3, 0], rows[4, 2] = np.inf, 1e30
    mapped = FourierMap.fit(rows[10:])
    assert np.isfinite(mapped.means(rows)).all()
    assert np.isfinite(FourierMap.fit(np.ones((50, 2), np.float32)).means(rows[:, :2])).all()


def test_the_classifier_keeps_its_level_and_names_the_column():
    rng = np.random.default_rng(4)
    calm = [separate(rng.normal(size=(300, 4)), rng.normal(size=(200, 4))) for _ in range(120)]
    assert np.mean([found.p_value < 0.05 for found in calm]) < 0.12
    wider = rng.normal(size=(2000, 4)) * [1, 1, 1.5, 1]
    found = separate(rng.normal(size=(2000, 4)), wider)
    assert found.p_value < 1e-6
    assert found.auc > 0.55
    assert int(np.argmax(found.weights)) == 2


def test_the_classifier_takes_missing_values_and_refuses_too_few_rows():
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(100, 3))
    rows[::3, 0] = np.nan
    assert 0 <= separate(rows, rows + np.array([0, 5, 0])).p_value < 1e-3
    with pytest.raises(ValueError, match="four rows"):
        separate(rows[:3], rows)


def test_ranks_are_scipys():
    rng = np.random.default_rng(6)
    first, second = rng.integers(0, 30, 90), rng.integers(3, 33, 70)
    wanted = stats.mannwhitneyu(
        second, first, alternative="greater", method="asymptotic", use_continuity=False
    )
    auc, p_value = rank_test(first.astype(float), second.astype(float))
    assert auc == pytest.approx(wanted.statistic / 6300, rel=1e-12)
    assert p_value == pytest.approx(wanted.pvalue, rel=1e-9)
    assert rank_test(np.zeros(4), np.zeros(4)) == (0.5, 1.0)
