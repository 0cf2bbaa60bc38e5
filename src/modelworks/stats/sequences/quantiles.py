"""Quantiles from histograms: how much longer the slowest percent takes."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.stats.sequences.between import ANYTHING, Between
from modelworks.stats.sequences.rates import aim_at
from modelworks.stats.sequences.tilts import (
    Aim,
    Floats,
    Mixture,
    log_evidence,
    log_evidence_alone,
    mixture,
    threshold,
)

LARGEST: Final = 4.0
SMALLEST: Final = 0.004


def difference(
    stable_buckets: Mapping[float, int],
    candidate_buckets: Mapping[float, int],
    q: float,
    alpha: float,
    aim: Aim | None = None,
) -> Between:
    """Candidate's quantile less the stable arm's, in the unit of the bounds.

    Valid at every look and for any number of rows, whatever the distribution. If the quantile lies
    in a bucket, then at most a share q lies below the bucket and at least q up to its end: each is
    an event that is counted, with the exact likelihood ratio of Bernoulli trials. Source: Howard
    and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm
    identification", Bernoulli 28 (2022), section 3; here with the mixture of `tilts` over both
    arms. What lies within a bucket is not guessed: a difference is known to the
    bucket, and the ends do not belong to the interval: a low end of 0 proves that it is slower.

    Args:
        stable_buckets: upper bound (inclusive; the last may be inf) -> rows, not cumulative.
        candidate_buckets: the same, with the same bounds or others.
        q: 0 to 1; 0.99 = the slowest percent.
        alpha: chance of ever missing.
        aim: `rates.aim_at` the share above the quantile, 1 - q, and how much more of the rows would
            lie above it; to be chosen before the first look. None = half as many again, from arms
            of one size.

    Raises:
        InvalidError: q is not between 0 and 1, or a bucket counts less than nothing.
    """
    if not 0 < q < 1:
        raise InvalidError(f"q: {q} is not between 0 and 1", field="q")
    needed = threshold(alpha)
    if not stable_buckets or not candidate_buckets:
        return ANYTHING
    mixed = mixture(LARGEST, SMALLEST, aim=aim or aim_at((1 - q) / 2, 1 - q))
    (low1, high1, one), (low2, high2, other) = (
        _likely(_exponents(buckets, q, mixed), mixed, needed, candidate=candidate)
        for candidate, buckets in enumerate((stable_buckets, candidate_buckets))
    )
    if not len(one) or not len(other):  # no bucket is left of an arm: a mixture is no likelihood
        return ANYTHING
    evidence = log_evidence(mixed, one[:, None], other[None, :])
    open_ = evidence < needed
    if not open_.any():
        return ANYTHING
    least = np.where(open_, low2[None, :] - high1[:, None], math.inf).min()
    most = np.where(open_, high2[None, :] - low1[:, None], -math.inf).max()
    return Between(float(least), float(most))


def _likely(
    arm: tuple[Floats, Floats, Floats], mixed: Mixture, needed: float, *, candidate: int
) -> tuple[Floats, Floats, Floats]:
    """The buckets that the arm's own rows do not refute: the others fit no bucket of the other."""
    low, high, exponents = arm
    kept = log_evidence_alone(mixed, exponents, candidate=bool(candidate)) < needed
    return low[kept], high[kept], exponents[kept]


def _exponents(
    buckets: Mapping[float, int], q: float, mixed: Mixture
) -> tuple[Floats, Floats, Floats]:
    """(lower edges, upper edges, exponents [buckets, tilts]); the last bucket ends at infinity."""
    bounds = sorted(buckets)
    counts = np.array([buckets[bound] for bound in bounds], np.float64)
    if (counts < 0).any():
        raise InvalidError("buckets: a bucket counts less than nothing", field="buckets")
    if math.isfinite(bounds[-1]):
        bounds, counts = [*bounds, math.inf], np.append(counts, 0.0)
    upper = np.array(bounds, np.float64)
    first = 0.0 if upper[0] >= 0 else -math.inf
    lower = np.concatenate([[first], upper[:-1]])
    upto = np.cumsum(counts)
    below, total = upto - counts, upto[-1]
    tilts = mixed.tilts
    events = np.where(tilts > 0, below[:, None], upto[:, None])
    return lower, upper, tilts * events - total * np.log1p(q * np.expm1(tilts))
