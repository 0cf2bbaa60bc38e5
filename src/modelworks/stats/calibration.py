"""Do probabilities mean what they say? Reliability, calibration errors, and calibrators.

Sources: ECE: Naeini et al., AAAI 2015; ACE (bins of equal count): Nixon et al., CVPR workshops
2019; isotonic regression by pooling adjacent violators: Barlow et al. 1972; sigmoid: Platt 1999,
with his smoothed targets, by Newton's method (Lin, Lin and Weng 2007); temperature: Guo et al.,
ICML 2017.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.core.errors import InvalidError
from modelworks.stats.intervals import LEVEL, Estimate, basic, kish, wilson

Floats = NDArray[np.float64]
BINS: Final = 10
_RESAMPLES: Final = 1000
_STEPS: Final = 100
_SMALL: Final = 1e-12


class Bins(StrEnum):
    """How the scores are cut."""

    WIDTH = "width"  # 0 to 1 in equal parts
    COUNT = "count"  # as many rows in each; equal scores stay together


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of about the same score.

    Attributes:
        low: of the scores in it, or the bin's edge.
        high: the same.
        count: of rows.
        score: their mean.
        share: of them that are positive, with Wilson's interval.
    """

    low: float
    high: float
    count: int
    score: float
    share: Estimate


def edges_of(scores: Floats, bins: int = BINS, how: Bins = Bins.WIDTH) -> Floats:
    """The inner edges of the bins, rising; a score on an edge belongs to the bin below it."""
    if bins < 1:
        raise InvalidError(f"bins: {bins} is below 1", field="bins")
    if how is Bins.WIDTH:
        return np.linspace(0, 1, bins + 1)[1:-1]
    return np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1]))


def reliability(
    scores: Floats,
    truth: Any,
    *,
    bins: int = BINS,
    how: Bins = Bins.WIDTH,
    weights: Floats | None = None,
    level: float = LEVEL,
) -> tuple[Bin, ...]:
    """The reliability diagram's data; empty bins are left out.

    Args:
        scores: probability of the positive class, a row each.
        truth: 0 or 1, a row each.
        bins: at most.
        how: they are cut.
        weights: of the rows.
        level: of the intervals.
    """
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth, np.float64)
    inner = edges_of(scores, bins, how)
    place = np.searchsorted(inner, scores, side="left")
    outer = np.concatenate([[0.0], inner, [1.0]])
    mass = np.ones(len(scores)) if weights is None else weights
    found = []
    for number in np.unique(place):
        rows = place == number
        own = mass[rows]
        if own.sum() <= 0:
            continue
        share = float(np.average(truth[rows], weights=own))
        low, high = float(outer[number]), float(outer[number + 1])
        score = float(np.average(scores[rows], weights=own))
        estimate = wilson(min(max(share, 0.0), 1.0), kish(own), level)
        found.append(Bin(low, high, int(rows.sum()), score, estimate))
    return tuple(found)


