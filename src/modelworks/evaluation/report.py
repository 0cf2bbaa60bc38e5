"""An evaluation: metrics of all rows, of slices against the rest, and against another version."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.evaluation.labels import confusion
from modelworks.evaluation.measured import Measured, difference
from modelworks.evaluation.metrics import Options, at_level, better, measure
from modelworks.evaluation.predictions import Predictions, Task
from modelworks.evaluation.slices import FEWEST, cut
from modelworks.stats.calibration import Bin, reliability
from modelworks.stats.intervals import Estimate, adjusted

_MOST_CELLS: Final = 50


class Sign(StrEnum):
    """What an interval of a difference says."""

    BETTER = "better"
    WORSE = "worse"
    HIGHER = "higher"  # of a metric of which neither more nor less is better
    LOWER = "lower"
    UNTOLD = "not told apart"


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of some rows.

    Attributes:
        metric: name.
        value: NaN = not defined on these rows.
        low: of the interval; NaN = too little to say.
        high: the same.
        count: rows (queries) that it is of.
        method: how the interval was made.
    """

    metric: str
    value: float
    low: float
    high: float
    count: int
    method: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A difference of one metric.

    Attributes:
        metric: name.
        value: this less the other.
        low: of the interval.
        high: the same.
        sign: what the interval says.
    """

    metric: str
    value: float
    low: float
    high: float
    sign: Sign


@dataclass(frozen=True, slots=True)
class Part:
    """A slice.

    Attributes:
        name: `region=eu`.
        keys: (column, value).
        rows: how many.
        figures: metrics; none where there are too few rows.
        rest: each metric less that of all other rows.
    """

    name: str
    keys: tuple[tuple[str, str], ...]
    rows: int
    figures: tuple[Figure, ...] = ()
    rest: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        task: of the model.
        rows: how many.
        classes: names.
        level: of the intervals of all rows.
        slice_level: of each interval of a slice: so many hold together at `level`.
        figures: metrics of all rows.
        slices: by `keys`.
        baseline: metrics less those of the other version.
        paired: whether the other version was asked about the same rows.
        confusion: weights of rows by [true, predicted] class; empty = there are none, or too many.
        calibration: the reliability diagram, of binary scores.
        notes: what is to be known beside the figures.
    """

    task: Task
    rows: int
    classes: tuple[str, ...]
    level: float
    slice_level: float
    figures: tuple[Figure, ...]
    slices: tuple[Part, ...] = ()
    baseline: tuple[Gap, ...] = ()
    paired: bool = False
    confusion: tuple[tuple[float, ...], ...] = ()
    calibration: tuple[Bin, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Another version's predictions.

    Attributes:
        predictions: of it.
        paired: of the same rows, in the same order.
    """

    predictions: Predictions
    paired: bool


def evaluate(
    given: Predictions,
    options: Options | None = None,
    *,
    columns: Mapping[str, Any] | None = None,
    by: Sequence[str] = (),
    fewest: int = FEWEST,
    baseline: Baseline | None = None,
) -> Evaluation:
    """Measure all rows, slices of them, and the difference from another version.

    Args:
        given: rows with their truth.
        options: None = the usual ones.
        columns: that slices are cut by.
        by: columns, or two joined by `*`.
        fewest: rows of a slice that is measured.
        baseline: to compare with.

    Raises:
        InvalidError: options or columns that cannot be.
    """
    options = options or Options()
    whole = measure(given, options)
    notes = _notes(given, whole)
    parts, level = _parts(given, options, columns or {}, by, fewest, notes)
    gaps: tuple[Gap, ...] = ()
    if baseline is not None:
        if baseline.predictions.task is not given.task:
            raise InvalidError("baseline: of another task", field="baseline")
        other = measure(baseline.predictions, options)
        gaps = _gaps(whole, other, paired=baseline.paired)
        if not baseline.paired:
            notes.append("baseline: other rows, so that the difference is that of two samples")
    cells = _cells(given)
    bins: tuple[Bin, ...] = ()
    if given.task is Task.BINARY and given.scores is not None:
        bins = reliability(given.scores, given.truth, weights=given.weights, level=options.level)
    return Evaluation(
        given.task,
        len(given),
        given.classes,
        options.level,
        level,
        tuple(figure_of(one) for one in whole.values()),
        tuple(parts),
        gaps,
        baseline is not None and baseline.paired,
        cells,
        bins,
        tuple(notes),
    )


def figure_of(found: Measured) -> Figure:
    """A metric as it is reported."""
    e = found.estimate
    return Figure(found.name, e.value, e.low, e.high, found.count, e.method)


def sign_of(metric: str, found: Estimate) -> Sign:
    """What a difference's interval says."""
    if math.isnan(found.low) or found.low <= 0 <= found.high:
        return Sign.UNTOLD
    side = better(metric)
    if side == 0:
        return Sign.HIGHER if found.low > 0 else Sign.LOWER
    return Sign.BETTER if (found.low > 0) == (side > 0) else Sign.WORSE


def _parts(
    given: Predictions,
    options: Options,
    columns: Mapping[str, Any],
    by: Sequence[str],
    fewest: int,
    notes: list[str],
) -> tuple[list[Part], float]:
    slices = cut(columns, by)
    measured = [s for s in slices if fewest <= len(s.rows) < len(given)]
    level = adjusted(options.level, len(measured))
    parts = []
    for part in slices:
        if len(part.rows) < fewest:
            parts.append(Part(part.name, part.keys, len(part.rows)))
            continue
        own = at_level(given.take(part.rows), options, level)
        rest: tuple[Gap, ...] = ()
        if len(part.rows) < len(given):
            others = np.setdiff1d(np.arange(len(given)), part.rows, assume_unique=True)
            rest = _gaps(own, at_level(given.take(others), options, level), paired=False)
        figures = tuple(figure_of(one) for one in own.values())
        parts.append(Part(part.name, part.keys, len(part.rows), figures, rest))
    small = len([part for part in parts if not part.figures])
    if small:
        notes.append(f"{small} slices of fewer than {fewest} rows are not measured")
    if len(measured) > 1:
        notes.append(
            f"{len(measured)} slices: each of their intervals is at {level:.2%}, so that those of "
            f"one metric hold together at {options.level:.0%} (Bonferroni)"
        )
    return parts, level


def _gaps(
    left: Mapping[str, Measured], right: Mapping[str, Measured], *, paired: bool
) -> tuple[Gap, ...]:
    """Differences of the metrics that both sides have; single classes are left out."""
    found = []
    for name, one in left.items():
        if name not in right or "[" in name:
            continue
        between = difference(one, right[name], paired=paired)
        gap = Gap(name, between.value, between.low, between.high, sign_of(name, between))
        found.append(gap)
    return tuple(found)


def _notes(given: Predictions, whole: Mapping[str, Measured]) -> list[str]:
    notes = []
    gone = [name for name, one in whole.items() if math.isnan(one.value) and "[" not in name]
    if gone:
        notes.append(f"not defined on these rows: {', '.join(gone)}")
    if given.task is Task.RANKING:
        count = len(np.unique(given.queries))
        used = next(iter(whole.values())).count
        if used < count:
            notes.append(f"{count - used} of {count} queries have no relevant item: left out")
    if given.task is Task.REGRESSION and (zeros := int(np.sum(given.truth == 0))):
        notes.append(f"mape leaves out {zeros} rows whose truth is 0")
    return notes


def _cells(given: Predictions) -> tuple[tuple[float, ...], ...]:
    single = given.task in {Task.BINARY, Task.MULTICLASS} and given.labels is not None
    if not single or len(given.classes) > _MOST_CELLS:
        return ()
    return tuple(tuple(row) for row in confusion(given).tolist())
