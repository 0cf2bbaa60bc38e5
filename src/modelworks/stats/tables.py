"""Tests of counts: two histograms, and two shares."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_EXPECTED: Final = 5.0
"""Cochran (1954): below this many expected in a cell the chi-square law is not trusted."""


@dataclass(frozen=True, slots=True)
class Tested:
    """A test of counts.

    Attributes:
        statistic: chi-square; NaN = an exact test was made instead.
        freedom: degrees of it.
        p_value: of no difference.
        pooled: cells that were too thin and were counted as one.
    """

    statistic: float
    freedom: int
    p_value: float
    pooled: int = 0


def chi_square(first: ArrayLike, second: ArrayLike) -> Tested:
    """Pearson's test that two histograms came from one distribution.

    Cells that expect fewer than five of the smaller sample are pooled into one, the thinnest
    first, until every cell expects five; a table of two cells is `two_shares`.

    Args:
        first: counts by cell.
        second: counts by the same cells.
    """
    table = np.array([first, second], np.float64)
    table = table[:, table.sum(0) > 0]
    sizes = table.sum(1)
    if table.shape[1] < 2 or not sizes.all():
        return Tested(0.0, 0, 1.0)
    table, pooled = _pool(table, float(sizes.min() / sizes.sum()))
    if table.shape[1] < 2:
        return Tested(0.0, 0, 1.0, pooled)
    if table.shape[1] == 2:
        (a, b), (c, d) = table
        found = two_shares(int(a), int(a + b), int(c), int(c + d))
        return Tested(found.statistic, 1, found.p_value, pooled)
    return _pearson(table, 0.0, pooled)


def two_shares(first: int, of_first: int, second: int, of_second: int) -> Tested:
    """Whether two shares are one: chi-square with Yates' correction, Fisher's test of thin counts.

    Args:
        first: how many of the first sample have it.
        of_first: its size.
        second: how many of the second sample have it.
        of_second: its size.
    """
    table = np.array([[first, of_first - first], [second, of_second - second]], np.float64)
    if not table.sum(0).all() or not table.sum(1).all():
        return Tested(0.0, 1, 1.0)
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    if expected.min() >= LEAST_EXPECTED:
        correction = min(0.5, float(np.abs(table - expected).max()))
        return _pearson(table, correction, 0)
    from scipy.stats import fisher_exact  # noqa: PLC0415 - half a second of import

    return Tested(float("nan"), 1, float(fisher_exact(table.astype(np.int64)).pvalue))


def _pearson(table: NDArray[np.float64], correction: float, pooled: int) -> Tested:
    from scipy.special import chdtrc  # noqa: PLC0415 - as above

    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    apart = np.maximum(np.abs(table - expected) - correction, 0.0)
    statistic = float((apart**2 / expected).sum())
    freedom = table.shape[1] - 1
    return Tested(statistic, freedom, float(chdtrc(freedom, statistic)), pooled)


def _pool(table: NDArray[np.float64], share: float) -> tuple[NDArray[np.float64], int]:
    """The thinnest cells as one, so that each expects five of the smaller sample."""
    expected = table.sum(0) * share
    if expected.min() >= LEAST_EXPECTED:
        return table, 0
    order = np.argsort(expected, kind="stable")
    running = np.cumsum(expected[order])
    thin = int((expected < LEAST_EXPECTED).sum())
    # one thin cell takes the next one to it; many thin ones take others only until they are five
    count = max(thin, int(np.searchsorted(running, LEAST_EXPECTED)) + 1)
    count = min(max(count, 2), table.shape[1])
    together, apart = order[:count], np.sort(order[count:])
    pooled = table[:, together].sum(1, keepdims=True)
    return np.concatenate([table[:, apart], pooled], axis=1), count
