"""Two rates and a line: exact where harm is found, asymptotic where all is well; errors counted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from modelworks.core.errors import InvalidError
from modelworks.rollout.rates import Arm, highest, lowest, profile

pytestmark = pytest.mark.unit
MARGIN = 0.005
counts = st.tuples(st.integers(0, 400), st.integers(1, 4000)).map(
    lambda pair: Arm(min(pair[0], pair[1]), pair[1])
)


@given(counts, counts, st.sampled_from([0.8, 1.0, 1.2]), st.floats(-0.3, 0.3))
def test_the_profile_is_the_largest_likelihood_on_the_line(stable, candidate, slope, offset):
    low, high = max(0.0, -offset / slope), min(1.0, (1 - offset) / slope)

    def lost(rate):
        found = 0.0
        for arm, given_rate in ((stable, rate), (candidate, offset + slope * rate)):
            share = min(max(given_rate, 1e-300), 1 - 1e-16)
            found += arm.events * math.log(share)
            found += (arm.count - arm.events) * math.log1p(-share)
        return -found

    searched = minimize_scalar(lost, bounds=(low, high), method="bounded", options={"xatol": 1e-9})
    found = profile(stable, candidate, slope, offset)
    assert found >= -searched.fun - 1e-6 * abs(searched.fun) - 1e-6
    assert found <= 0


@given(counts, counts, st.sampled_from([0.0, 0.8, 1.0, 1.2]), st.floats(-0.1, 0.3))
def test_the_interval_holds_what_was_measured(stable, candidate, slope, at):
    measured = candidate.rate - slope * stable.rate
    low = lowest(stable, candidate, slope, at, 0.01)
    high = highest(stable, candidate, slope, at, 0.05, 0.01)
    assert low <= measured + 1e-12
    assert high >= measured - 1e-12


@given(counts, counts, st.floats(0.001, 0.1))
def test_the_end_agrees_with_the_decision(stable, candidate, at):
    """What is above the margin at one margin is so at every smaller one, and nowhere below it."""
    low = lowest(stable, candidate, 1.0, at, 0.01)
    again = lowest(stable, candidate, 1.0, -0.5, 0.01)
    assert (low > at) == (again > at) or again == pytest.approx(at, abs=0.02)


def test_a_stricter_chance_gives_a_wider_interval():
    stable, candidate = Arm(30, 10_000), Arm(60, 2_000)
    assert lowest(stable, candidate, 1, 0, 0.001) < lowest(stable, candidate, 1, 0, 0.05)
    wide, narrow = (highest(stable, candidate, 1, 0.1, chance, 0.01) for chance in (0.001, 0.05))
    assert narrow < wide < 0.1


def test_nothing_is_proved_by_a_candidate_without_errors_that_had_too_few_requests():
    """No errors in 200 requests: half a point more than the stable arm would give one by now."""
    assert highest(Arm(0, 20_000), Arm(0, 200), 1.0, MARGIN, 0.05, MARGIN) >= MARGIN
    assert highest(Arm(0, 20_000), Arm(0, 5_000), 1.0, MARGIN, 0.05, MARGIN) < MARGIN


def test_nobody_beside_it_says_nothing():
    nobody, some = Arm(0, 0), Arm(50, 100)
    assert lowest(nobody, some, 1.0, MARGIN, 0.01) == -1.0
    assert highest(nobody, some, 1.0, MARGIN, 0.01, MARGIN) == 1.0
    assert lowest(some, nobody, 1.0, MARGIN, 0.01) == -1.0
    assert lowest(nobody, some, 0.0, 0.1, 0.01) > 0.1  # a rate by itself


def test_more_events_than_requests_are_refused():
    with pytest.raises(InvalidError, match="send each request once"):
        Arm(3, 2)


def looks(rng, share, stable, candidate, most):
    """Sums of a growing experiment, look by look."""
    a = b = c = d = 0
    while d < most:
        more = max(1, d // 3)
        beside = int(rng.negative_binomial(more, share))
        a, b = a + rng.binomial(beside, stable), b + beside
        c, d = c + rng.binomial(more, candidate), d + more
        yield Arm(a, b), Arm(c, d)


@pytest.mark.parametrize(("share", "rate"), [(0.05, 0.001), (0.5, 0.02), (0.2, 0.3)])
def test_harm_that_is_none_is_found_no_more_often_than_its_chance(share, rate):
    rng, chance, times = np.random.default_rng(11), 0.05, 150
    false = sum(
        any(
            lowest(one, other, 1.0, MARGIN, chance) > MARGIN
            for one, other in looks(rng, share, rate, rate + MARGIN, 3_000)
        )
        for _ in range(times)
    )
    assert false <= chance * times + 2.6 * math.sqrt(times * chance * (1 - chance))


@pytest.mark.parametrize(("share", "rate"), [(0.05, 0.001), (0.5, 0.02), (0.2, 0.3)])
def test_what_is_worse_passes_no_more_often_than_its_chance(share, rate):
    rng, chance, times = np.random.default_rng(12), 0.05, 150
    margin = max(MARGIN, rate / 4)
    false = sum(
        any(
            highest(one, other, 1.0, margin, chance, margin) < margin
            for one, other in looks(rng, share, rate, rate + margin, 20_000)
        )
        for _ in range(times)
    )
    assert false <= chance * times + 2.6 * math.sqrt(times * chance * (1 - chance))


def test_a_broken_candidate_is_found_within_a_few_dozen_of_its_requests():
    rng, found = np.random.default_rng(13), []
    for _ in range(60):
        until = (
            other.count
            for one, other in looks(rng, 0.05, 0.002, 0.2, 400)
            if lowest(one, other, 1.0, MARGIN, 0.001) > MARGIN
        )
        found.append(next(until, 400))
    assert np.median(found) <= 60
