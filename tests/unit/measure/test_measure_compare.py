"""Ratios, their intervals and verdicts against sides whose truth is known; knees; schedules."""

import itertools

import numpy as np
import pytest
from scipy import stats

from modelworks.core.errors import InvalidError
from modelworks.measure.compare import (
    AGAIN,
    Ratio,
    Side,
    Verdict,
    interleave,
    judge,
    ratio_of,
)
from modelworks.measure.knee import Step, knee_of_connections, knee_of_rates
from modelworks.measure.schedule import FAR, Arrivals, Schedule, due
from modelworks.measure.sweep import rates_around

pytestmark = pytest.mark.unit


def simulated(speeds, rounds, noise, seed=0):
    """Sides of known speed on a machine that drifts by a factor of three."""
    generator = np.random.default_rng(seed)
    clock = itertools.count()

    def one(speed):
        drift = 2 + np.sin(next(clock) / 9)
        return speed * drift * generator.lognormal(0, noise)

    sides = [Side(name, lambda speed=speed: one(speed)) for name, speed in speeds.items()]
    return interleave(sides, rounds, seed=seed)


def test_a_drifting_machine_does_not_hide_the_ratio():
    found = simulated({"base": 100.0, "half": 50.0}, 15, 0.02)
    half, again = (ratio_of(found[name], found["base"]) for name in ("half", AGAIN))
    assert half.low <= 0.5 <= half.high
    assert half.ratio == pytest.approx(0.5, rel=0.15)
    assert again.low <= 1 <= again.high
    assert judge(half, 0.85, noise=again.noise) is Verdict.MISSED
    assert judge(half, 0.85, at_least=False, noise=again.noise) is Verdict.MET


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(3)
    hits = 0
    for seed in range(200):
        left = generator.lognormal(np.log(1.3), 0.1, 15)
        found = ratio_of(left.tolist(), [1.0] * 15, seed=seed)
        hits += found.low <= 1.3 <= found.high
    assert 175 <= hits <= 200  # 95 % wanted of each; the bootstrap of a median is a little off


def test_two_runs_of_one_thing_never_differ_for_sure():
    for seed in range(40):
        found = simulated({"one": 10.0, "same": 10.0}, 9, 0.1, seed)
        same, again = (ratio_of(found[name], found["one"]) for name in ("same", AGAIN))
        verdict = judge(same, 1.0, noise=again.noise)
        assert verdict is Verdict.UNCERTAIN, seed


def ratio(middle, low, high, rounds=9):
    return Ratio(middle, low, high, low, high, rounds)


@pytest.mark.parametrize(
    ("found", "bar", "noise", "wanted"),
    [
        (ratio(0.95, 0.93, 0.97), 0.85, 0.02, Verdict.MET),
        (ratio(0.80, 0.78, 0.82), 0.85, 0.02, Verdict.MISSED),
        (ratio(0.87, 0.84, 0.90), 0.85, 0.0, Verdict.UNCERTAIN),  # the bar lies in the interval
        (ratio(0.87, 0.86, 0.88), 0.85, 0.05, Verdict.UNCERTAIN),  # the noise is larger
        (ratio(0.95, 0.93, 0.97, rounds=4), 0.85, 0.0, Verdict.UNCERTAIN),
        (ratio(0.0, 0.0, 0.0), 0.85, 0.0, Verdict.UNCERTAIN),
        (ratio(9.0, 8.0, 10.0), 1.0, float("inf"), Verdict.UNCERTAIN),
    ],
)
def test_verdicts(found, bar, noise, wanted):
    assert judge(found, bar, noise=noise) is wanted


def test_noise_is_the_farther_end_on_a_ratio_scale():
    assert ratio(1.0, 0.8, 1.1).noise == pytest.approx(0.25)
    assert ratio(1.0, 0.95, 1.2).noise == pytest.approx(0.2)
    assert ratio(0.0, 0.0, 1.2).noise == float("inf")


def test_rounds_are_whole_their_order_changes_and_a_stop_drops_the_round():
    seen = []
    sides = [Side(name, lambda name=name: seen.append(name) or len(seen)) for name in "ab"]
    found = interleave(sides, 20, seed=5, stop=lambda result: result > 31)
    assert {name: len(results) for name, results in found.items()} == {"a": 10, "b": 10, AGAIN: 10}
    # The second run of the first side is that side's.
    assert seen.count("a") > seen.count("b")
    firsts = {tuple(seen[start : start + 3]) for start in range(0, 30, 3)}
    assert len(firsts) > 1