def calibration_error(
    scores: Floats,
    truth: Any,
    *,
    bins: int = BINS,
    how: Bins = Bins.WIDTH,
    weights: Floats | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """ECE (bins of equal width) or ACE (of equal count), with an interval.

    The figure is the usual one, which is above 0 for a calibrated model too: each bin's difference
    counts as positive. The basic bootstrap interval takes that bias off again, so that it can lie
    below the figure; it begins at 0 where chance alone would often enough give as much to a
    calibrated model. The edges of the bins are held fixed.

    Args: as `reliability`, and
        seed: of the resampling.
    """
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth, np.float64)
    if not len(scores):
        return Estimate(np.nan, np.nan, np.nan, "undefined")
    mass = np.ones(len(scores)) if weights is None else weights
    place = np.searchsorted(edges_of(scores, bins, how), scores, side="left")
    gaps = mass * (scores - truth)
    cells = int(place.max()) + 1
    sums = np.bincount(place, gaps, cells)
    value = float(np.abs(sums).sum() / mass.sum())
    # A bin's sum over a Poisson resample of the rows has the variance of the squares' sum
    spread = np.sqrt(np.bincount(place, np.square(gaps), cells))
    noise = np.random.default_rng(seed).standard_normal((_RESAMPLES, cells)) * spread
    replicates = np.abs(sums + noise).sum(axis=1) / mass.sum()
    found = basic(value, replicates, level)
    chance = np.quantile(np.abs(noise).sum(axis=1) / mass.sum(), (1 + level) / 2)
    low = 0.0 if value <= chance else max(0.0, found.low)
    high = min(1.0, max(found.high, 0.0))
    return Estimate(value, low, max(low, high), found.method)


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A rising step-wise linear map.

    Attributes:
        xs: rising.
        ys: one each, never falling; beyond the ends the map is level.
    """

    xs: tuple[float, ...]
    ys: tuple[float, ...]

    def apply(self, scores: Any) -> Floats:
        """Calibrated scores."""
        found: Floats = np.interp(np.asarray(scores, np.float64), self.xs, self.ys)
        return found


def fit_isotonic(scores: Any, truth: Any, weights: Floats | None = None) -> Isotonic:
    """Least squares among all rising maps: pool adjacent violators.

    Args:
        scores: a row each; equal ones are pooled first.
        truth: what they should be.
        weights: of the rows.
    """
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth, np.float64)
    mass = np.ones(len(scores)) if weights is None else weights
    if not len(scores):
        raise InvalidError("no rows to calibrate on", field="scores")
    xs, place = np.unique(scores, return_inverse=True)
    total = np.bincount(place, mass)
    means = np.bincount(place, mass * truth) / np.maximum(total, _SMALL)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, points
    for mean, weight in zip(means.tolist(), total.tolist(), strict=True):
        block = (mean, weight, 1)
        while blocks and blocks[-1][0] >= block[0]:
            before = blocks.pop()
            weight_of = before[1] + block[1]
            pooled = (before[0] * before[1] + block[0] * block[1]) / max(weight_of, _SMALL)
            block = (pooled, weight_of, before[2] + block[2])
        blocks.append(block)
    ends = np.cumsum([block[2] for block in blocks])
    firsts = xs[np.concatenate([[0], ends[:-1]])]
    lasts = xs[ends - 1]
    knots: list[tuple[float, float]] = []
    for block, first, last in zip(blocks, firsts.tolist(), lasts.tolist(), strict=True):
        knots += [(first, block[0])] if first == last else [(first, block[0]), (last, block[0])]
    return Isotonic(tuple(x for x, _ in knots), tuple(y for _, y in knots))


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """`1 / (1 + exp(slope * score + offset))`."""

    slope: float
    offset: float

    def apply(self, scores: Any) -> Floats:
        """Calibrated scores."""
        return _expit(-(self.slope * np.asarray(scores, np.float64) + self.offset))


def fit_sigmoid(scores: Any, truth: Any, weights: Floats | None = None) -> Sigmoid:
    """Platt's scaling: logistic regression on the score, the targets smoothed by one count."""
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth, np.float64)
    mass = np.ones(len(scores)) if weights is None else weights
    if not len(scores):
        raise InvalidError("no rows to calibrate on", field="scores")
    above, below = float(mass[truth > 0].sum()), float(mass[truth <= 0].sum())
    target = np.where(truth > 0, (above + 1) / (above + 2), 1 / (below + 2))
    rows = np.stack([scores, np.ones(len(scores))], axis=1)
    given = np.array([0.0, np.log((below + 1) / (above + 1))])
    for _ in range(_STEPS):
        share = _expit(-(rows @ given))
        slope = rows.T @ (mass * (target - share))
        curve = (rows * (mass * share * (1 - share))[:, None]).T @ rows
        step = np.linalg.solve(curve + _SMALL * np.eye(2), slope)
        size = 1.0
        while size > _SMALL and _loss(rows, given - size * step, target, mass) > _loss(
            rows, given, target, mass
        ):
            size /= 2
        given = given - size * step
        if float(np.abs(slope).max()) < 1e-9 * mass.sum():
            break
    return Sigmoid(float(given[0]), float(given[1]))


def _loss(rows: Floats, given: Floats, target: Floats, mass: Floats) -> float:
    score = rows @ given
    return float(mass @ (np.logaddexp(0, score) - (1 - target) * score))


def fit_temperature(logits: Any, truth: Any) -> float:
    """The number that logits are divided by so that the likelihood is greatest.

    Args:
        logits: [rows, classes]; logarithms of probabilities do as well.
        truth: class index, a row each.
    """
    logits, truth = np.asarray(logits, np.float64), np.asarray(truth, np.int64)
    if not len(logits):
        raise InvalidError("no rows to calibrate on", field="logits")

    def slope(inverse: float) -> float:
        scaled = logits * inverse
        shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        expected = (shares * logits).sum(axis=1)
        return float((expected - logits[np.arange(len(truth)), truth]).mean())

    low, high = 1e-3, 1e3  # of the inverse: the loss is convex in it
    for _ in range(_STEPS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / float((low * high) ** 0.5)


def _expit(values: Floats) -> Floats:
    found: Floats = np.exp(-np.logaddexp(0, -values))
    return found
