"""Evidence against a pair of parameters, one an arm: a mixture of exponentially tilted likelihoods.

For each tilt l an arm has an exponent f(l, parameter) such that exp(f) is a supermartingale that
starts at 1 where the parameter is the true one (Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform
Chernoff bounds via nonnegative supermartingales", Probability Surveys 17, 2020, section 2). Rows of
the two arms come in any order, so that the product of both is one too, and so is a mixture of
products: it exceeds 1 / alpha ever with probability alpha at most (Ville 1939). The pairs of
parameters it does not refute are a confidence region at all times; the differences of these pairs
are the confidence sequence of the difference.

The mixture has tilts of one arm alone, and of both against each other in proportion to how much the
other arm's rows weigh: along that direction the unknown common level cancels, so that the price of
not knowing it is small.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.core.errors import InvalidError

Floats = NDArray[np.float64]
RATIOS: Final = (1 / 3, 1.0, 3.0)
_ALONE: Final = (0.05, 0.25)  # weight of the tilts of the stable arm alone, of the candidate alone

_AIMED: Final = 0.85  # weight of what is aimed at
_NEAR: Final = ((0.5, 0.3), (0.75, 0.4), (1.1, 0.3))
"""Parts of the aimed tilt, and their weights: evidence is due before all of it is certain."""


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Which tilts are mixed, and how.

    Attributes:
        tilts: all that any arm is tilted by; the first is 0.
        stable: index into `tilts` of each pair.
        candidate: index into `tilts` of each pair.
        weights: natural logarithms; the weights add up to 1.
    """

    tilts: Floats
    stable: NDArray[np.int64]
    candidate: NDArray[np.int64]
    weights: Floats


@dataclass(frozen=True, slots=True)
class Aim:
    """What one most wants to find: the mixture bets on it, and is valid whatever the truth is.

    Attributes:
        tilt: difference of the two arms in their natural parameter: of rates the log odds ratio,
            of figures from 0 to 1 the difference over the variance.
        share: of the rows that are the candidate's.
    """

    tilt: float
    share: float = 0.5


@lru_cache(maxsize=256)
def mixture(
    largest: float, smallest: float, factor: float = 3.0, aim: Aim | None = None
) -> Mixture:
    """Tilts that fall by a factor, both signs, alone and against each other.

    Args:
        largest: tilt: finds what is gross after few rows.
        smallest: tilt: the finest difference that very many rows are to show.
        factor: between neighbours.
        aim: has most of the weight.
    """
    count = 1 + math.ceil(math.log(largest / smallest) / math.log(factor))
    scales = largest * factor ** -np.arange(count, dtype=np.float64)
    general = 1.0 if aim is None else 1 - _AIMED
    values, pairs = [0.0], []
    place: dict[float, int] = {0.0: 0}

    def index(value: float) -> int:
        if value not in place:
            place[value] = len(values)
            values.append(value)
        return place[value]

    against = general * (1 - sum(_ALONE)) / (2 * count * len(RATIOS))
    alone = [general * part / (2 * count) for part in _ALONE]
    for scale in map(float, scales):
        for sign in (-1.0, 1.0):
            pairs.append((index(sign * scale), 0, alone[0]))
            pairs.append((0, index(sign * scale), alone[1]))
            for ratio in RATIOS:
                one, other = scale * min(1.0, ratio), scale * min(1.0, 1 / ratio)
                pairs.append((index(-sign * one), index(sign * other), against))
    if aim is not None:
        for part, weight in _NEAR:
            size = min(part * abs(aim.tilt), largest)
            for sign in (-1.0, 1.0):
                one, other = index(-sign * size * aim.share), index(sign * size * (1 - aim.share))
                pairs.append((one, other, _AIMED * weight / 2))
    stable, candidate, weights = zip(*pairs, strict=True)
    return Mixture(
        np.array(values),
        np.array(stable, np.int64),
        np.array(candidate, np.int64),
        np.log(np.array(weights)),
    )


def log_evidence(mixed: Mixture, stable: Floats, candidate: Floats) -> Any:
    """Natural logarithm of the mixture.

    Args:
        mixed: the tilts.
        stable: the arm's exponents, [..., tilts].
        candidate: the same of the other arm.

    Returns:
        [...]; at least `log(1 / alpha)` refutes the pair of parameters.
    """
    both = stable[..., mixed.stable] + candidate[..., mixed.candidate]
    return _log_sum(both + mixed.weights)


def log_evidence_alone(mixed: Mixture, exponents: Floats, *, candidate: bool) -> Any:
    """A lower bound of `log_evidence`, from one arm, whatever the other arm's parameter is.

    Args:
        mixed: the tilts.
        exponents: the arm's, [..., tilts].
        candidate: whether it is the candidate's.
    """
    own, other = (mixed.candidate, mixed.stable) if candidate else (mixed.stable, mixed.candidate)
    alone = other == 0
    return _log_sum(exponents[..., own[alone]] + mixed.weights[alone])


def _log_sum(logs: Floats) -> Any:
    top = logs.max(-1)
    logs = logs - top[..., None]
    return top + np.log(np.exp(logs, out=logs).sum(-1))


def threshold(alpha: float) -> float:
    """What the logarithm has to reach.

    Raises:
        InvalidError: alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise InvalidError(f"alpha: {alpha} is not between 0 and 1", field="alpha")
    return -math.log(alpha)