def test_names_are_distinct_and_rounds_pair_up():
    with pytest.raises(InvalidError, match="names of their own"):
        interleave([Side("a", int), Side("a", int)], 1)
    with pytest.raises(InvalidError, match="as many"):
        ratio_of([1.0], [1.0, 2.0])
    assert ratio_of([0.0] * 5, [0.0] * 5).ratio == 1
    assert ratio_of([1.0] * 5, [0.0] * 5).noise > 1e100


def queue(rate, capacity=1000.0, base=0.001):
    """An M/M/1 queue's mean and p99 at a rate."""
    if rate >= capacity:
        return Step(rate, capacity, 5.0, 9.0)
    mean = base / (1 - rate / capacity)
    return Step(rate, rate, mean, mean * np.log(100))


def test_the_knee_of_rates_is_where_the_tail_triples():
    steps = [queue(rate) for rate in (10, 300, 600, 660, 700, 900, 1100)]
    found = knee_of_rates(steps)
    assert steps[found.place].offered == 660  # 1 / (1 - 2/3) = 3 times
    assert "700/s, where p99" in found.why
    assert found.saturation == 1000


def test_the_knee_of_rates_stops_at_failures_and_at_what_was_not_sustained():
    assert knee_of_rates([queue(10), Step(20, 20, 0.001, 0.0046, failed=2)]).place == 0
    short = [queue(10), Step(50, 40, 0.001, 0.0046)]
    assert "of which 40/s were answered" in knee_of_rates(short).why
    assert knee_of_rates([Step(10, 5, 0.001, 0.004), queue(20)]).place == -1
    assert knee_of_rates([queue(1), queue(2)]).why.endswith("the sweep ends there")
    assert knee_of_rates([queue(1)]).place == -1
    assert knee_of_rates([]).saturation == 0


def closed_loop(count, service=0.001, servers=4):
    """A closed loop at a server that works on four requests at once, by Little's law."""
    mean = service * max(1.0, count / servers)
    return Step(count, count / mean, mean, mean * 2)


def test_the_knee_of_connections_is_kleinrocks():
    steps = [closed_loop(count) for count in (1, 2, 4, 8, 16, 64)]
    found = knee_of_connections(steps)
    assert steps[found.place].offered == 4
    assert found.saturation == 4000
    assert knee_of_connections(steps[:3]).why.endswith("the sweep ends there")
    assert knee_of_connections(steps[:2]).place == -1
    assert knee_of_connections([Step(n, 0, 0, 0, 9) for n in (1, 2, 3)]).place == -1


def times(rate, arrivals, count, seed=None):
    chunks = due(rate, arrivals, 1000, seed)
    found = []
    while len(found) < count:
        found += next(chunks)
    return np.asarray(found[:count])


def test_constant_arrivals_do_not_drift():
    found = times(30_000, Arrivals.CONSTANT, 90_001)
    assert found[0] == 1000
    assert found[90_000] - 1000 == 3_000_000_000


def test_poisson_arrivals_are_exponential_and_repeatable():
    found = times(5000, Arrivals.POISSON, 20_000, seed=11)
    gaps = np.diff(found)
    assert stats.kstest(gaps, "expon", args=(0, 200_000)).pvalue > 0.01
    assert np.array_equal(found, times(5000, Arrivals.POISSON, 20_000, seed=11))
    assert not np.array_equal(found, times(5000, Arrivals.POISSON, 20_000, seed=12))


@pytest.mark.parametrize("arrivals", list(Arrivals))
def test_a_schedule_counts_what_is_left(arrivals):
    until = 1000 + 2_000_000_000
    every = times(5000, arrivals, 12_000, seed=4)
    whole = int((every < until).sum())
    schedule = Schedule(5000, arrivals, 1000, until, seed=4)
    sent = 0
    while schedule.due < until and sent < 6000:
        assert schedule.due == every[sent]
        schedule.advance()
        sent += 1
    assert schedule.remaining() == whole - sent
    assert schedule.due == FAR


def test_automatic_rates_reach_from_idle_to_beyond():
    found = rates_around(12_345.6)
    assert found[0] == 1230
    assert found[-1] > 12_345.6
    assert found == sorted(set(found))
    assert rates_around(0.01) == [0.1]
