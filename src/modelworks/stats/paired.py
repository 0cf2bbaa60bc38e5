"""Non-inferiority of a rate on the same rows: has the share of right answers fallen by too much?

Of `rows` that two models answered, `losses` are right with the first alone and `gains` with the
second alone. The drop is the difference of the two rates, p_loss - p_gain. That it is at least so
and so much is refuted by the score statistic of Tango (Statistics in Medicine 17, 1998, 891), whose
distribution is not taken to be normal: its p-value is the largest that any rate of the gains gives
(Hsueh, Liu and Chen, Biometrics 57, 2001, 478), over the rates that the counts themselves leave
(Berger and Boos, JASA 89, 1994, 1012). So it holds at small counts too.
"""

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from modelworks.stats.student import beta_below

_NORMAL: Final = NormalDist()
_GRID: Final = 24
_CELLS: Final = 40_000
_QUICK: Final = 8_000  # of which a p-value takes a millisecond
_SPARED: Final = 1e-3
"""Of the error: what is given to the interval of the nuisance rate."""
_STEPS: Final = 40
_LARGEST: Final = 1 << 40


def score(losses: Any, gains: Any, rows: float, drop: float) -> Any:
    """Tango's statistic: about standard normal where the drop is `drop`, lower where it is less.

    Args:
        losses: counts, any shape.
        gains: counts of the same shape.
        rows: in all.
        drop: 0 to 1, exclusive.
    """
    b, c = np.asarray(losses, np.float64), np.asarray(gains, np.float64)
    linear = (2 * rows - b + c) * drop - b - c
    rate = (np.sqrt(linear**2 + 8 * rows * c * drop * (1 - drop)) - linear) / (4 * rows)
    variance = rows * (2 * rate + drop * (1 - drop))
    return (b - c - rows * drop) / np.sqrt(np.maximum(variance, 1e-300))


@lru_cache(maxsize=4096)
def p_value(losses: int, gains: int, rows: int, drop: float, error: float = 0.05) -> float:
    """The chance of counts that speak as clearly against a drop of `drop` or more.

    Args:
        losses: rows that only the first model had right.
        gains: rows that only the second had right.
        rows: in all.
        drop: that is to be refuted, 0 to 1; 0 asks whether the rate rose.
        error: that a test at this value will be made with: a thousandth of it is spent on the
            nuisance rate.

    Returns:
        A p-value; from about a hundred losses and as many gains on that of the normal distribution.
    """
    if rows < 1 or drop >= 1:
        return float(rows < 1)
    drop = max(drop, 1e-9)
    seen = float(score(losses, gains, rows, drop))
    spared = error * _SPARED
    low, high = _rates(losses + gains, rows, drop, spared)
    cells = _cells(rows, drop, low, high)
    if cells is None:
        return _NORMAL.cdf(seen)
    b, c = cells
    inside = score(b, c, rows, drop) <= seen + 1e-9
    b, c = b[inside], c[inside]
    if not len(b):
        return spared
    logs = _factorials(rows)
    rest = rows - b - c
    ways = logs[rows] - logs[b] - logs[c] - logs[rest]
    largest = 0.0
    for rate in np.linspace(low, high, _GRID):
        chance = (
            ways + b * math.log(rate + drop) + _power(c, rate) + _power(rest, 1 - 2 * rate - drop)
        )
        largest = max(largest, float(np.exp(chance).sum()))
    return min(1.0, largest + spared)


@lru_cache(maxsize=4096)
def upper_bound(losses: int, gains: int, rows: int, error: float) -> float:
    """The drop that is refuted just so: with a chance of 1 - `error` the true one is not larger.

    Args: as `p_value`.
    """
    if rows < 1:
        return 1.0
    low, high = max(0.0, (losses - gains) / rows), 1.0
    z = _NORMAL.inv_cdf(error)
    for _ in range(_STEPS):  # by the score first: it is near, and costs nothing
        middle = (low + high) / 2
        low, high = (low, middle) if score(losses, gains, rows, middle) <= z else (middle, high)
    near = high
    rates = _rates(losses + gains, rows, near, error * _SPARED)
    if _cells(rows, near, *rates, most=_QUICK) is None:
        return near
    seen = max(0.0, (losses - gains) / rows)
    low, high = seen + 0.7 * (near - seen), min(1.0, near + 0.2 * (near - seen) + 1 / rows)
    while high < 1 and p_value(losses, gains, rows, high, error) > error:
        low, high = high, min(1.0, 2 * high)
    for _ in range(8):
        middle = (low + high) / 2
        fine = p_value(losses, gains, rows, middle, error) <= error
        low, high = (low, middle) if fine else (middle, high)
    return high


