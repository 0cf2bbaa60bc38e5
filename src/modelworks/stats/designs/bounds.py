"""Bounds of a group-sequential test: what z-value decides at each of a few looks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.stats.designs.spending import Spending, checked
from modelworks.stats.designs.walk import Walk

_NORMAL: Final = NormalDist()
_HALVINGS: Final = 40


class Call(StrEnum):
    """What a look decides."""

    PROVED = "proved"  # the upper bound is crossed
    FUTILE = "futile"  # the lower one
    GO_ON = "go on"
    NOT_PROVED = "not proved"  # the last look, below the upper bound


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a one-sided test; a two-sided one is two of them at half the level.

    Attributes:
        times: shares of the information at the looks.
        upper: z-value at and above which it is proved.
        lower: z-value below which it is given up; -inf = never.
        drift: mean z-value at time 1 that has the power; 0 = no power was asked for.
    """

    times: tuple[float, ...]
    upper: tuple[float, ...]
    lower: tuple[float, ...]
    drift: float = 0.0

    def judge(self, look: int, z: float) -> Call:
        """What a look decides.

        Args:
            look: number of it, from 0.
            z: estimate over its standard error, positive = what is to be proved; `superiority` and
                `non_inferiority` make it.
        """
        if z >= self.upper[look]:
            return Call.PROVED
        if look == len(self.times) - 1:
            return Call.NOT_PROVED
        return Call.FUTILE if z < self.lower[look] else Call.GO_ON

    def chances(self, drift: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of crossing the upper bound first at each look, and of the lower one.

        Args:
            drift: mean z-value at time 1.
        """
        walk = Walk(drift)
        ups, downs = [], []
        for time, low, high in zip(self.times, self.lower, self.upper, strict=True):
            ups.append(walk.above(time, high))
            downs.append(walk.below(time, low) if low > -math.inf else 0.0)
            walk.go_on(time, low, high)
        return tuple(ups), tuple(downs)

    def expected_time(self, drift: float) -> float:
        """Share of the information at which it stops, on average."""
        ups, downs = self.chances(drift)
        left, found, before = 1.0, 0.0, 0.0
        for time, up, down in zip(self.times, ups, downs, strict=True):
            found += left * (time - before)
            left, before = left - up - down, time
        return found


def efficacy(times: Sequence[float], alpha: float, spending: Spending | None = None) -> Bounds:
    """Bounds that only prove.

    The looks need not be planned: whatever times they come at, as long as z-values do not choose
    them, no more than alpha is spent (Lan and DeMets 1983, section 2).

    Args:
        times: shares of the information at the looks, rising; 1 = the last.
        alpha: chance of proving what is not so, one-sided.
        spending: of alpha; None = O'Brien and Fleming's.
    """
    at = checked(times)
    _chance("alpha", alpha)
    walk, upper = Walk(), []
    for time, chance in zip(at, (spending or Spending()).each(alpha, at), strict=True):
        upper.append(walk.upper(time, chance))
        walk.go_on(time, -math.inf, upper[-1])
    return Bounds(at, tuple(upper), (-math.inf,) * len(at))


def with_futility(
    times: Sequence[float],
    alpha: float,
    beta: float,
    spending: Spending | None = None,
    giving_up: Spending | None = None,
    *,
    binding: bool = False,
) -> Bounds:
    """Bounds that prove or give up, and the drift that they find with chance 1 - beta.

    Source: Pampallona, Tsiatis and Kim, "Interim monitoring of group sequential trials using
    spending functions for the type I and type II error probabilities", Drug Information Journal 35
    (2001), section 3: what is given up wrongly is spent as what is proved wrongly is; the drift is
    the one at which both bounds meet at the last look.

    Args:
        times: shares of the information at the looks; the last is 1.
        alpha: chance of proving what is not so, one-sided.
        beta: chance of giving up or not proving what has the drift.
        spending: of alpha; None = O'Brien and Fleming's.
        giving_up: spending of beta; None = O'Brien and Fleming's.
        binding: who is below the lower bound has to stop; that makes the upper bound lower. Not
            binding (False): alpha holds also for who goes on.
    """
    at = checked(times)
    _chance("alpha", alpha)
    _chance("beta", beta)
    if at[-1] < 1 - 1e-9:
        raise InvalidError("times: the last look has all of the information, 1", field="times")
    spends = (spending or Spending()).each(alpha, at), (giving_up or Spending()).each(beta, at)
    least = _NORMAL.inv_cdf(1 - alpha) + _NORMAL.inv_cdf(1 - beta)
    low, high = 0.9 * least, 2.5 * least
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        _, missed = _both(at, spends, middle, binding=binding)
        low, high = (middle, high) if missed > spends[1][-1] else (low, middle)
    return _both(at, spends, high, binding=binding)[0]


def _both(
    times: tuple[float, ...],
    spends: tuple[tuple[float, ...], tuple[float, ...]],
    drift: float,
    *,
    binding: bool,
) -> tuple[Bounds, float]:
    """(bounds, chance of being below the upper one at the last look)."""
    nothing, something = Walk(), Walk(drift)
    upper: list[float] = []
    lower: list[float] = []
    missed = 0.0
    for time, up, down in zip(times, *spends, strict=True):
        upper.append(nothing.upper(time, up))
        missed = something.below(time, upper[-1])
        last = len(upper) == len(times)
        lower.append(upper[-1] if last else min(something.lower(time, down), upper[-1]))
        nothing.go_on(time, lower[-1] if binding else -math.inf, upper[-1])
        something.go_on(time, lower[-1], upper[-1])
    return Bounds(times, tuple(upper), tuple(lower), drift), missed


def superiority(better: float, error: float) -> float:
    """The z-value of "it is better".

    Args:
        better: by how much it is, as estimated, positive = better.
        error: standard error of that.
    """
    return better / error


def non_inferiority(better: float, error: float, margin: float) -> float:
    """The z-value of "it is worse by less than a margin". Source: Jennison and Turnbull, 2.4.

    Args:
        better: by how much it is better, as estimated.
        error: standard error of that.
        margin: that is not yet harm, above 0.
    """
    return (better + margin) / error


def _chance(name: str, value: float) -> None:
    if not 0 < value < 0.5:
        raise InvalidError(f"{name}: {value} is not between 0 and 0.5", field=name)
