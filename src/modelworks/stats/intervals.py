"""Confidence intervals of proportions, means, ratios, quantiles, and of differences between them.

Sources: [W] Wilson, JASA 22 (1927); [N] Newcombe, Statistics in Medicine 17 (1998), 857 and 873;
[Z] Zou and Donner, Statistics in Medicine 27 (2008) ("MOVER"); [E] Efron, JASA 82 (1987) (BCa);
[D] Davison and Hinkley, Bootstrap Methods (1997), 5.2; [C] Conover, Practical Nonparametric
Statistics (1999), 3.2; [K] Kish, Survey Sampling (1965), 11.7.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.stats.student import t_quantile

Floats = NDArray[np.float64]
LEVEL: Final = 0.95
_NORMAL: Final = NormalDist()
_EDGE: Final = 1e-12


class Scale(StrEnum):
    """Where an estimate is closer to normal than on its own scale."""

    PLAIN = "plain"
    LOG = "log"  # positive numbers
    LOGIT = "logit"  # 0 to 1
    FISHER = "fisher"  # -1 to 1


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and how far it may be off.

    Attributes:
        value: NaN = not defined on these rows.
        low: lower end of the interval; NaN = too little to say.
        high: upper end.
        method: how the interval was made.
    """

    value: float
    low: float
    high: float
    method: str


UNDEFINED: Final = Estimate(math.nan, math.nan, math.nan, "undefined")


def z_of(level: float) -> float:
    """The normal quantile of a two-sided interval."""
    return _NORMAL.inv_cdf(0.5 + level / 2)


def adjusted(level: float, count: int) -> float:
    """The level of each of `count` intervals that hold together at `level` (Bonferroni)."""
    return 1 - (1 - level) / max(1, count)


def kish(weights: Floats) -> float:
    """How many rows of equal weight say as much as these [K]."""
    total = float(np.sum(weights))
    squares = float(np.sum(np.square(weights)))
    return total * total / squares if squares > 0 else 0.0


def wilson(share: float, count: float, level: float = LEVEL) -> Estimate:
    """Score interval of a proportion [W].

    Args:
        share: of successes, 0 to 1.
        count: of trials; with weights, the effective one.
        level: of confidence.
    """
    if count <= 0 or math.isnan(share):
        return UNDEFINED
    z = z_of(level)
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    half /= 1 + z * z / count
    low = 0.0 if share <= 0 else max(0.0, centre - half)
    high = 1.0 if share >= 1 else min(1.0, centre + half)
    return Estimate(share, low, high, "wilson")


def mean(value: float, error: float, count: float, level: float = LEVEL) -> Estimate:
    """Student's interval of a mean.

    Args:
        value: the mean.
        error: its standard error.
        count: of rows.
        level: of confidence.
    """
    if count < 2 or math.isnan(value):
        return Estimate(value, math.nan, math.nan, "too few rows")
    half = t_quantile(0.5 + level / 2, count - 1) * error
    return Estimate(value, value - half, value + half, "student")


def wald(value: float, error: float, scale: Scale, level: float = LEVEL) -> Estimate:
    """Normal interval on another scale, by the delta method.

    Args:
        value: the estimate.
        error: its standard error, on its own scale.
        scale: where it is taken to be normal.
        level: of confidence.
    """
    if math.isnan(value) or math.isnan(error):
        return replace(UNDEFINED, value=value)
    half = z_of(level) * error
    if scale is Scale.LOGIT and _EDGE < value < 1 - _EDGE:
        centre, half = math.log(value / (1 - value)), half / (value * (1 - value))
        low, high = (_expit(centre + side * half) for side in (-1, 1))
    elif scale is Scale.LOG and value > _EDGE:
        low, high = (value * math.exp(min(side * half / value, 700)) for side in (-1, 1))
    elif scale is Scale.FISHER and abs(value) < 1 - _EDGE:
        centre, half = math.atanh(value), half / (1 - value * value)
        low, high = math.tanh(centre - half), math.tanh(centre + half)
    else:
        low, high = value - half, value + half
    return Estimate(value, low, high, f"jackknife, {scale}")


def difference(left: Estimate, right: Estimate, correlation: float = 0.0) -> Estimate:
    """Interval of `left - right` from the two intervals [Z].

    With Wilson's intervals this is Newcombe's: method 10 of the first paper where the samples are
    independent, of the second (without its continuity correction) where they are paired [N].

    Args:
        left: of one side.
        right: of the other, at the same level.
        correlation: of the two estimates; 0 = of independent rows.
    """
    return combined([left, right], [1.0, -1.0], np.array([[1, correlation], [correlation, 1]]))


