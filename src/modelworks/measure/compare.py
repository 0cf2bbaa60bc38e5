"""Two or more things measured in turn, round after round, and what may be said of their ratio.

A machine's speed drifts: rounds are short and interleaved in random order, so that a disturbance
meets all sides alike, and only ratios within one round are looked at. What remains is measured:
one side runs twice a round (A/A), and the ratio of its two runs, which is 1 in truth, is the noise.
No verdict is given that the noise or the interval could overturn.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

import numpy as np

from modelworks.core.errors import InvalidError

T = TypeVar("T")
_RESAMPLES: Final = 2000
_LEVEL: Final = 95.0
FEWEST_ROUNDS: Final = 5
"""Of fewer rounds no interval is worth its name, and no verdict is given."""
AGAIN: Final = "again"
"""What the second run of the first side is called."""


class Verdict(StrEnum):
    """What a ratio says of a bar."""

    MET = "met"
    MISSED = "missed"
    UNCERTAIN = "no verdict: the difference lies within the noise"


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio over the rounds.

    Attributes:
        ratio: median of the rounds' own ratios.
        low: lower end of its 95 % bootstrap interval.
        high: upper end.
        quartile_low: lower quartile of the rounds' ratios.
        quartile_high: upper quartile.
        rounds: how many there were.
    """

    ratio: float
    low: float
    high: float
    quartile_low: float
    quartile_high: float
    rounds: int

    @property
    def noise(self) -> float:
        """The farthest that the interval reaches from 1, as a share: of A/A it is the noise."""
        if not (self.low > 0 and math.isfinite(self.high)):
            return math.inf
        return math.expm1(max(abs(math.log(self.low)), abs(math.log(self.high))))


@dataclass(frozen=True, slots=True)
class Side(Generic[T]):
    """One of the things compared.

    Attributes:
        name: of it.
        run: measures it once.
    """

    name: str
    run: Callable[[], T]


def interleave(
    sides: Sequence[Side[T]],
    rounds: int,
    *,
    seed: int = 0,
    again: bool = True,
    stop: Callable[[T], bool] = lambda _result: False,
    progress: Callable[[int, str], None] = lambda _round, _name: None,
) -> dict[str, list[T]]:
    """Measure every side once a round, each round in another random order.

    Args:
        sides: at least one.
        rounds: how many.
        seed: of the order.
        again: run the first side twice a round, the second time as `AGAIN`.
        stop: whether a result ends it all; that round is left out.
        progress: called before each measurement with the round's number and the side's name.

    Returns:
        Name -> one result a whole round.

    Raises:
        InvalidError: two sides of one name.
    """
    names = [side.name for side in sides] + [AGAIN] * again
    if not sides or len(set(names)) != len(names):
        raise InvalidError(f"sides to compare want names of their own: {', '.join(names)}")
    turns = [*sides, *([Side(AGAIN, sides[0].run)] if again else [])]
    order = random.Random(seed)  # noqa: S311 - no secret
    found: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds):
        order.shuffle(turns)
        results = {}
        for side in turns:
            progress(number, side.name)
            result = results[side.name] = side.run()
            if stop(result):
                return found
        for name, result in results.items():
            found[name].append(result)
    return found


def ratio_of(left: Sequence[float], right: Sequence[float], *, seed: int = 0) -> Ratio:
    """The ratio of two sides, round by round.

    The interval is the percentile bootstrap of the median (Efron and Tibshirani, An Introduction
    to the Bootstrap, 1993, chapter 13).

    Args:
        left: a figure a round.
        right: the other side's, of the same rounds.
        seed: of the resampling.

    Raises:
        InvalidError: no rounds, or not the same number.
    """
    if not left or len(left) != len(right):
        raise InvalidError(f"{len(left)} rounds against {len(right)}: as many are wanted")
    below = np.asarray(right, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.asarray(left, np.float64) / below
    ratios = np.nan_to_num(ratios, nan=1.0, posinf=np.finfo(np.float64).max)  # 0 of 0 is even
    picks = np.random.default_rng(seed).integers(0, len(ratios), (_RESAMPLES, len(ratios)))
    medians = np.median(ratios[picks], axis=1)
    tail = (100 - _LEVEL) / 2
    low, high = np.percentile(medians, [tail, 100 - tail])
    first, third = np.percentile(ratios, [25, 75])
    return Ratio(
        float(np.median(ratios)), float(low), float(high), float(first), float(third), len(ratios)
    )


def judge(found: Ratio, bar: float, *, at_least: bool = True, noise: float = 0.0) -> Verdict:
    """Whether a ratio meets a bar, where that can be said at all.

    Args:
        found: the ratio.
        bar: what it is held against.
        at_least: it meets the bar from above; else from below.
        noise: share that A/A itself is off by (`Ratio.noise`).
    """
    if found.rounds < FEWEST_ROUNDS or found.ratio <= 0 or not math.isfinite(found.ratio):
        return Verdict.UNCERTAIN
    inside = found.low <= bar <= found.high
    if inside or abs(math.log(found.ratio / bar)) <= math.log1p(noise):
        return Verdict.UNCERTAIN
    return Verdict.MET if (found.ratio > bar) == at_least else Verdict.MISSED
