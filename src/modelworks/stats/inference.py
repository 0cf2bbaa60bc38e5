"""A mean from few labels and many guesses: prediction-powered inference, with power tuning.

Source: Angelopoulos, Duchi and Zrnic, "PPI++: Efficient Prediction-Powered Inference" (2023),
section 6 for the tuning. The interval is valid however bad the guesses are, as long as the labelled
rows are a random part of all: labels that come sooner for some rows than for others break that.
"""

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np

from modelworks.stats.intervals import LEVEL, UNDEFINED, Estimate, Floats, z_of

FEWEST: Final = 20
"""Labels below which nothing is inferred."""
METHOD: Final = "ppi++"


def powered_mean(
    known: Any, guessed: Any, others: Any, *, level: float = LEVEL, tuning: float | None = None
) -> Estimate:
    """The mean over all rows.

    Args:
        known: the quantity on the labelled rows.
        guessed: what was guessed of it on the same rows.
        others: what was guessed on the rows without a label.
        level: of the interval.
        tuning: how much the guesses count, 0 to 1; None = as much as makes the interval narrow.
    """
    known, guessed, others = (np.asarray(a, np.float64) for a in (known, guessed, others))
    if len(known) < 2:
        return UNDEFINED
    weight = _tuning(known, guessed, others) if tuning is None else tuning
    value = float((known - weight * guessed).mean() + weight * _mean(others, guessed))
    variance = float(np.var(known - weight * guessed, ddof=1)) / len(known)
    if len(others) > 1:
        variance += weight**2 * float(np.var(others, ddof=1)) / len(others)
    if len(known) < FEWEST:
        return Estimate(value, math.nan, math.nan, "too few labels")
    half = z_of(level) * math.sqrt(variance)
    return Estimate(value, value - half, value + half, METHOD)


def powered_ratio(
    known: tuple[Any, Any],
    guessed: tuple[Any, Any],
    others: tuple[Any, Any],
    *,
    level: float = LEVEL,
) -> Estimate:
    """A ratio of two means (precision, recall), by the delta method around its own value.

    Args:
        known: above and below the line, on the labelled rows.
        guessed: the same as guessed.
        others: the same on the rows without a label.
        level: of the interval.
    """
    above, below = (
        powered_mean(known[side], guessed[side], others[side], level=level) for side in (0, 1)
    )
    if not below.value > 0:
        return UNDEFINED
    value = above.value / below.value

    def moved(pair: tuple[Any, Any]) -> Floats:
        top, bottom = (np.asarray(one, np.float64) for one in pair)
        return np.asarray((top - value * bottom) / below.value, np.float64)

    around = powered_mean(moved(known), moved(guessed), moved(others), level=level)
    found = replace(around, value=value + around.value)
    return replace(found, low=value + around.low, high=value + around.high)


def _tuning(known: Floats, guessed: Floats, others: Floats) -> float:
    if len(others) < 2:
        return 0.0
    together = np.concatenate([guessed, others])
    spread = float(np.var(together, ddof=1))
    if spread <= 0:
        return 0.0
    shared = float(np.cov(known, guessed, ddof=1)[0, 1])
    return min(1.0, max(0.0, shared / (spread * (1 + len(known) / len(others)))))


def _mean(others: Floats, guessed: Floats) -> float:
    return float((others if len(others) else guessed).mean())
