"""Joined records as arrays: what was predicted, what was true where it is known."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.evaluation import predictions as made
from modelworks.evaluation.columns import name_of
from modelworks.evaluation.predictions import Predictions, Task
from modelworks.monitor.quality.plan import Plan
from modelworks.stats.intervals import Floats

TRUTH: Final = "truth"
_TRUTHS: Final = {"True": "1", "False": "0", "true": "1", "false": "0"}


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Answered items of one version.

    Attributes:
        columns: of the records, those rows alone.
        labels: predicted class index, or number; of several labels [rows, labels].
        scores: probability of the second class [rows], or [rows, classes]; None = not recorded.
        classes: names, by index.
        truth: class index or number, as `labels`; meaningless where it is not known.
        known: whether the truth is.
        unfit: rows whose truth is none of the classes, or no number: as if not known.
    """

    columns: Mapping[str, Any]
    labels: Any
    scores: Any
    classes: tuple[str, ...]
    truth: Any
    known: Any
    unfit: int

    def __len__(self) -> int:
        """How many."""
        return len(self.labels)

    def take(self, rows: Any) -> "Rows":
        """Some of them."""
        return Rows(
            {name: column[rows] for name, column in self.columns.items()},
            self.labels[rows],
            None if self.scores is None else self.scores[rows],
            self.classes,
            self.truth[rows],
            self.known[rows],
            0,
        )


def rows_of(columns: Mapping[str, Any], plan: Plan) -> Rows | None:
    """The answered rows; None = there are none, or outputs or queries were not recorded.

    Args:
        columns: as `core.records.Batch` has them, and `truth`.
        plan: which of them.
    """
    wanted = [name for name in (plan.label, plan.score) if name]
    if not wanted or any(name and name not in columns for name in (*wanted, plan.query)):
        return None
    count = len(columns[wanted[0]])
    keep = np.ones(count, bool)
    for name in wanted:
        keep &= np.array([_whole(value) for value in _listed(columns[name])], bool)
    if "status" in columns:
        keep &= np.asarray(columns["status"]) < 400
    if not keep.any():
        return None
    chosen = {name: np.asarray(column)[keep] for name, column in columns.items()}
    truth = _listed(chosen[TRUTH]) if TRUTH in chosen else [None] * int(keep.sum())
    if plan.task in {Task.REGRESSION, Task.RANKING}:
        return _numbers(chosen, plan, truth)
    return _classified(chosen, plan, truth)


def predictions_of(rows: Rows, plan: Plan) -> Predictions:
    """The rows whose truth is known, as they are evaluated."""
    own = rows.take(rows.known)
    ones = np.ones(len(own))
    if plan.task is Task.RANKING:
        queries = own.columns[plan.query]
        return made.ranking(own.truth, own.scores, queries)
    return Predictions(plan.task, own.truth, own.labels, own.scores, ones, rows.classes)


def _classified(chosen: Mapping[str, Any], plan: Plan, truth: Sequence[Any]) -> Rows:
    scores = _matrix(chosen[plan.score]) if plan.score else None
    if plan.task is Task.MULTILABEL:
        return _several(chosen, plan, truth, scores)
    said = [name_of(_one(value)) for value in _listed(chosen[plan.label])] if plan.label else []
    classes = plan.classes or tuple(
        sorted({*said, *(name_of(_one(v)) for v in truth if _whole(v))})
    )
    places = {name: place for place, name in enumerate(classes)}
    if scores is not None and plan.task is Task.BINARY and scores.ndim == 2:
        scores = scores[:, -1]
    if said:
        labels = np.array([places.get(name, 0) for name in said], np.int64)
    elif scores is not None and scores.ndim == 1:
        labels = (scores >= 0.5).astype(np.int64)
    else:
        labels = np.asarray(scores).argmax(axis=1)
    found = np.array([_place(value, places) for value in truth], np.int64)
    given = np.array([_whole(value) for value in truth], bool)
    known = given & (found >= 0)
    return Rows(chosen, labels, scores, classes, found, known, int((given & ~known).sum()))


def _several(chosen: Mapping[str, Any], plan: Plan, truth: Sequence[Any], scores: Any) -> Rows:
    labels = _matrix(chosen[plan.label]) if plan.label else scores >= 0.5
    width = labels.shape[1]
    given = np.array([_whole(value) for value in truth], bool)
    known = np.array([isinstance(v, list | tuple) and len(v) == width for v in truth], bool)
    empty = [0] * width
    found = np.array([list(v) if ok else empty for v, ok in zip(truth, known, strict=True)])
    classes = plan.classes or tuple(map(str, range(width)))
    unfit = int((given & ~known).sum())
    return Rows(chosen, labels.astype(int), scores, classes, found.astype(int), known, unfit)


def _numbers(chosen: Mapping[str, Any], plan: Plan, truth: Sequence[Any]) -> Rows:
    labels = _floats(_listed(chosen[plan.label or plan.score]))
    scores = _floats(_listed(chosen[plan.score])) if plan.score else None
    found = _floats(truth)
    given = np.array([_whole(value) for value in truth], bool)
    known = np.isfinite(found) & np.isfinite(labels)
    unfit = int((given & ~known).sum())
    return Rows(chosen, labels, scores, (), np.nan_to_num(found), known, unfit)


def _listed(column: Any) -> list[Any]:
    found: list[Any] = np.asarray(column).tolist()
    return found


def _one(value: Any) -> Any:
    """A value that came as a list of one."""
    while isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return value


def _whole(value: Any) -> bool:
    value = _one(value)
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _place(value: Any, places: Mapping[str, int]) -> int:
    """Index of a truth's class, -1 = none: yes and no may come as truth values for 1 and 0."""
    name = name_of(_one(value))
    return places.get(name, places.get(_TRUTHS.get(name, name), -1))


def _matrix(column: Any) -> Floats:
    found = np.array([_one(value) for value in _listed(column)], np.float64)
    return np.clip(found, 0.0, 1.0)


def _floats(values: Sequence[Any]) -> Floats:
    found = np.full(len(values), np.nan)
    for place, value in enumerate(values):
        one = _one(value)
        if isinstance(one, int | float):
            found[place] = one
    return found
