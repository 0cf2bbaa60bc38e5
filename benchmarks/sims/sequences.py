"""Confidence sequences that are looked at all the time."""

import math

import numpy as np
from benchmarks.sims.lean import crossings, normal_mixture, planned
from benchmarks.sims.outcome import Outcome, judged, lower
from scipy.special import betaln, gammaln
from scipy.stats import norm

from modelworks.stats.sequences import betting, distances, means, quantiles, rates, ratios, split
from modelworks.stats.sequences.means import LARGEST as MEANS_LARGEST
from modelworks.stats.sequences.means import SMALLEST as MEANS_SMALLEST
from modelworks.stats.sequences.tilts import log_evidence, mixture

ALPHA = 0.05
RIVAL = "normal mixture that knows the variance and the horizon"
AROUND = 0.7  # of the horizon: where the rival is tightest; it wins most there


def grid(total, looks):
    """Rows of both arms at the looks."""
    return np.unique(np.linspace(total / looks, total, looks).astype(int))


def binomials(rng, runs, rows, rate):
    return rng.binomial(np.diff(rows, prepend=0), rate, (runs, len(rows))).cumsum(1)


def of_rates(runs, rng, rate, share, total=20_000, looks=400, z=4.2):
    """Rates, with and without an aim, and the test that everybody peeks at."""
    candidate = (grid(total, looks) * share).astype(int)
    stable = grid(total, looks) - candidate
    error = math.sqrt(rate * (1 - rate) * (1 / stable[-1] + 1 / candidate[-1]))
    effect = z * error
    times = grid(total, looks) / total

    def arms(shift, count):
        shape = (count, len(times))
        return [
            (binomials(rng, count, n, p), np.broadcast_to(n, shape).astype(float))
            for n, p in ((stable, rate), (candidate, rate + shift))
        ]

    none, some = arms(0.0, runs), arms(effect, max(runs // 4, 1))
    intrinsic = stable * candidate / (stable + candidate)
    around = AROUND * intrinsic[-1]

    def rival(pair, shift, kind="mixture"):
        apart = pair[1][0] / np.maximum(pair[1][1], 1) - pair[0][0] / np.maximum(pair[0][1], 1)
        first, second = (p * (1 - p) for p in (rate, rate + shift))
        variance = first / np.maximum(stable, 1) + second / np.maximum(candidate, 1)
        if kind == "planned":
            return planned(apart, variance, times, ALPHA)
        if kind == "plain":
            return np.abs(apart) > norm.isf(ALPHA / 2) * np.sqrt(variance)
        return normal_mixture(apart, variance, np.maximum(intrinsic, 1), ALPHA, around)

    setting = f"{rate:.1%} events, {share:.0%} to the candidate, {total:,} rows"
    best, fixed = rival(some, effect), rival(some, effect, "planned")
    late = slice(len(times) // 10, None)
    yield judged(
        *("z-test at every look", setting, ALPHA, rival(none, 0.0, "plain")[:, late]),
        naive=True,
    )
    for name, aim in (("rates", None), ("rates, aimed", rates.aim_at(effect, rate, share))):
        mixed = mixture(rates.LARGEST, rates.SMALLEST, aim=aim)
        yield judged(
            *(name, setting, ALPHA),
            *(crossings(rates, mixed, *pair, ALPHA, aim) for pair in (none, some)),
            *(best, times),
            name=RIVAL,
            planned=fixed,
        )


def sums_at(values, looks):
    """(count, total, squares) at the looks of [experiments, rows]."""
    count = np.broadcast_to(looks.astype(float), (len(values), len(looks)))
    return count, values.cumsum(1)[:, looks - 1], (values**2).cumsum(1)[:, looks - 1]


def of_means(runs, rng, rows=2_000, looks=200):
    """Bounded figures by empirical Bernstein, and exponential ones by the large-sample law."""
    at = grid(rows, looks)
    times = at / rows
    spread = math.sqrt(10 / (49 * 8))  # of Beta(2, 5)
    effect = 4.2 * spread * math.sqrt(2 / rows)
    few = max(runs // 4, 1)

    def bounded(count, shift):
        return sums_at(np.minimum(rng.beta(2, 5, (count, rows)) + shift, 1.0), at)

    none = bounded(runs, 0.0), bounded(runs, 0.0)
    some = bounded(few, 0.0), bounded(few, effect)
    apart = (some[1][1] - some[0][1]) / at
    best = normal_mixture(apart, 2 * spread**2 / at, at / 2, ALPHA, AROUND * rows / 2)
    fixed = planned(apart, 2 * spread**2 / at, times, ALPHA)
    for name, aim in (
        ("means, bounded", None),
        ("means, bounded, aimed", means.aim_at(effect, spread**2)),
    ):
        mixed = mixture(MEANS_LARGEST, MEANS_SMALLEST, aim=aim)
        yield judged(
            *(name, f"Beta(2, 5), {rows:,} rows an arm", ALPHA),
            *(crossings(means, mixed, *pair, ALPHA, aim) for pair in (none, some)),
            *(best, times),
            name=RIVAL,
            planned=fixed,
        )
    yield asymptotic(runs, rng, rows, looks)


def asymptotic(runs, rng, rows, looks):
    at = grid(rows, looks)
    at = at[at >= means.FEWEST]
    effect = 4.2 * math.sqrt(2 / rows)

    def crossed(count, shift, *, known=False):
        arms = [sums_at(rng.exponential(1.0, (count, rows)) + s, at) for s in (0.0, shift)]
        apart = (arms[1][1] - arms[0][1]) / at
        measured = sum((s - t * t / n) / (n - 1) / n for n, t, s in arms)
        variance = 2 / at if known else measured
        return normal_mixture(apart, variance, at / 2, ALPHA, AROUND * rows / 2)

    few = max(runs // 4, 1)
    none = np.concatenate([crossed(min(1000, runs), 0.0) for _ in range(max(runs // 1000, 1))])
    return judged(
        *("means, no bounds", f"exponential, {rows:,} rows an arm", ALPHA, none),
        *(crossed(few, effect), crossed(few, effect, known=True), at / rows),
        name=RIVAL,
    )


def of_ratios(runs, rng, units=2_000, looks=100):
    """Clicks a visit, users with their own habits."""
    at = grid(units, looks)
    at = at[at >= means.FEWEST]

    def arm(count, rate):
        below = rng.poisson(4, (count, units)) + 1
        above = rng.binomial(below, np.minimum(rng.beta(2, 2, (count, units)) * 2 * rate, 1.0))
        parts = [above, above**2, below, below**2, above * below]
        return [np.broadcast_to(at, (count, len(at)))] + [p.cumsum(1)[:, at - 1] for p in parts]

    def crossed(count, rate):
        one, other = (_ratio(arm(count, p)) for p in (0.3, rate))
        apart = other[0] - one[0]
        return normal_mixture(apart, one[1] + other[1], at / 2, ALPHA, AROUND * units / 2)

    none = np.concatenate([crossed(min(500, runs), 0.3) for _ in range(max(runs // 500, 1))])
    some = crossed(max(runs // 10, 1), 0.326)
    return judged(
        *("ratios", f"clicks a visit, {units:,} users an arm", ALPHA, none, some),
        times=at / units,
    )


def _ratio(sums):
    """As `ratios.estimate`, of arrays; the first one is held against it."""
    count, total, squares, below, below_squares, product = (s.astype(float) for s in sums)
    ratio = total / below
    apart = squares - 2 * ratio * product + ratio**2 * below_squares
    variance = apart / below**2 * count / (count - 1)
    named = ratios.Sums(*(float(s[0, -1]) for s in sums))
    assert np.allclose(ratios.estimate(named), (ratio[0, -1], variance[0, -1]))
    return ratio, variance


def of_quantiles(runs, rng, rows=2_000, looks=40, q=0.9):
    """p90 of a log-normal latency, in buckets; what lies in one bucket is no difference."""
    bounds = [*np.geomspace(0.2, 40, 240).tolist(), math.inf]  # 2 % wide
    at = grid(rows, looks)
    aim = rates.aim_at(0.05, 1 - q)
    mixed = mixture(quantiles.LARGEST, quantiles.SMALLEST, aim=aim)

    def arm(count, shift):
        laws = np.diff(norm.cdf(np.log(bounds) - shift), prepend=0.0)
        return rng.multinomial(np.diff(at, prepend=0), laws, (count, len(at))).cumsum(1)

    def crossed(count, shift):
        arms = arm(count, 0.0), arm(count, shift)
        fits = _could(mixed, arms, q, at)
        found = np.zeros(fits.shape, bool)
        for run, look in zip(*np.nonzero(fits), strict=True):
            if not found[run].any():
                sides = [dict(zip(bounds, a[run, look].tolist(), strict=True)) for a in arms]
                told = quantiles.difference(*sides, q, ALPHA, aim)
                found[run, look] = not told.low < 0 < told.high
        return found, _howard_ramdas(arms, q, at) if shift else None

    none = np.concatenate([crossed(min(500, runs), 0.0)[0] for _ in range(max(runs // 500, 1))])
    setting = f"p90 of a log-normal, buckets 2 % wide, {rows:,} rows an arm"
    return judged(
        *("quantiles", setting, ALPHA, none, *crossed(max(runs // 10, 1), 0.25), at / rows),
        name="Howard and Ramdas (2022), section 5, with the best of five concentrations",
    )


def _could(mixed, arms, q, at):
    """Where the bucket that suits both arms best is refuted; elsewhere 0 is not."""
    upto = [a.cumsum(-1) for a in arms]
    both = ((upto[0] + upto[1]) >= 2 * q * at[:, None]).argmax(-1)[..., None]
    sides = []
    for counts, cumulated in zip(arms, upto, strict=True):
        high = np.take_along_axis(cumulated, both, -1)
        low = high - np.take_along_axis(counts, both, -1)
        events = np.where(mixed.tilts > 0, low, high)
        sides.append(mixed.tilts * events - at[:, None] * np.log1p(q * np.expm1(mixed.tilts)))
    return log_evidence(mixed, *sides) >= -math.log(ALPHA)


def _howard_ramdas(arms, q, at):
    """Where two quantiles are not one, by beta-binomial mixtures of each arm, at every edge.

    The concentration of the mixture is the one that finds most in these very experiments: nobody
    knows it before.
    """
    upto = [a.cumsum(-1)[..., :-1].astype(float) for a in arms]
    rows = at[:, None].astype(float)
    best = None
    for size in (10.0, 30.0, 100.0, 300.0, 1000.0):
        log = 0.0
        for below in upto:
            above = rows - below
            log = log + betaln(size * q + below, size * (1 - q) + above)
            log = log - betaln(size * q, size * (1 - q))
            log = log - below * math.log(q) - above * math.log1p(-q)
        found = log.min(-1) >= -math.log(ALPHA)
        if best is None or found.any(-1).sum() > best.any(-1).sum():
            best = found
    return best


def of_split(runs, rng, total=20_000, looks=200):
    """Sample-ratio mismatch."""
    at = grid(total, looks)

    def crossed(count, share):
        one = binomials(rng, count, at, share)
        rest = at - one
        prior = split.CONCENTRATION
        log = gammaln(prior) - gammaln(prior + at) + at * math.log(2)
        for side in (one, rest):
            log = log + gammaln(prior / 2 + side) - gammaln(prior / 2)
        told = split.mismatch([int(one[0, -1]), int(rest[0, -1])], [0.5, 0.5])
        assert math.isclose(math.exp(min(log[0, -1], 700)), told, rel_tol=1e-6)
        apart = one / at - 0.5
        return log >= -math.log(ALPHA), normal_mixture(apart, 0.25 / at, at, ALPHA, AROUND * total)

    some = crossed(max(runs // 4, 1), 0.5 + 4.2 * 0.5 / math.sqrt(total))
    return judged(
        *("split", f"half to each, {total:,} users", ALPHA, crossed(runs, 0.5)[0], *some),
        at / total,
        name=RIVAL,
    )


def of_bets(runs, rng, rows=1_000):
    """Pairs of answers, row by row."""
    spread = math.sqrt(2 * 10 / (49 * 8)) / 2  # of half a difference of two Beta(2, 5)
    effect = 4.2 * spread / math.sqrt(rows)
    at = np.arange(1, rows + 1)

    def crossed(shift):
        pairs = 0.5 + (rng.beta(2, 5, rows) - rng.beta(2, 5, rows)) / 2 + shift
        values = np.clip(pairs, 0, 1)
        start = betting.begin(ALPHA)
        nothing = np.zeros(1)
        alone = betting.Fortunes(ALPHA, np.array([0.5]), nothing, nothing, 0, 0.0, 0.0, 0.0, 1.0)
        assert start.rows == alone.rows
        apart = values.cumsum() / at - 0.5
        best = normal_mixture(apart, spread**2 / at, at, ALPHA, AROUND * rows)
        return alone.after(values).between.high == 1.0, best.any()  # refuted: nothing is left open

    none = [crossed(0.0)[0] for _ in range(runs)]
    some = np.array([crossed(effect) for _ in range(max(runs // 4, 1))])
    hits = sum(none)
    return Outcome(
        *("betting", f"pairs of Beta(2, 5), {rows:,} pairs", ALPHA, runs, rows),
        *(
            hits / runs,
            lower(hits, runs),
            float(some[:, 0].mean()),
            float(some[:, 1].mean()),
            RIVAL,
        ),
    )


def of_distances(runs, rng, rows=2_000, looks=40):
    """How far distributions are apart: whether the true distance ever lies outside."""
    at = grid(rows, looks)
    truth = 2 * norm.cdf(0.1) - 1  # of two normals, a fifth of a deviation apart
    some = max(runs // 10, 1)
    missed = np.zeros((some, len(at)), bool)
    for run in range(some):
        one, other = rng.normal(0, 1, rows), rng.normal(0.2, 1, rows)
        for look, n in enumerate(at):
            _, told = distances.numbers(one[:n], other[:n], ALPHA)
            missed[run, look] = not told.holds(truth)
    setting = f"normals, a distance of {truth:.3f}, {rows:,} rows an arm"
    yield judged("distance of numbers", setting, ALPHA, missed)

    laws = np.array([0.5, 0.3, 0.15, 0.04, 0.01]), np.array([0.45, 0.3, 0.15, 0.04, 0.06])
    steps = np.diff(at, prepend=0)
    arms = [rng.multinomial(steps, law, (some, len(at))).cumsum(1) for law in laws]
    count = np.broadcast_to(at.astype(float), (some, len(at)))
    refuted = np.zeros((some, len(at)), bool)
    for place, apart in enumerate(laws[1] - laws[0]):
        sides = [(arm[..., place], count) for arm in arms]
        refuted |= rates.log_evidence(*sides, apart) >= math.log(2 * len(laws[0]) / ALPHA)
    found = np.abs(arms[1] - arms[0]).sum(-1) / 2 / at
    half = np.array([2 * distances.empirical(int(n), ALPHA / 4, len(laws[0])) for n in at])
    refuted |= np.abs(found - 0.05) > half
    for run in range(min(some, 5)):  # the interval itself misses nowhere else
        told = distances.classes(arms[0][run, -1], arms[1][run, -1], ALPHA)[1]
        assert told.holds(0.05) or refuted[run, -1]
    setting = f"five classes, a distance of 5 %, {rows:,} rows an arm"
    yield judged("distance of classes", setting, ALPHA, refuted)
