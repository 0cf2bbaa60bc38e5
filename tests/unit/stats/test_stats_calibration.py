"""Reliability and calibrators against scikit-learn's, and planted miscalibration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from modelworks.core.errors import InvalidError
from modelworks.stats.calibration import (
    Bins,
    calibration_error,
    fit_isotonic,
    fit_sigmoid,
    fit_temperature,
    reliability,
)
from properties import examples

pytestmark = pytest.mark.unit


def scored(count=2000, seed=0, power=1.0):
    """Scores that are calibrated where the power is 1."""
    generator = np.random.default_rng(seed)
    scores = generator.beta(1.2, 2.0, count)
    return scores, (generator.random(count) < scores**power).astype(int)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_the_diagram_is_scikit_learns(strategy):
    from sklearn.calibration import calibration_curve

    scores, truth = scored()
    shares, means = calibration_curve(truth, scores, n_bins=10, strategy=strategy)
    found = reliability(scores, truth, how=Bins.WIDTH if strategy == "uniform" else Bins.COUNT)
    assert [b.share.value for b in found] == pytest.approx(shares.tolist())
    assert [b.score for b in found] == pytest.approx(means.tolist())
    assert sum(b.count for b in found) == 2000
    assert all(b.share.low < b.share.value < b.share.high for b in found)


def test_the_error_is_the_diagrams_weighted_gap():
    scores, truth = scored(power=2.0)
    weights = np.random.default_rng(5).exponential(size=2000)
    for given_weights in (None, weights):
        found = calibration_error(scores, truth, weights=given_weights)
        mass = np.ones(2000) if given_weights is None else given_weights
        bins = np.minimum((np.ceil(scores * 10) - 1).astype(int), 9)
        gap = sum(
            abs(np.sum((mass * (scores - truth))[bins == number])) for number in range(10)
        ) / np.sum(mass)
        assert found.value == pytest.approx(gap)
        assert found.low > 0.05  # planted


def test_the_errors_interval_holds_the_truth_for_calibrated_scores_too():
    held = 0
    for seed in range(100):
        found = calibration_error(*scored(500, seed), how=Bins.COUNT)
        held += found.low <= 0.005
        assert 0 <= found.low <= found.high <= 1
    assert held >= 90
    truth = 0.0
    scores, labels = scored(400_000, 1, power=1.5)
    truth = calibration_error(scores, labels).value
    found = [calibration_error(*scored(1000, seed, 1.5)) for seed in range(100)]
    assert sum(one.low <= truth <= one.high for one in found) >= 88


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), min_size=1, max_size=40))
@examples(30)
def test_isotonic_is_scikit_learns(rows):
    from sklearn.isotonic import IsotonicRegression

    scores, truth = (np.array(column, float) for column in zip(*rows, strict=True))
    weights = np.arange(1.0, len(rows) + 1)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores, truth, weights)
    ours = fit_isotonic(scores, truth, weights)
    points = np.linspace(-1, 13, 57)
    np.testing.assert_allclose(ours.apply(points), theirs.predict(points), atol=1e-12)


def test_the_sigmoid_is_scikit_learns():
    from sklearn.calibration import _SigmoidCalibration

    scores, truth = scored(600, 3, power=2.0)
    margins = np.log(scores / (1 - scores))
    theirs = _SigmoidCalibration().fit(margins, truth)
    ours = fit_sigmoid(margins, truth)
    assert (ours.slope, ours.offset) == pytest.approx((theirs.a_, theirs.b_), abs=1e-4)
    np.testing.assert_allclose(ours.apply(margins), theirs.predict(margins), atol=1e-5)


def test_the_sigmoid_stays_finite_where_classes_part():
    found = fit_sigmoid([-1.0, -2.0, 1.0, 2.0], [0, 0, 1, 1])
    shares = found.apply([-2.0, 0.0, 2.0])
    assert 0 < shares[0] < 0.3 < shares[1] < 0.7 < shares[2] < 1


def test_the_temperature_is_where_the_likelihood_is_greatest():
    generator = np.random.default_rng(2)
    logits = generator.normal(0, 2, (3000, 4))
    noise = generator.gumbel(size=logits.shape)
    truth = (logits / 2.5 + noise).argmax(axis=1)

    def loss(temperature):
        scaled = logits / temperature
        scaled = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
        return -scaled[np.arange(3000), truth].mean()

    found = fit_temperature(logits, truth)
    assert found == pytest.approx(2.5, rel=0.1)
    wanted = optimize.minimize_scalar(loss, bounds=(0.5, 10), method="bounded").x
    assert found == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("fit", [fit_isotonic, fit_sigmoid, fit_temperature])
def test_nothing_is_calibrated_on_nothing(fit):
    with pytest.raises(InvalidError, match="no rows"):
        fit(np.zeros((0,)), [])


def test_bins_are_at_least_one():
    with pytest.raises(InvalidError, match="bins"):
        reliability(np.array([0.5]), [1], bins=0)
