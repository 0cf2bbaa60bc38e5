"""Pairs of answers, counted: what is kept of them adds up, however many portions they come in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.core.errors import InvalidError

WORST: Final = 20
"""Examples that are kept."""
KEPT: Final = 5_000
"""Pairs that are kept for the rank correlation: the first ones."""
BINS: Final = 10
"""Of the stable arm's confidence, 0 to 1."""

Floats = NDArray[np.float64]


class Form(StrEnum):
    """What the answers are."""

    LABELS = "labels"  # [n] of anything
    SCORES = "scores"  # [n] or [n, ...] of numbers
    PROBABILITIES = "probabilities"  # [n, classes]; the label is the largest


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two numbers may be apart and count as the same: absolute + relative * |stable|.

    Attributes:
        absolute: in the answer's unit.
        relative: share of the stable arm's.
    """

    absolute: float = 1e-6
    relative: float = 1e-4


@dataclass(frozen=True, slots=True)
class Pairs:
    """Answers of both arms to the same requests.

    Attributes:
        form: of the answers.
        ids: of the requests, [n].
        stable: answers that callers got, [n, ...].
        candidate: answers to the copies, the same shape.
        missing: where the candidate did not answer, [n]; None = nowhere.
        slices: name -> where it applies, [n].
    """

    form: Form
    ids: Sequence[str]
    stable: Any
    candidate: Any
    missing: Any = None
    slices: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """One pair that is far apart.

    Attributes:
        id: of the request.
        stable: what the caller got, as text.
        candidate: what the copy got; empty = no answer.
        distance: largest over the answer's numbers; of labels 1; infinite = no answer or no number.
    """

    id: str
    stable: str
    candidate: str
    distance: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What is known of all pairs so far.

    Attributes:
        count: of pairs.
        agreed: same label; of scores, within the tolerance.
        close: all numbers within the tolerance.
        missing: copies that got no answer; they do not agree.
        flips: (stable label, candidate label) -> pairs.
        bins: [BINS, 3]: pairs, the stable arm's confidence and the candidate's in the same label,
            added up by the stable arm's confidence.
        kept: [k, 2]: numbers of the first pairs, for the rank correlation.
        worst: farthest first.
        slices: name -> (pairs, agreed).
    """

    count: int = 0
    agreed: int = 0
    close: int = 0
    missing: int = 0
    flips: dict[tuple[str, str], int] = field(default_factory=dict)
    bins: Floats = field(default_factory=lambda: np.zeros((BINS, 3)))
    kept: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    worst: tuple[Example, ...] = ()
    slices: dict[str, tuple[int, int]] = field(default_factory=dict)


def merged(one: Tally, other: Tally) -> Tally:
    """Both together; `other` came later."""
    flips = dict(one.flips)
    for pair, count in other.flips.items():
        flips[pair] = flips.get(pair, 0) + count
    slices = dict(one.slices)
    for name, (count, agreed) in other.slices.items():
        before = slices.get(name, (0, 0))
        slices[name] = before[0] + count, before[1] + agreed
    return Tally(
        one.count + other.count,
        one.agreed + other.agreed,
        one.close + other.close,
        one.missing + other.missing,
        flips,
        one.bins + other.bins,
        np.concatenate([one.kept, other.kept])[:KEPT],
        tuple(sorted((*one.worst, *other.worst), key=lambda e: -e.distance)[:WORST]),
        slices,
    )


