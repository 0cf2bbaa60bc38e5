"""Student's distribution, without scipy: intervals of means are made where it is not installed."""

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Final

_TINY: Final = 1e-300
_STEPS: Final = 200


@lru_cache(maxsize=1024)
def t_quantile(share: float, freedom: float) -> float:
    """The value below which a share of Student's distribution lies.

    Args:
        share: 0 to 1, exclusive.
        freedom: degrees of freedom, above 0.
    """
    if share < 0.5:
        return -t_quantile(1 - share, freedom)
    start = NormalDist().inv_cdf(share)
    if freedom > 1e6:
        return start
    low, high = 0.0, max(1.0, 2 * start)
    while t_below(high, freedom) < share:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_below(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def t_below(value: float, freedom: float) -> float:
    """The share of Student's distribution below a value (DLMF 8.17.19)."""
    tail = beta_below(freedom / (freedom + value * value), freedom / 2, 0.5) / 2
    return 1 - tail if value > 0 else tail


def beta_below(value: float, first: float, second: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if value <= 0 or value >= 1:
        return float(value >= 1)
    if value > (first + 1) / (first + second + 2):
        return 1 - beta_below(1 - value, second, first)
    log = math.lgamma(first + second) - math.lgamma(first) - math.lgamma(second)
    log += first * math.log(value) + second * math.log1p(-value)
    return math.exp(log) / (first * _fraction(value, first, second))


def _fraction(value: float, first: float, second: float) -> float:
    """1 + d1 / (1 + d2 / (1 + ...)), by Lentz's method (DLMF 3.10(iii))."""
    found, above, below = 1.0, 1.0, 0.0
    for step in range(1, 10_000):
        half = step // 2
        if step % 2:
            part = -(first + half) * (first + second + half) * value
            part /= (first + 2 * half) * (first + 2 * half + 1)
        else:
            part = half * (second - half) * value
            part /= (first + 2 * half - 1) * (first + 2 * half)
        below = 1 / _away(1 + part * below)
        above = _away(1 + part / above)
        found *= above * below
        if abs(above * below - 1) < 1e-15:
            break
    return found


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
