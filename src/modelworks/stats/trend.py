"""A straight line through numbers of which some may be anything: Theil and Sen.

Theil, A rank-invariant method of linear and polynomial regression analysis, 1950; Sen, Estimates of
the regression coefficient based on Kendall's tau, JASA 63, 1968.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = Sequence[float] | NDArray[np.float64]
MOST: Final = 200
"""Points that slopes are taken between: 19,900 pairs."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line and how sure its slope is.

    Attributes:
        slope: of y, per unit of x.
        intercept: y at x = 0.
        low: lower bound of the slope.
        high: upper bound of the slope.
    """

    slope: float
    intercept: float
    low: float
    high: float

    def at(self, x: float) -> float:
        """The line's height."""
        return self.intercept + self.slope * x


def theil_sen(x: Numbers, y: Numbers, certain: float = 0.95) -> Line:
    """The median of the slopes between all pairs, with Sen's interval.

    Args:
        x: rising; at least two that differ.
        y: one for each.
        certain: that the interval holds the slope: 0.95.

    Raises:
        ValueError: fewer than two different x.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    first, second = np.triu_indices(len(xs), 1)
    run = xs[second] - xs[first]
    apart = run != 0
    slopes = np.sort((ys[second] - ys[first])[apart] / run[apart])
    if not slopes.size:
        raise ValueError("a line wants two different x")
    slope = float(np.median(slopes))
    intercept = float(np.median(ys) - slope * np.median(xs))
    low, high = _interval(slopes, xs, ys, certain)
    return Line(slope, intercept, low, high)


def _interval(
    slopes: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], certain: float
) -> tuple[float, float]:
    """Sen 1968, section 4: ranks of the slopes, by the variance of Kendall's statistic."""
    n, count = len(x), len(slopes)
    variance = (n * (n - 1) * (2 * n + 5) - _ties(x) - _ties(y)) / 18
    reach = NormalDist().inv_cdf(1 - (1 - certain) / 2) * math.sqrt(max(variance, 0.0))
    upper = min(round((count + reach) / 2), count - 1)
    lower = max(round((count - reach) / 2) - 1, 0)
    return float(slopes[lower]), float(slopes[upper])


def _ties(values: NDArray[np.float64]) -> float:
    _, counts = np.unique(values, return_counts=True)
    return float((counts * (counts - 1) * (2 * counts + 5)).sum())


def thinned(
    x: Numbers, y: Numbers, most: int = MOST
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most so many points: neighbours become their medians."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(xs) <= most:
        return xs, ys
    size = -(-len(xs) // most)
    rest = len(xs) % size
    return _medians(xs, rest, size), _medians(ys, rest, size)


def _medians(values: NDArray[np.float64], rest: int, size: int) -> NDArray[np.float64]:
    """Of blocks of a size; the first one has what is left over."""
    found = np.median(values[rest:].reshape(-1, size), axis=1)
    return np.concatenate([[np.median(values[:rest])], found]) if rest else found