def rows_needed(losses: int, gains: int, rows: int, drop: float, error: float) -> int | None:
    """About how many rows would refute the drop, were the shares of losses and gains what they are.

    Returns:
        None = none would: the drop seen is as large, or nothing may fall at all.
    """
    if rows < 1 or drop <= 0 or losses - gains >= drop * rows:
        return None
    z = _NORMAL.inv_cdf(error)
    none = math.ceil(math.log(error) / math.log1p(-drop))  # so many without any loss
    enough = max(none, 1)

    def found(count: int) -> bool:
        share = count / rows
        return float(score(losses * share, gains * share, count, drop)) <= z

    while not found(enough):
        enough *= 2
        if enough > _LARGEST:
            return None
    low = enough // 2
    while enough - low > 1 and low >= none:
        middle = (low + enough) // 2
        low, enough = (low, middle) if found(middle) else (middle, enough)
    return max(enough, none)


def _power(count: Any, base: float) -> Any:
    """Count * log(base), 0 where there is nothing to raise."""
    if base <= 0:
        return np.where(count > 0, -np.inf, 0.0)
    return count * math.log(base)


def _rates(discordant: int, rows: int, drop: float, error: float) -> tuple[float, float]:
    """Rates of the gains that the number of rows with two different answers leaves."""
    low, high = clopper_pearson(discordant, rows, error)
    most = (1 - drop) / 2
    first = min(max(0.0, (low - drop) / 2), most)
    return first, min(max(first, (high - drop) / 2), most)


def _cells(
    rows: int, drop: float, low: float, high: float, most: int = _CELLS
) -> tuple[Any, Any] | None:
    """All counts that the rates give with any chance to speak of; None = too many to add up."""
    gains, losses = _span(rows, low, high), _span(rows, low + drop, high + drop)
    if (gains[1] - gains[0] + 1) * (losses[1] - losses[0] + 1) > most:
        return None
    both = np.meshgrid(np.arange(losses[0], losses[1] + 1), np.arange(gains[0], gains[1] + 1))
    b, c = (one.ravel() for one in both)
    fit = b + c <= rows
    return b[fit], c[fit]


def _span(rows: int, low: float, high: float) -> tuple[int, int]:
    """Counts between which all but 10^-8 of a binomial's mass lies, for rates in between."""
    reach = 6.0
    first = rows * low - reach * math.sqrt(rows * low * (1 - low)) - reach**2 / 2
    last = rows * high + reach * math.sqrt(rows * high * (1 - high)) + reach**2 / 2
    return max(0, math.floor(first)), min(rows, math.ceil(last))


@lru_cache(maxsize=64)
def _factorials(rows: int) -> Any:
    found = np.zeros(rows + 1)
    found[1:] = np.cumsum(np.log(np.arange(1, rows + 1)))
    return found


def clopper_pearson(count: int, rows: int, error: float) -> tuple[float, float]:
    """The exact interval of a rate; either end is passed with a chance of `error` / 2 at most.

    Source: Clopper and Pearson, Biometrika 26 (1934).
    """
    return at_least(count, rows, error / 2), 1 - at_least(rows - count, rows, error / 2)


@lru_cache(maxsize=4096)
def at_least(count: int, rows: int, error: float) -> float:
    """The exact lower bound of a rate, one-sided."""
    if count <= 0 or rows < 1:
        return 0.0
    low, high = 0.0, count / rows
    for _ in range(36):
        middle = (low + high) / 2
        tail = beta_below(middle, count, rows - count + 1)
        low, high = (middle, high) if tail < error else (low, middle)
    return low
