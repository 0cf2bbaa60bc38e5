"""What a model's answers are worth when its rows are spoiled: flips, moves, lost quality."""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.evaluation.perturbations import KINDS, Columns, Perturbation, perturbations
from modelworks.stats.intervals import LEVEL, Estimate, mean, wilson

_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Said:
    """A model's answers.

    Attributes:
        labels: one a row; None = it answers numbers.
        numbers: confidence in the class that the good row gets, or the score; one a row.
    """

    labels: Any
    numbers: Any


@dataclass(frozen=True, slots=True)
class Shaken:
    """What one way of spoiling rows did.

    Attributes:
        kind: of `perturbations.KINDS`.
        intensity: as there.
        column: that was spoiled; empty = all that could be.
        rows: how many.
        flipped: share of rows with another label; None = the model answers numbers.
        moved: mean distance of the numbers from those of the good rows, where there are numbers.
        lost: what the quality lost: share of right answers, or of a regression the rise of the mean
            absolute error; None = the truth is not known.
        refused: what the model said instead; empty = it answered.
    """

    kind: str
    intensity: float
    column: str
    rows: int
    flipped: Estimate | None = None
    moved: Estimate | None = None
    lost: Estimate | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Robustness:
    """A model under every way of spoiling.

    Attributes:
        rows: that were spoiled.
        quality: of the good rows: share of right answers, or mean absolute error; None = the truth
            is not known.
        shaken: in the order of `perturbations`.
    """

    rows: int
    quality: Estimate | None
    shaken: tuple[Shaken, ...]


def robustness(
    columns: Columns,
    ask: Callable[[Columns], Said],
    truth: Any = None,
    *,
    kinds: tuple[str, ...] = KINDS,
    seed: int = 0,
    level: float = LEVEL,
) -> Robustness:
    """Spoil rows in every way, and compare the answers with those to the good rows.

    Args:
        columns: the good rows.
        ask: the model.
        truth: labels as the model says them, or numbers; None = not known.
        kinds: of spoiling that are wanted.
        seed: of what is drawn.
        level: of confidence; the intervals are of one comparison each.

    Raises:
        InvalidError: the model refuses the good rows, or an unknown kind.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise InvalidError(f"no kind '{unknown[0]}'; there are {', '.join(KINDS)}", field="kinds")
    good = ask(columns)
    worth = None if truth is None else _worth(good, truth)
    rows = len(good.numbers if good.labels is None else good.labels)
    shaken = []
    for way in perturbations(columns, kinds):
        # Of its own for each, so that one more way changes none of the others.
        own = zlib.crc32(f"{way.kind} {way.intensity} {way.column}".encode())
        rng = np.random.default_rng([seed, own])
        shaken.append(_shake(way, rows, columns, ask, good, truth, worth, rng, level))
    quality = None if worth is None else _of(worth, good, level)
    return Robustness(rows, quality, tuple(shaken))


def _shake(  # noqa: PLR0913, PLR0917 - what one comparison is made of
    way: Perturbation,
    rows: int,
    columns: Columns,
    ask: Callable[[Columns], Said],
    good: Said,
    truth: Any,
    worth: Any,
    rng: np.random.Generator,
    level: float,
) -> Shaken:
    try:
        said = ask(way.change(columns, rng))
    except InvalidError as error:
        told = error.message[:_LONGEST]
        return Shaken(way.kind, way.intensity, way.column, rows, refused=told)
    flipped = moved = lost = None
    if good.labels is not None:
        other = np.array([one != two for one, two in zip(good.labels, said.labels, strict=True)])
        flipped = wilson(float(other.mean()), rows, level)
    if good.numbers is not None and said.numbers is not None:
        moved = _average(np.abs(said.numbers - good.numbers), level)
    if worth is not None:
        now = _worth(said, truth)
        # Row by row: the same rows are compared, which a difference of two shares would not know.
        lost = _average(worth - now if good.labels is not None else now - worth, level)
    return Shaken(way.kind, way.intensity, way.column, rows, flipped, moved, lost)


def _worth(said: Said, truth: Any) -> Any:
    """1 where an answer is right, or how far a number is off."""
    if said.labels is None:
        return np.abs(said.numbers - np.asarray(truth, np.float64))
    pairs = zip(said.labels, truth, strict=True)
    return np.array([float(str(one) == str(two)) for one, two in pairs])


def _of(worth: Any, good: Said, level: float) -> Estimate:
    if good.labels is None:
        return _average(worth, level)
    return wilson(float(worth.mean()), len(worth), level)


def _average(values: Any, level: float) -> Estimate:
    count = len(values)
    error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return mean(float(values.mean()), error, count, level)
