"""One window of a model as points of series: `quality` and `business`, each with its interval."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.series import Series
from modelworks.evaluation.measured import average, proportion
from modelworks.evaluation.metrics import Options, base_of, measure
from modelworks.evaluation.slices import Slice, cut
from modelworks.monitor.quality.estimator import Estimator, estimate
from modelworks.monitor.quality.inferred import infer
from modelworks.monitor.quality.plan import WHOLE, Kind, Plan
from modelworks.monitor.quality.rows import Rows, predictions_of, rows_of
from modelworks.stats.intervals import Estimate, adjusted

OUTCOME: Final = "outcome."
_VERSION: Final = "version"
_SLICED: Final = 50
"""Slices of a window that become series; more of them are left out, the smallest first."""


def windows(
    columns: Mapping[str, Any],
    plan: Plan | None,
    end: float,
    labels: Mapping[str, str],
    estimators: Mapping[str, Estimator] | None = None,
) -> list[Series]:
    """All series of one window, a point each, version by version.

    `quality` has the labels `metric`, `slice` (`*` = all rows) and `kind`; beside it stand
    `quality_low` and `quality_high` (the interval) and `quality_rows`. `business` likewise, its
    metrics being `NAME_sum`, `NAME_mean` (of the predictions of which the outcome is known),
    `NAME_per_prediction` (of all, unknown = 0), or `NAME_rate` where it is 0 or 1.

    Args:
        columns: of the window's records, joined with `truth` and `outcome.NAME`.
        plan: of the model; None = outcomes alone.
        end: of the window, seconds since 1970.
        labels: of every series (`model`); `version` is added from the records.
        estimators: by version.
    """
    found: list[Series] = []
    for version, part in _versions(columns):
        own = {**labels, **({_VERSION: version} if version else {})}
        rows = rows_of(part, plan) if plan is not None else None
        if plan is not None and rows is not None:
            estimator = (estimators or {}).get(version)
            found += _quality(rows, plan, estimator, end, own)
        found += _business(part, end, own)
    return found


def _versions(columns: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if _VERSION not in columns:
        yield "", columns
        return
    names = np.array([str(one) for one in np.asarray(columns[_VERSION]).tolist()])
    for name in np.unique(names):
        rows = names == name
        yield str(name), {key: np.asarray(column)[rows] for key, column in columns.items()}


def _quality(
    rows: Rows, plan: Plan, estimator: Estimator | None, end: float, labels: Mapping[str, str]
) -> Iterator[Series]:
    slices = [part for part in _cut(rows, plan) if len(part.rows) >= plan.fewest]
    slices = sorted(slices, key=lambda part: -len(part.rows))[:_SLICED]
    narrow = replace(plan, level=adjusted(plan.level, len(slices)))
    parts = [(WHOLE, rows, plan)]
    parts += [(part.name, rows.take(part.rows), narrow) for part in slices]
    for name, own, how in parts:
        for kind, metric, one, count in _kinds(own, how, estimator):
            told = {**labels, "metric": metric, "slice": name, "kind": kind.value}
            yield from _points("quality", one, count, end, told)


def _cut(rows: Rows, plan: Plan) -> Iterator[Slice]:
    """The slices; a column that makes too many, or is not there, makes none."""
    for by in plan.slices:
        with contextlib.suppress(InvalidError):
            yield from cut(rows.columns, [by])


def _kinds(
    rows: Rows, plan: Plan, estimator: Estimator | None
) -> Iterator[tuple[Kind, str, Estimate, int]]:
    known = int(rows.known.sum())
    if known >= plan.fewest:
        metrics = measure(predictions_of(rows, plan), Options(plan.level))
        for name, one in metrics.items():
            if _wanted(name, plan):
                yield Kind.MEASURED, name, one.estimate, one.count
    if estimator is None or len(rows) < plan.fewest:
        return
    for name, expected in estimate(estimator, rows, plan).items():
        if _wanted(name, plan):
            yield Kind.ESTIMATED, name, expected, len(rows)
    for name, inferred in infer(estimator, rows, plan).items():
        if _wanted(name, plan):
            yield Kind.INFERRED, name, inferred, known


def _wanted(name: str, plan: Plan) -> bool:
    return name in plan.wanted or ("[" not in name and base_of(name) in plan.wanted)


def _business(
    columns: Mapping[str, Any], end: float, labels: Mapping[str, str]
) -> Iterator[Series]:
    for column, raw in columns.items():
        if not column.startswith(OUTCOME):
            continue
        name = column.removeprefix(OUTCOME)
        values = np.array(
            [v if isinstance(v, int | float) else math.nan for v in np.asarray(raw).tolist()],
            np.float64,
        )
        told = values[np.isfinite(values)]
        if not len(told):
            continue
        figures: dict[str, tuple[Estimate, int]] = {}
        ones = np.ones(len(told))
        if np.isin(told, (0.0, 1.0)).all():
            rate = proportion(name, told, ones)
            figures["rate"] = rate.estimate, rate.count
        else:
            mean = average(name, told, ones)
            total = float(told.sum())
            every = average(name, np.nan_to_num(values), np.ones(len(values)))
            figures["sum"] = Estimate(total, math.nan, math.nan, "sum"), mean.count
            figures["mean"] = mean.estimate, mean.count
            figures["per_prediction"] = every.estimate, every.count
        for suffix, (one, count) in figures.items():
            metric = {**labels, "metric": f"{name}_{suffix}"}
            yield from _points("business", one, count, end, metric)


def _points(
    name: str, found: Estimate, count: int, end: float, labels: Mapping[str, str]
) -> Iterator[Series]:
    """The figure, its interval where there is one, and of how many rows it is."""
    if math.isnan(found.value):
        return
    yield Series(name, labels, (end,), (found.value,))
    if not math.isnan(found.low):
        yield Series(f"{name}_low", labels, (end,), (found.low,))
        yield Series(f"{name}_high", labels, (end,), (found.high,))
    yield Series(f"{name}_rows", labels, (end,), (float(count),))
