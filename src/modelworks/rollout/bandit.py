"""Shares that follow what is earned: the chance of each arm to be the best (Thompson's).

A reward that may still come counts as nothing yet: `Sums.count` are the requests whose reward is
final (a click, or the end of the time in which one is waited for). Counting those without a click
at once would punish whoever was asked last; Chapelle, "Modeling delayed feedback in display
advertising", KDD 2014, section 2.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelworks.core.rollouts import ArmEvidence, Direction, Kind, Metric, Plan, Sums

FLOOR: Final = 0.05
"""Of the traffic, that every arm keeps: what is never asked is never known better. With many arms
less: half of an even share."""
STEP: Final = 0.01
"""Smaller moves are not made: each is a new route."""
_POINTS: Final = 2001
_FEWEST: Final = 2  # rows, for a spread
_REACH: Final = 8.0  # standard deviations

Floats = NDArray[np.float64]


def shares(plan: Plan, arms: Sequence[ArmEvidence]) -> dict[str, float]:
    """What each arm gets next; they add up to 1.

    Args:
        plan: of a bandit; its primary is the reward.
        arms: the stable one and the candidates that are still tried.
    """
    best = chances(plan.primary, [arm.metrics.get(plan.primary.name, Sums()) for arm in arms])
    floor = min(FLOOR, 0.5 / len(arms))
    rest = 1.0 - floor * len(arms)
    return {arm.arm: floor + rest * chance for arm, chance in zip(arms, best, strict=True)}


def chances(metric: Metric, sums: Sequence[Sums]) -> list[float]:
    """The chance of each arm to be the best, by what is known; they add up to 1.

    Thompson, Biometrika 25 (1933): playing arms with these chances is his rule. For a rate, the
    posterior of each is a beta distribution with an even prior; for a mean, a normal one with the
    rows' own spread (and even chances until each arm has two rows). The chance is an integral over
    one variable, taken on a grid.

    Args:
        metric: RATE or MEAN.
        sums: of the rewards that are final, by arm.
    """
    if metric.kind is Kind.MEAN and min(one.count for one in sums) < _FEWEST:
        return [1.0 / len(sums)] * len(sums)
    prior = _pooled(sums)
    arms = [_centre(metric, one, prior) for one in sums]
    low = min(centre - _REACH * spread for centre, spread in arms)
    high = max(centre + _REACH * spread for centre, spread in arms)
    if metric.kind is Kind.RATE:
        low, high = max(low, 0.0), min(high, 1.0)
    grid = _grid(arms, low, high)
    width = np.diff(grid)
    middle = (grid[1:] + grid[:-1]) / 2
    masses = [
        _mass(metric, one, centre, middle) * width for one, centre in zip(sums, arms, strict=True)
    ]
    masses = [mass / mass.sum() for mass in masses]
    below = [np.cumsum(mass) - mass / 2 for mass in masses]
    if metric.direction is Direction.LOWER:
        below = [1.0 - share for share in below]
    found = []
    for place, mass in enumerate(masses):
        others = [share for other, share in enumerate(below) if other != place]
        found.append(float((mass * np.prod(others, axis=0)).sum()) if others else 1.0)
    total = math.fsum(found)
    return [chance / total for chance in found]


def _centre(metric: Metric, sums: Sums, prior: float) -> tuple[float, float]:
    """Mean and standard deviation of the posterior."""
    if metric.kind is Kind.RATE:
        a, b = sums.total + 1.0, sums.count - sums.total + 1.0
        return a / (a + b), math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
    rows = max(sums.squares - sums.total**2 / sums.count, 0.0) + prior
    return sums.total / sums.count, math.sqrt(max(rows, 1e-12)) / sums.count


def _pooled(sums: Sequence[Sums]) -> float:
    """Variance of the rows of all arms: one row of it is added to each, as none is without any."""
    count = max(1, sum(one.count for one in sums))
    mean = math.fsum(one.total for one in sums) / count
    return max(math.fsum(one.squares for one in sums) / count - mean * mean, 0.0)


def _grid(arms: Sequence[tuple[float, float]], low: float, high: float) -> Floats:
    """Fine where any posterior has its mass, whatever the others' width."""
    parts = [np.linspace(low, high, _POINTS)]
    for centre, spread in arms:
        reach = _REACH * spread
        parts.append(np.linspace(max(low, centre - reach), min(high, centre + reach), _POINTS))
    return np.unique(np.concatenate(parts))


def _mass(metric: Metric, sums: Sums, centre: tuple[float, float], middle: Floats) -> Floats:
    if metric.kind is Kind.RATE:
        density = sums.total * np.log(middle) + (sums.count - sums.total) * np.log1p(-middle)
    else:
        density = -0.5 * ((middle - centre[0]) / centre[1]) ** 2
    return np.asarray(np.exp(density - density.max()))
