"""Evidence that is looked at continuously keeps its bound, and grows where something changed."""

import numpy as np
import pytest
from scipy import optimize, stats

from modelworks.stats.distances import kl
from modelworks.stats.sequential import (
    SPANS,
    Span,
    Spending,
    _nearest,
    log_ceiling,
    log_evidence,
    reference_radius,
)

SHARES = np.array([0.3, 0.25, 0.25, 0.15, 0.05, 0.0])


def test_evidence_is_an_e_value_at_every_look():
    rng = np.random.default_rng(0)
    paths = np.cumsum(rng.multinomial(40, SHARES, size=(1000, 24)), axis=1)
    evidence = log_evidence(paths, SHARES, 0.0)
    for level in (0.5, 0.1, 0.02):
        crossed = (evidence.max(1) >= -np.log(level)).mean()
        assert crossed <= level + 2 * np.sqrt(level / 1000)


def test_a_small_drift_within_the_radius_is_no_evidence():
    rng = np.random.default_rng(1)
    shifted = SHARES + np.array([-0.02, 0.02, 0, 0, 0, 0])
    assert kl(SHARES, shifted) < 0.005
    counts = rng.multinomial(1_000_000, shifted, size=50)
    assert (log_evidence(counts, SHARES, 0.005) < 0).all()
    assert (log_evidence(counts, SHARES, 0.0) > 100).all()


def test_what_was_never_seen_is_evidence_once_it_is_more_than_the_radius():
    counts = np.array([300, 250, 250, 150, 50, 0])
    assert log_evidence(counts + 3 * np.eye(6)[5], SHARES, 0.005) < 0
    assert log_evidence(counts + 60 * np.eye(6)[5], SHARES, 0.005) > 15


def test_no_rows_are_no_evidence():
    assert log_evidence(np.zeros(6), SHARES, 0.005) == 0.0
    assert log_ceiling(np.zeros(6), SHARES, 0.005) == 0.0


def test_the_ceiling_is_one():
    rng = np.random.default_rng(2)
    counts = rng.multinomial(500, [0.2, 0.3, 0.2, 0.2, 0.1, 0.0], size=100)
    for radius in (0.0, 0.001, 0.05):
        ceiling = log_ceiling(counts, SHARES, radius)
        assert (log_evidence(counts, SHARES, radius) <= ceiling).all()


def test_the_likeliest_near_shares_are_those_a_solver_finds():
    shares, counts, radius = SHARES[:5], np.array([200.0, 300, 250, 200, 50]), 0.004
    found = _nearest(counts, shares, np.asarray(radius))
    assert kl(shares, found) == pytest.approx(radius, rel=1e-6)
    solved = optimize.minimize(
        lambda p: -(counts * np.log(p)).sum(),
        shares,
        bounds=[(1e-6, 1)] * 5,
        constraints=[
            {"type": "eq", "fun": lambda p: p.sum() - 1},
            {"type": "ineq", "fun": lambda p: radius - kl(shares, p)},
        ],
        options={"ftol": 1e-12, "maxiter": 500},
    )
    np.testing.assert_allclose(found, solved.x, atol=2e-4)


@pytest.mark.parametrize("size", [200, 5000])
def test_the_truth_lies_within_the_radius_of_a_sample(size):
    rng = np.random.default_rng(size)
    samples = rng.multinomial(size, SHARES[:5], size=4000) / size
    distances = kl(samples, SHARES[:5])
    assert (distances > reference_radius(size, 5, 0.05)).mean() <= 0.05
    asymptotic = stats.chi2.ppf(0.95, 4) / (2 * size)
    assert asymptotic < reference_radius(size, 5, 0.05) < 3 * asymptotic


def test_a_week_spends_what_it_has():
    spending = Spending(200, 0.05)
    spent = sum(
        np.exp(-spending.log_threshold(span)) * span.starts * spending.features for span in SPANS
    )
    assert spent == pytest.approx(0.05)
    assert Span("month", 672).starts == 1
