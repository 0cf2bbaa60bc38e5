"""How far the distributions of two arms are apart: of numbers (Kolmogorov-Smirnov), of classes."""

import math
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.stats.sequences import rates
from modelworks.stats.sequences.between import Between
from modelworks.stats.sequences.tilts import Floats, threshold

FEWEST: Final = 32
"""Rows of an arm below which nothing is said of a distribution."""
APART: Final = 8
"""Classes that are looked at one by one too, at the most."""
GROWTH: Final = 1.3
"""Of an epoch: its end has so many times the rows of its beginning."""


def empirical(rows: int, alpha: float, classes: int = 2) -> float:
    """How far an empirical distribution may be from the true one, at any time.

    Valid at every look, whatever the distribution. The distance is a reverse submartingale
    (Pollard, "Convergence of Stochastic Processes", 1984, section II.5), so that Doob's inequality
    bounds it from m rows on by its law at m rows. There P(D >= e) <= C exp(-2 m e^2): of
    distribution functions C = 2 (Dvoretzky, Kiefer and Wolfowitz, with the constant of Massart,
    Annals of Probability 18, 1990), of the total variation of k classes C = 2^k - 2 (Weissman and
    others, "Inequalities for the L1 deviation of the empirical distribution", HP Labs report
    HPL-2003-97, 2003, theorem 2.1). With (D - a)+ as Doob's convex function, P(sup D >= e) <=
    C sqrt(2 pi) Q(z_a) / (z - z_a), z = 2 sqrt(m) e, Q the normal tail, for any z_a < z; z_a = z -
    1 / z is near the best. Epochs that begin at m = 32, 41.6, 54, ... get alpha / ((k + 1) (k +
    2)), as in the stitching of Howard and others, Annals of Statistics 49 (2021), section 3.1.

    Args:
        rows: so many.
        alpha: chance of ever being farther off.
        classes: of a total variation; 2 also stands for distribution functions.

    Returns:
        0 to 1; 1 = nothing is known.
    """
    threshold(alpha)
    if rows < FEWEST:
        return 1.0
    epoch = int(math.log(rows / FEWEST) / math.log(GROWTH) + 1e-9)
    began = FEWEST * GROWTH**epoch
    z = _needed(alpha / ((epoch + 1) * (epoch + 2)) / (2.0**classes - 2))
    return min(1.0, z / (2 * math.sqrt(began)))


def numbers(stable: Floats, candidate: Floats, alpha: float) -> tuple[float, Between]:
    """The Kolmogorov-Smirnov distance of two samples, and of what they were drawn from.

    Valid at every look: the distance of the distributions differs from that of the samples by no
    more than both samples are off (`empirical`, half of alpha each).

    Args:
        stable: numbers of the stable arm, [n], in any order.
        candidate: of the candidate, [m].
        alpha: chance of ever missing.

    Returns:
        (distance of the samples, 0 to 1; where that of the distributions lies).
    """
    one, other = np.sort(stable), np.sort(candidate)
    if not len(one) or not len(other):
        return 0.0, Between(0.0, 1.0)
    at = np.concatenate([one, other])
    first, second = (np.searchsorted(arm, at, side="right") / len(arm) for arm in (one, other))
    found = float(np.abs(first - second).max())
    half = empirical(len(one), alpha / 2) + empirical(len(other), alpha / 2)
    return found, Between(max(0.0, found - half), min(1.0, found + half))


def classes(stable: Any, candidate: Any, alpha: float) -> tuple[float, Between]:
    """The total variation between two arms' classes: the share that would have to move.

    Valid at every look, at any count. Half of the chance goes to all classes together
    (`empirical`), half to an exact sequence of each class's difference (`rates.difference`), which
    sees rare ones: shares that classes gain add up to what others lose, so that either sum bounds
    the distance. Of two classes one difference says all; of more than `APART` classes all together
    have the whole chance, as so many sequences take long.

    Args:
        stable: rows of each class, [classes]; which classes there are was known before.
        candidate: the same.
        alpha: chance of ever missing.

    Returns:
        (distance of the samples, 0 to 1; where that of the distributions lies).

    Raises:
        InvalidError: other classes than the stable arm's, or a count below 0.
    """
    one, other = np.asarray(stable, np.int64), np.asarray(candidate, np.int64)
    if one.shape != other.shape or one.ndim != 1 or min(one.min(), other.min()) < 0:
        raise InvalidError(f"classes: {one.shape} and {other.shape} counts", field="classes")
    n, m = int(one.sum()), int(other.sum())
    if not n or not m:
        return 0.0, Between(0.0, 1.0)
    found = float(np.abs(other / m - one / n).sum() / 2)
    if len(one) == 1:
        return 0.0, Between(0.0, 0.0)
    if len(one) == 2:
        end = rates.difference(int(one[0]), n, int(other[0]), m, alpha)
        return found, Between(max(0.0, end.low, -end.high), max(-end.low, end.high))
    if len(one) > APART:
        half = empirical(n, alpha / 2, len(one)) + empirical(m, alpha / 2, len(one))
        return found, Between(max(0.0, found - half), min(1.0, found + half))
    ends = [
        rates.difference(int(a), n, int(b), m, alpha / 2 / len(one))
        for a, b in zip(one, other, strict=True)
    ]
    half = empirical(n, alpha / 4, len(one)) + empirical(m, alpha / 4, len(one))
    gained, lost = (sum(max(0.0, end) for end in some) for some in _outer(ends, low=False))
    least = max(sum(max(0.0, end) for end in some) for some in _outer(ends, low=True))
    return found, Between(max(0.0, least, found - half), min(1.0, gained, lost, found + half))


def _outer(ends: list[Between], *, low: bool) -> tuple[list[float], list[float]]:
    """What each class gained and lost, at the least or at the most."""
    if low:
        return [end.low for end in ends], [-end.high for end in ends]
    return [end.high for end in ends], [-end.low for end in ends]


def _needed(alpha: float) -> float:
    """The least z at which the bound of `empirical` is alpha or less where C is 1, by halving."""
    low, high = 1.5, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        at = middle - 1 / middle
        chance = math.sqrt(2 * math.pi) * math.erfc(at / math.sqrt(2)) / 2 * middle
        low, high = (low, middle) if chance <= alpha else (middle, high)
    return high
