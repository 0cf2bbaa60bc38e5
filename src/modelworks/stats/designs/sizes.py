"""How many rows a comparison takes, and how long: at one look, at a few, and at any time."""

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.stats.designs.bounds import Bounds, efficacy
from modelworks.stats.designs.spending import Spending
from modelworks.stats.intervals import Floats
from modelworks.stats.sequences.means import half_width

_NORMAL: Final = NormalDist()
_HALVINGS: Final = 40
_PATHS: Final = 2_000
_STEPS: Final = 60
_FIRST: Final = 0.02  # of the rows: where an always-valid comparison is looked at first


class Method(StrEnum):
    """How it is decided."""

    FIXED = "fixed"  # one look, at the end
    GROUP_SEQUENTIAL = "group-sequential"  # a few looks, planned
    ALWAYS_VALID = "always-valid"  # at any time


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be found out, one-sided: "better", or with a margin "not worse by more than it".

    Attributes:
        effect: that is to be found; of a non-inferiority question margin + true difference.
        stable_variance: of one row of the stable arm; of a rate p it is p (1 - p).
        candidate_variance: of one row of the candidate.
        share: of the rows that are the candidate's.
        alpha: chance of finding what is not so, one-sided.
        power: chance of finding it.
    """

    effect: float
    stable_variance: float
    candidate_variance: float
    share: float = 0.5
    alpha: float = 0.05
    power: float = 0.8

    def __post_init__(self) -> None:
        if not self.effect > 0:
            raise InvalidError(f"effect: {self.effect} is not above 0", field="effect")
        for name, value in (("share", self.share), ("power", self.power)):
            if not 0 < value < 1:
                raise InvalidError(f"{name}: {value} is not between 0 and 1", field=name)
        if not 0 < self.alpha < min(0.5, self.power):
            raise InvalidError(f"alpha: {self.alpha} is not below power and 0.5", field="alpha")

    @property
    def per_row(self) -> float:
        """Variance of the difference, times the rows of both arms together."""
        return self.stable_variance / (1 - self.share) + self.candidate_variance / self.share


@dataclass(frozen=True, slots=True)
class Needed:
    """What it takes.

    Attributes:
        method: how it is decided.
        rows: of both arms, at the most.
        expected: rows until it is decided where the effect is as supposed, on average.
        stable: rows of the stable arm, at the most.
        candidate: rows of the candidate, at the most.
        seconds: duration at the most; inf = no traffic.
        expected_seconds: duration on average.
    """

    method: Method
    rows: int
    expected: int
    stable: int
    candidate: int
    seconds: float
    expected_seconds: float


def rate_question(
    stable: float,
    effect: float,
    *,
    margin: float = 0.0,
    share: float = 0.5,
    alpha: float = 0.05,
    power: float = 0.8,
) -> Question:
    """About a rate.

    Args:
        stable: the stable arm's rate.
        effect: candidate's rate less that, in the direction that is to be found; 0 with a margin
            asks "not worse, if it is as good".
        margin: how much worse is not yet harm.
        share: of the rows that are the candidate's.
        alpha: one-sided.
        power: to find it.
    """
    other = min(max(stable + effect, 0.0), 1.0)
    return Question(
        abs(effect) + margin, stable * (1 - stable), other * (1 - other), share, alpha, power
    )


def plan(
    question: Question,
    method: Method = Method.ALWAYS_VALID,
    *,
    looks: int = 5,
    spending: Spending | None = None,
    per_second: float = 0.0,
) -> Needed:
    """Rows and duration.

    Sources: fixed, the normal sample size formula (Chow, Shao and Wang, "Sample size calculations
    in clinical research", 3.2); group-sequential, Jennison and Turnbull (2000), section 3.4:
    information is inflated by the squared ratio of the drifts; always-valid, simulated paths of
    the normal mixture's sequence (`sequences.means.half_width`) that is tightest at the end.

    Args:
        question: what is to be found.
        method: how it is decided.
        looks: of a group-sequential test, evenly spaced.
        spending: of its alpha; None = O'Brien and Fleming's.
        per_second: rows of both arms together; 0 = there is no traffic, the duration is infinite.
    """
    if method is Method.FIXED:
        drift = _NORMAL.inv_cdf(1 - question.alpha) + _NORMAL.inv_cdf(question.power)
        stops = 1.0
    elif method is Method.GROUP_SEQUENTIAL:
        times = [look / looks for look in range(1, looks + 1)]
        bounds = efficacy(times, question.alpha, spending)
        drift = _drift(bounds, question.power)
        stops = bounds.expected_time(drift)
    else:
        drift, stops = _always(question.alpha, question.power)
    rows = question.per_row * (drift / question.effect) ** 2
    candidate = math.ceil(rows * question.share)
    stable = math.ceil(rows * (1 - question.share))
    seconds = rows / per_second if per_second > 0 else math.inf
    return Needed(
        *(method, stable + candidate, math.ceil(rows * stops), stable, candidate),
        seconds,
        seconds * stops,
    )


def power(
    question: Question,
    rows: float,
    method: Method = Method.ALWAYS_VALID,
    *,
    looks: int = 5,
    spending: Spending | None = None,
) -> float:
    """Chance of finding the effect within so many rows of both arms (its own `power` is ignored).

    Args:
        question: what is to be found.
        rows: of both arms.
        method: how it is decided.
        looks: of a group-sequential test, evenly spaced.
        spending: of its alpha; None = O'Brien and Fleming's.
    """
    drift = question.effect * math.sqrt(rows / question.per_row)
    if method is Method.FIXED:
        return _NORMAL.cdf(drift - _NORMAL.inv_cdf(1 - question.alpha))
    if method is Method.GROUP_SEQUENTIAL:
        times = [look / looks for look in range(1, looks + 1)]
        return sum(efficacy(times, question.alpha, spending).chances(drift)[0])
    return float(np.isfinite(_crossed(question.alpha, drift)).mean())


def _drift(bounds: Bounds, wanted: float) -> float:
    low, high = 0.0, 20.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(bounds.chances(middle)[0]) < wanted else (low, middle)
    return high


@lru_cache(maxsize=64)
def _always(alpha: float, wanted: float) -> tuple[float, float]:
    """(drift at the end, share of the rows until it is decided; undecided ones count as all)."""
    low, high = 0.0, 20.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = np.isfinite(_crossed(alpha, middle)).mean()
        low, high = (middle, high) if found < wanted else (low, middle)
    return high, float(np.minimum(_crossed(alpha, high), 1.0).mean())


def _crossed(alpha: float, drift: float) -> Floats:
    """When each simulated path leaves the sequence on the right side; inf = never."""
    times, noise = _paths()
    z = (noise + drift * times) / np.sqrt(times)
    # the one-sided question at alpha is one side of a two-sided sequence at twice alpha
    limit = np.asarray(half_width(1.0, times, min(2 * alpha, 0.999), around=0.7))
    over = z >= limit
    return np.where(over.any(1), times[over.argmax(1)], np.inf)


@lru_cache(maxsize=1)
def _paths() -> tuple[Floats, Floats]:
    times = np.geomspace(_FIRST, 1.0, _STEPS)
    steps = np.sqrt(np.diff(np.concatenate([[0.0], times])))
    rng = np.random.default_rng(0)
    return times, (rng.standard_normal((_PATHS, _STEPS)) * steps).cumsum(1)