def combined(
    parts: Sequence[Estimate], weights: Sequence[float], correlation: Floats | None = None
) -> Estimate:
    """Interval of a weighted sum of estimates from their own intervals [Z].

    Args:
        parts: all at the same level.
        weights: one a part.
        correlation: of the estimates, [parts, parts]; None = independent.
    """
    value = math.fsum(w * part.value for w, part in zip(weights, parts, strict=True))
    if math.isnan(value) or any(math.isnan(part.low) for part in parts):
        return replace(UNDEFINED, value=value)
    matrix = np.eye(len(parts)) if correlation is None else correlation
    below = np.array([_reach(p, w, -1) for p, w in zip(parts, weights, strict=True)])
    above = np.array([_reach(p, w, 1) for p, w in zip(parts, weights, strict=True)])
    signs = np.sign(weights)
    signed = matrix * np.outer(signs, signs)
    low = value - math.sqrt(max(0.0, float(below @ signed @ below)))
    high = value + math.sqrt(max(0.0, float(above @ signed @ above)))
    return Estimate(value, low, high, "mover")


def _reach(part: Estimate, weight: float, side: int) -> float:
    """How far a part can pull the sum down (-1) or up (1)."""
    down = (side < 0) == (weight >= 0)
    return abs(weight) * (part.value - part.low if down else part.high - part.value)


def bca(value: float, replicates: Floats, influence: Floats, level: float = LEVEL) -> Estimate:
    """Bias-corrected and accelerated bootstrap interval [E].

    Args:
        value: the estimate.
        replicates: the same of resampled rows; those that are not defined are left out.
        influence: of each row on the estimate, on any scale: the acceleration is its skewness / 6.
        level: of confidence.
    """
    known = np.sort(replicates[np.isfinite(replicates)])
    if len(known) < max(20, len(replicates) // 2) or math.isnan(value):
        return Estimate(value, math.nan, math.nan, "too few rows")
    below = (np.sum(known < value) + np.sum(known == value) / 2) / len(known)
    if not 0 < below < 1 or known[0] == known[-1]:
        return Estimate(value, float(known[0]), float(known[-1]), "bootstrap, all to one side")
    spread = float(np.sum(np.square(influence)))
    skew = float(np.sum(influence**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    bias = _NORMAL.inv_cdf(float(below))
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        moved = bias + _NORMAL.inv_cdf(tail)
        ends.append(_NORMAL.cdf(bias + moved / max(1 - skew * moved, 1e-3)))
    low, high = np.quantile(known, ends)
    return Estimate(value, float(low), float(high), "bca")


def basic(value: float, replicates: Floats, level: float = LEVEL) -> Estimate:
    """Basic bootstrap interval [D]: takes off the bias that resampling adds once more."""
    known = replicates[np.isfinite(replicates)]
    if len(known) < 20 or math.isnan(value):
        return Estimate(value, math.nan, math.nan, "too few rows")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, 2 * value - float(high), 2 * value - float(low), "basic bootstrap")


@lru_cache(maxsize=8)
def resampled(count: int, resamples: int, seed: int) -> Floats:
    """How often each of `count` rows is drawn, in each of so many resamples: [resamples, count]."""
    picks = np.random.default_rng(seed).integers(0, count, (resamples, count))
    picks += np.arange(resamples)[:, None] * count
    drawn = np.bincount(picks.ravel(), minlength=resamples * count).reshape(resamples, count)
    found = drawn.astype(np.float64)
    found.setflags(write=False)
    return found


def quantile(values: Any, share: float, level: float = LEVEL) -> Estimate:
    """A quantile's interval by order statistics [C], whatever the distribution.

    Args:
        values: of the rows; the ranks are the binomial's normal ones, rounded outwards.
        share: 0 to 1; 0.5 = median.
        level: of confidence.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    count = len(ordered)
    if count == 0:
        return UNDEFINED
    value = float(np.quantile(ordered, share))
    half = z_of(level) * math.sqrt(count * share * (1 - share))
    first, last = math.floor(count * share - half), math.ceil(count * share + half)
    if first < 1 or last > count - 1:
        return Estimate(value, math.nan, math.nan, "too few rows")
    return Estimate(value, float(ordered[first - 1]), float(ordered[last]), "order statistics")


def _expit(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