def tally(pairs: Pairs, tolerance: Tolerance | None = None) -> Tally:
    """Count one portion.

    Args:
        pairs: of it.
        tolerance: of numbers; None = the usual one.

    Raises:
        InvalidError: lengths or shapes that do not go together.
    """
    stable, candidate = np.asarray(pairs.stable), np.asarray(pairs.candidate)
    count = len(pairs.ids)
    if stable.shape != candidate.shape or stable.shape[:1] != (count,):
        raise InvalidError(
            f"pairs: {count} ids, answers of shape {stable.shape} and {candidate.shape}",
            field="pairs",
        )
    if pairs.form is Form.PROBABILITIES and (stable.ndim != 2 or stable.shape[1] < 2):
        raise InvalidError(f"pairs: probabilities of shape {stable.shape}", field="pairs")
    gone = np.zeros(count, bool) if pairs.missing is None else np.asarray(pairs.missing, bool)
    distance, close = _apart(pairs.form, stable, candidate, tolerance or Tolerance())
    distance, close = np.where(gone, np.inf, distance), close & ~gone
    agreed, flips, bins = close, {}, np.zeros((BINS, 3))
    if pairs.form is not Form.SCORES and count:
        labels = [_labels(pairs.form, answers) for answers in (stable, candidate)]
        agreed = (labels[0] == labels[1]) & ~gone
        flips = _flips(labels[0], labels[1], ~agreed & ~gone)
    if pairs.form is Form.PROBABILITIES and count:
        bins = _bins(stable[~gone], candidate[~gone])
    order = np.argsort(-distance, kind="stable")[:WORST]
    worst = tuple(
        Example(
            pairs.ids[place],
            _text(stable[place]),
            "" if gone[place] else _text(candidate[place]),
            float(distance[place]),
        )
        for place in order
        if not agreed[place] or not close[place]
    )
    slices = {
        name: (int(np.sum(mask)), int(np.sum(agreed & np.asarray(mask, bool))))
        for name, mask in pairs.slices.items()
    }
    kept = _numbers(pairs.form, stable, candidate)[~gone][:KEPT]
    return Tally(
        count,
        int(agreed.sum()),
        int(close.sum()),
        int(gone.sum()),
        flips,
        bins,
        kept,
        worst,
        slices,
    )


def _apart(form: Form, stable: Any, candidate: Any, tolerance: Tolerance) -> tuple[Any, Any]:
    """(distance [n], all numbers within the tolerance [n])."""
    if form is Form.LABELS:
        other = stable != candidate
        return other.astype(np.float64), ~other
    one, two = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (stable, candidate))
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.abs(two - one))
        gap = np.where(np.isnan(gap), np.inf, gap)
        close = gap <= tolerance.absolute + tolerance.relative * np.abs(one)
    return gap.max(1, initial=0.0), (close | same).all(1)


def _labels(form: Form, answers: Any) -> Any:
    return answers if form is Form.LABELS else np.nan_to_num(answers, nan=-np.inf).argmax(1)


def _flips(stable: Any, candidate: Any, where: Any) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for one, two in zip(stable[where], candidate[where], strict=True):
        found[str(one), str(two)] = found.get((str(one), str(two)), 0) + 1
    return found


def _bins(stable: Any, candidate: Any) -> Floats:
    found = np.zeros((BINS, 3))
    if not len(stable):
        return found
    label = _labels(Form.PROBABILITIES, stable)
    rows = np.arange(len(label))
    one, two = stable[rows, label], candidate[rows, label]
    known = np.isfinite(one) & np.isfinite(two)
    place = np.clip((one[known] * BINS).astype(int), 0, BINS - 1)
    for column, values in enumerate((np.ones(int(known.sum())), one[known], two[known])):
        found[:, column] = np.bincount(place, values, BINS)
    return found


def _numbers(form: Form, stable: Any, candidate: Any) -> Floats:
    """One number of each answer: the score, the first of several, the last class's probability."""
    if form is Form.LABELS or not len(stable):
        return np.zeros((len(stable), 2))
    column = -1 if form is Form.PROBABILITIES else 0
    both = [np.asarray(a, np.float64).reshape(len(a), -1)[:, column] for a in (stable, candidate)]
    return np.stack(both, axis=1)


def _text(answer: Any) -> str:
    return np.array2string(np.asarray(answer), precision=6, threshold=8, separator=", ")[:200]
