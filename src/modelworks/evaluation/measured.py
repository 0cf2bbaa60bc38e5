"""A metric of some rows with its interval, and what each row had to do with it.

Most metrics are functions of sums over the rows. Leaving out one row at a time (the jackknife:
Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11) then costs one more call,
and gives every metric the same thing: how much each row moved it. Standard errors come from it,
and, where two models are compared on the same rows, how far their metrics move together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from modelworks.stats import intervals
from modelworks.stats.intervals import LEVEL, Estimate, Floats, Scale

FEW: Final = 1000
"""Up to so many rows the bootstrap makes the interval, beyond it the normal distribution."""

_RESAMPLES: Final = 1000
_SEED: Final = 0
_ALIKE: Final = 1e-14


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One metric.

    Attributes:
        name: of it.
        estimate: with its interval.
        count: of rows (of queries, for ranking) that it is of.
        influence: of each row, 0 where it had none: their squares sum up to the variance.
    """

    name: str
    estimate: Estimate
    count: int
    influence: Floats

    @property
    def value(self) -> float:
        """Of the metric; NaN = not defined on these rows."""
        return self.estimate.value

    @property
    def error(self) -> float:
        """Standard error."""
        return math.sqrt(float(np.sum(np.square(self.influence))))


def undefined(name: str, rows: int) -> Measured:
    """A metric that has no value on these rows."""
    return Measured(name, intervals.UNDEFINED, 0, np.zeros(rows))


def of_sums(
    name: str,
    terms: Floats,
    value: Callable[[Floats], Floats],
    scale: Scale = Scale.PLAIN,
    level: float = LEVEL,
) -> Measured:
    """A metric that is a function of sums over the rows.

    Args:
        name: of it.
        terms: [rows, sums], weights multiplied in.
        value: sums [..., sums] -> the metric [...]; NaN where it is not defined.
        scale: where it is nearly normal.
        level: of the interval.
    """
    rows = len(terms)
    sums = terms.sum(axis=0)
    with np.errstate(all="ignore"):
        found = float(value(sums))
        if not math.isfinite(found):
            return replace(undefined(name, rows), count=rows)
        without = np.nan_to_num(value(sums - terms), nan=found, posinf=found, neginf=found)
        influence = _influence(without)
        error = math.sqrt(float(np.sum(np.square(influence))))
        if 2 <= rows <= FEW and error > _ALIKE:
            drawn = intervals.resampled(rows, _RESAMPLES, _SEED)
            replicates = np.asarray(value(drawn @ terms), np.float64)
            estimate = intervals.bca(found, replicates, influence, level)
        elif rows < 2:
            estimate = Estimate(found, math.nan, math.nan, "too few rows")
        else:
            estimate = intervals.wald(found, error, scale, level)
    return Measured(name, estimate, rows, influence)


def proportion(name: str, hit: Floats, of: Floats, level: float = LEVEL) -> Measured:
    """A share of the rows that it is about, with Wilson's interval.

    Args:
        name: of it.
        hit: weight of each row that counts, else 0.
        of: weight of each row that it is about, else 0.
        level: of the interval.
    """
    total = float(of.sum())
    if total <= 0:
        return undefined(name, len(of))
    share = float(hit.sum()) / total
    influence = (hit - share * of) / total
    about = of[of > 0]
    estimate = intervals.wilson(min(1.0, max(0.0, share)), intervals.kish(about), level)
    return Measured(name, estimate, len(about), influence)


def average(
    name: str, values: Floats, weights: Floats, level: float = LEVEL, scale: Scale = Scale.PLAIN
) -> Measured:
    """A mean over the rows; those whose value is NaN have none and are left out."""
    known = np.isfinite(values) & (weights > 0)
    inner = of_sums(
        name,
        np.stack([weights[known] * values[known], weights[known]], axis=1),
        lambda sums: sums[..., 0] / sums[..., 1],
        scale,
        level,
    )
    if inner.count > FEW and scale is Scale.PLAIN:
        estimate = intervals.mean(inner.value, inner.error, inner.count, level)
        inner = replace(inner, estimate=estimate)
    influence = np.zeros(len(values))
    influence[known] = inner.influence
    return replace(inner, influence=influence)


def ratio(name: str, above: Floats, below: Floats, level: float = LEVEL) -> Measured:
    """A sum of the rows over another of them, 0 to 1.

    Where no row is unlike the others, Wilson's interval of as many trials as rows is taken: that
    nothing went wrong yet does not mean that nothing will.
    """
    found = of_sums(
        name,
        np.stack([above, below], axis=1),
        lambda sums: sums[..., 0] / sums[..., 1],
        Scale.LOGIT,
        level,
    )
    return sure(found, int(np.sum(below > 0)), level)


def sure(found: Measured, trials: float, level: float = LEVEL) -> Measured:
    """A metric from 0 to 1; at an end, where its rows show no variation, Wilson's interval."""
    if not (found.value <= _ALIKE or found.value >= 1 - _ALIKE):
        return found
    return replace(found, estimate=intervals.wilson(round(found.value), trials, level))


def mixture(
    name: str, parts: Sequence[Measured], weights: Sequence[float], level: float = LEVEL
) -> Measured:
    """A weighted sum of metrics of the same rows, by their own intervals (MOVER).

    Args:
        name: of it.
        parts: metrics; all of them defined.
        weights: one a part.
        level: of the interval, which must be that of the parts.
    """
    influence = np.sum([w * p.influence for w, p in zip(weights, parts, strict=True)], axis=0)
    estimate = intervals.combined([p.estimate for p in parts], weights, _correlations(parts))
    if math.isnan(estimate.low) and math.isfinite(estimate.value):
        error = math.sqrt(float(np.sum(np.square(influence))))
        estimate = intervals.wald(estimate.value, error, Scale.PLAIN, level)
    low, high = max(0.0, estimate.low), min(1.0, estimate.high)
    estimate = replace(estimate, low=low, high=high)
    return Measured(name, estimate, max(p.count for p in parts), influence)


def difference(left: Measured, right: Measured, *, paired: bool) -> Estimate:
    """Interval of `left - right`.

    Args:
        left: a metric.
        right: the same metric of another model, or of other rows.
        paired: both are of the same rows, in the same order.
    """
    if not paired:
        return intervals.difference(left.estimate, right.estimate)
    if np.allclose(left.influence, right.influence, rtol=0, atol=_ALIKE):
        same = left.value - right.value
        if same == 0:
            return Estimate(0.0, 0.0, 0.0, "the same rows are right and wrong")
    return intervals.difference(left.estimate, right.estimate, float(_correlation(left, right)))


def _influence(without: Floats) -> Floats:
    """From the metric without each row: scaled so that the squares sum up to the variance."""
    rows = len(without)
    found: Floats = math.sqrt((rows - 1) / max(rows, 1)) * (without.mean() - without)
    return found


def _correlation(left: Measured, right: Measured) -> float:
    size = left.error * right.error
    return float(left.influence @ right.influence) / size if size > 0 else 0.0


def _correlations(parts: Sequence[Measured]) -> Floats:
    stacked = np.stack([part.influence for part in parts])
    sizes = np.sqrt(np.sum(np.square(stacked), axis=1))
    sizes[sizes == 0] = 1.0
    found = (stacked @ stacked.T) / np.outer(sizes, sizes)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found, np.float64)
