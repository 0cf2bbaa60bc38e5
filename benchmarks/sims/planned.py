"""Planned looks, many metrics at once, covariates, and bandits."""

import math

import numpy as np
from benchmarks.sims.lean import normal_mixture
from benchmarks.sims.outcome import Outcome, judged, lower

from modelworks.stats import cuped
from modelworks.stats.bandits import Arm, thompson, ucb
from modelworks.stats.designs.bounds import efficacy, with_futility
from modelworks.stats.designs.spending import Shape, Spending
from modelworks.stats.multiple import benjamini_hochberg, holm_found
from modelworks.stats.sequences import means

ALPHA = 0.05
ROWS, RATE = 20_000, 0.05


def of_bounds(runs, rng):
    """Group-sequential bounds on rates: superiority, non-inferiority, with and without futility."""
    five, fifty = np.arange(1, 6) / 5, np.arange(1, 51) / 50
    designs = (
        ("O'Brien-Fleming, 5 looks", efficacy(five, ALPHA)),
        ("O'Brien-Fleming, 50 looks", efficacy(fifty, ALPHA)),
        ("Pocock, 5 looks", efficacy(five, ALPHA, Spending(Shape.POCOCK))),
        ("O'Brien-Fleming, binding futility", with_futility(five, ALPHA, 0.1, binding=True)),
        ("O'Brien-Fleming, futility not binding", with_futility(five, ALPHA, 0.1)),
    )
    for name, bounds in designs:
        drift = bounds.drift or 3.1
        for margin in (0.0, 0.01):
            yield _bounds(runs, rng, name, bounds, (drift, margin))


def _bounds(runs, rng, name, bounds, about):
    drift, margin = about
    rows, rate = ROWS, RATE
    looks = np.round(np.array(bounds.times) * rows).astype(int)
    steps = np.diff(looks, prepend=0)
    error = math.sqrt(2 * rate * (1 - rate) / rows)
    exact = sum(bounds.chances(drift)[0])

    def crossed(shift):
        events = [
            rng.binomial(steps, p, (runs, len(steps))).cumsum(1) for p in (rate, rate + shift)
        ]
        shares = [e / looks for e in events]
        variance = sum(p * (1 - p) / looks for p in shares)
        z = (shares[1] - shares[0] + margin) / np.sqrt(variance)
        over, under = z >= np.array(bounds.upper), z < np.array(bounds.lower)
        under[:, -1] = False
        gone = np.cumsum(under, axis=1) > 0
        return over & ~gone

    what = f"not worse by {margin:.1%}" if margin else "better"
    return judged(
        *(name, f"{what}, rates of {rate:.0%}, {rows:,} rows an arm", ALPHA),
        *(crossed(-margin), crossed(drift * error - margin)),
        times=np.array(bounds.times),
    ), exact


def of_many(runs, rng, metrics=6):
    """Six metrics, three of them harmed: Holm's false findings, Benjamini-Hochberg's share."""
    at = np.unique(np.geomspace(64, 4_000, 60).astype(int))
    steps = np.sqrt(np.diff(at, prepend=0))
    any_false = 0
    shares = np.zeros(runs)
    for run in range(runs):
        walks = (rng.standard_normal((metrics, len(at))) * steps).cumsum(1)
        apart = walks / at
        apart[:3] += 0.1

        def refutes(metric, level, apart=apart):
            return bool(normal_mixture(apart[metric], 1 / at, at, level, 2_000).any())

        any_false += any(holm_found(refutes, metrics, ALPHA)[3:])
        z = walks[:, -1] / math.sqrt(at[-1]) + np.array([3.0] * 3 + [0.0] * 3)
        p = np.array([math.erfc(abs(value) / math.sqrt(2)) for value in z])
        found = benjamini_hochberg(p) <= ALPHA
        shares[run] = found[3:].sum() / max(found.sum(), 1)
    setting = f"{metrics} metrics, 3 of them harmed"
    yield Outcome(
        *("Holm on sequences", setting, ALPHA, runs, len(at), any_false / runs),
        lower(any_false, runs),
    )
    rate, spread = float(shares.mean()), float(shares.std() / math.sqrt(runs))
    yield Outcome(
        *("Benjamini-Hochberg (share of the findings)", setting, ALPHA, runs, 1, rate),
        rate - 2.33 * spread,
    )


def of_cuped(runs, rng, units=1_500):
    """The past of each user says much of what comes."""
    at = np.unique(np.geomspace(80, units, 40).astype(int))
    effect = 4.2 * math.sqrt(2 * 1.5**2 / units)

    def crossed(count, shift):
        before = rng.gamma(2, 3, (2, count, units))
        after = 0.7 * before + rng.exponential(1.5, (2, count, units))
        after[1] += shift
        plain = after - 0.7 * 6
        parts = [after, after**2, before, before**2, after * before]
        sums = [p.cumsum(-1)[:, :, at - 1] for p in parts]
        found = np.zeros((count, len(at)), bool)
        rival = np.zeros((count, len(at)), bool)
        for run in range(count):
            for look, n in enumerate(at):
                arms = [cuped.Sums(n, *(float(p[arm, run, look]) for p in sums)) for arm in (0, 1)]
                told = cuped.adjusted(*arms)
                half = means.half_width(told.variance, n / 2, ALPHA, 0.7 * units / 2)
                if abs(told.difference) > half:
                    found[run, look] = True
                    break
        known = plain - 0.7 * (before - 6)
        apart = (known[1] - known[0]).cumsum(-1)[:, at - 1] / at
        rival = normal_mixture(apart, 2 * 1.5**2 / at, at / 2, ALPHA, 0.7 * units / 2)
        return found, rival

    none = np.concatenate([crossed(min(500, runs), 0.0)[0] for _ in range(max(runs // 500, 1))])
    return judged(
        *("CUPED, large samples", f"{units:,} users an arm", ALPHA, none),
        *(*crossed(max(runs // 20, 1), effect), at / units),
        name="normal mixture that knows the slope and the variance",
    )


def of_bandits(runs, rng, steps=40, batch=100, delay=4, rates=(0.10, 0.12, 0.15)):
    """Share of the requests that the best arm got, and the regret an equal split would have."""
    found = {}
    for name, rule in (
        ("thompson", lambda arms: thompson(arms, floor=0.02, draws=2_000)),
        ("ucb", lambda arms: ucb(arms, floor=0.02, batch=batch, width=0.1)),
    ):
        for late in (0, delay):
            best = [_bandit(rng, rule, steps, batch, late, rates) for _ in range(runs)]
            found[f"{name}, rewards {late} batches late"] = {
                "best_share": float(np.mean(best)),
                "equal_share": 1 / len(rates),
                "experiments": runs,
            }
    return found


def _bandit(rng, rule, steps, batch, late, rates):
    given = np.zeros((steps, len(rates)))
    rewards = np.zeros((steps, len(rates)))
    shares = np.full(len(rates), 1 / len(rates))
    for step in range(steps):
        given[step] = rng.multinomial(batch, shares)
        rewards[step] = rng.binomial(given[step].astype(int), rates)
        known = max(0, step + 1 - late)
        told = zip(rewards[:known].sum(0), given[:known].sum(0), given[known:].sum(0), strict=True)
        shares = np.array(rule([Arm(*map(float, arm)) for arm in told]))
    return given[:, int(np.argmax(rates))].sum() / given.sum()
