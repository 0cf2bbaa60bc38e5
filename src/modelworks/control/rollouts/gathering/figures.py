"""Figures of recorded answers, row by row, where the truth or an outcome of them is known."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from modelworks.control.rollouts.gathering.answers import text
from modelworks.core.rollouts import Kind, Metric
from modelworks.evaluation.predictions import Task
from modelworks.monitor.quality.plan import Plan as Judged
from modelworks.monitor.quality.rows import TRUTH

CLASSES: Final = frozenset({"accuracy", "wrong_rate"})
"""Of whether the class that was said is the true one."""
NUMBERS: Final = frozenset({"mae", "mse"})
"""Of how far the number that was said is from the true one."""
_HALF: Final = 0.5


def figures(
    metric: Metric, of: Judged | None, columns: Mapping[str, Any], mine: Any
) -> tuple[Any, Any]:
    """A figure of each row where there is one, and which rows those are.

    Args:
        metric: whose figures; what has no truth of its own is an outcome of that name.
        of: how the version's answers are held to the truth; None = they cannot be.
        columns: of records with `truth` and `outcome.NAME`.
        mine: rows of the version.
    """
    told = columns.get(TRUTH if metric.name in CLASSES | NUMBERS else f"outcome.{metric.name}")
    if told is None:
        return np.zeros(0), mine[:0]
    found = [(int(row), np.asarray(told, object)[row]) for row in mine]
    known = [(row, value) for row, value in found if _is(value)]
    if metric.name not in CLASSES | NUMBERS:
        pairs = [(row, _number(value)) for row, value in known]
        if metric.kind is Kind.RATE:  # yes and no, whatever else was told
            pairs = [(row, value) for row, value in pairs if value in {0.0, 1.0}]
    elif metric.name in NUMBERS:
        pairs = list(_apart(metric, of, columns, known))
    else:
        right = metric.name == "accuracy"
        said = _said(of, columns, [row for row, _ in known])
        pairs = [
            (row, float((text(one) == text(value)) is right))
            for (row, value), one in zip(known, said, strict=False)
            if _is(one)
        ]
    pairs = [(row, value) for row, value in pairs if math.isfinite(value)]
    return np.array([value for _, value in pairs]), np.array([r for r, _ in pairs], np.int64)


def _apart(
    metric: Metric, of: Judged | None, columns: Mapping[str, Any], known: list[tuple[int, Any]]
) -> Iterator[tuple[int, float]]:
    if of is None or of.task is not Task.REGRESSION:
        return
    column = columns.get(of.label or of.score)
    if column is None:
        return
    for row, value in known:
        off = abs(_number(column[row]) - _number(value))
        yield row, off * off if metric.name == "mse" else off


def _said(of: Judged | None, columns: Mapping[str, Any], rows: list[int]) -> list[Any]:
    """The class that a version said, row by row; empty = it cannot be told."""
    if of is None or not rows or of.task is Task.REGRESSION:
        return []
    if of.label and of.label in columns:
        return list(np.asarray(columns[of.label], dtype=object)[rows])
    if not of.score or of.score not in columns:
        return []
    found: list[Any] = []
    for score in np.asarray(columns[of.score], dtype=object)[rows]:
        if not _is(score):
            found.append(None)
            continue
        several = isinstance(score, list | tuple | np.ndarray)
        place = int(np.argmax(score)) if several else int(float(score) >= _HALF)
        found.append(of.classes[place] if place < len(of.classes) else place)
    return found


def _is(value: Any) -> bool:
    return value is not None and not (isinstance(value, float | np.floating) and math.isnan(value))


def _number(value: Any) -> float:
    while isinstance(value, list | tuple | np.ndarray) and len(value) == 1:
        value = value[0]
    plain = isinstance(value, int | float | np.number | bool | np.bool_)
    return float(value) if plain else math.nan
