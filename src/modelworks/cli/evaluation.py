"""Columns of a file as predictions, and an evaluation as text and as a page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.evaluation import predictions as made
from modelworks.evaluation.columns import classes_of, name_of
from modelworks.evaluation.curves import pr_points, roc_points
from modelworks.evaluation.predictions import Predictions, Task
from modelworks.evaluation.report import Evaluation, Figure, Gap, Sign
from modelworks.measure import page
from modelworks.measure.charts import Chart, Curve

_MOST_CLASSES: Final = 20
_MOST_SHOWN: Final = 12
Table = tuple[Sequence[str], list[list[str]], str]


@dataclass(frozen=True, slots=True)
class Named:
    """Which columns mean what.

    Attributes:
        truth: one, or one a label.
        label: predicted class or number; empty = none.
        score: probability of the positive class, or one a class (a label).
        query: of a ranking; empty = it is none.
        weight: empty = 1 each.
        classes: names in the order of `score`; empty = those that are seen, sorted.
        positive: class that counts; empty = the greater of two.
        threshold: of scores.
        task: empty = as the columns look.
    """

    truth: tuple[str, ...]
    label: str = ""
    score: tuple[str, ...] = ()
    query: str = ""
    weight: str = ""
    classes: tuple[str, ...] = ()
    positive: str = ""
    threshold: float = 0.5
    task: str = ""


def with_truth(columns: Mapping[str, Any], named: Named) -> tuple[dict[str, Any], int]:
    """The rows whose truth is known, and how many are not.

    Raises:
        InvalidError: a column is not there, or no row has a truth.
    """
    wanted = [*named.truth, named.label, *named.score, named.query, named.weight]
    for name in (one for one in wanted if one):
        if name not in columns:
            has = ", ".join(list(columns)[:12])
            raise InvalidError(f"no column '{name}' (there are {has})", field=name)
    rows = len(columns[named.truth[0]])
    keep = np.ones(rows, bool)
    for name in named.truth:
        column = columns[name]
        if column.dtype == object:
            keep &= np.array([value is not None for value in column.tolist()])
        elif column.dtype.kind == "f":
            keep &= ~np.isnan(column)
    if not keep.any():
        raise InvalidError("no row has a truth", field="truth")
    return {name: column[keep] for name, column in columns.items()}, int(rows - keep.sum())


def predictions_of(columns: Mapping[str, Any], named: Named) -> Predictions:
    """Columns as the task wants them.

    Raises:
        InvalidError: columns that do not fit the task, or a task that cannot be told from them.
    """
    task = Task(named.task) if named.task else _task(columns, named)
    truth = columns[named.truth[0]]
    label = columns[named.label] if named.label else None
    weights = columns[named.weight] if named.weight else None
    scores = [columns[name] for name in named.score]
    if task is Task.RANKING:
        if not named.query or len(scores) != 1:
            raise InvalidError("a ranking wants --query and one --score", field="query")
        return made.ranking(truth, scores[0], columns[named.query])
    if task is Task.REGRESSION:
        predicted = label if label is not None else (scores or [None])[0]
        if predicted is None:
            raise InvalidError("a regression wants its prediction as --label", field="label")
        return made.regression(truth, predicted, weights=weights)
    if label is not None and task is not Task.MULTILABEL:
        seen, said = ({name_of(v) for v in c.tolist()} for c in (truth, label))
        if not seen & said:
            raise InvalidError(
                f"no value of '{named.label}' is a class of '{named.truth[0]}': predicted classes "
                "are wanted, or --task regression",
                field="label",
            )
    stacked = np.stack(scores, axis=1) if scores else None
    if task is Task.MULTILABEL:
        wanted = np.stack([columns[name] for name in named.truth], axis=1)
        names = named.classes or named.truth
        return made.multilabel(
            wanted, names, scores=stacked, threshold=named.threshold, weights=weights
        )
    if task is Task.MULTICLASS:
        return made.multiclass(truth, named.classes, scores=stacked, labels=label, weights=weights)
    return made.binary(
        truth,
        scores=scores[0] if scores else None,
        labels=label,
        positive=named.positive or None,
        threshold=named.threshold,
        weights=weights,
    )


def _task(columns: Mapping[str, Any], named: Named) -> Task:
    """What the columns look like."""
    if named.query:
        return Task.RANKING
    if len(named.truth) > 1 or len(named.score) > 1:
        return Task.MULTILABEL if len(named.truth) > 1 else Task.MULTICLASS
    truth = columns[named.truth[0]]
    both = [truth] + ([columns[named.label]] if named.label else [])
    seen = classes_of(*both)
    if len(seen) <= 2:
        return Task.BINARY
    broken = truth.dtype.kind == "f" and not np.array_equal(truth, np.floor(truth))
    if broken or (truth.dtype.kind in "iuf" and len(seen) > _MOST_CLASSES):
        return Task.REGRESSION
    if truth.dtype == object or not named.score:
        return Task.MULTICLASS
    raise InvalidError("the task cannot be told from the columns: give --task", field="task")


def tables(found: Evaluation) -> list[Table]:
    """(head, rows, what is said where there are none): all rows, the baseline, slices.

    Single classes are shown where there are at most twelve, and of all rows only.
    """
    made_of: list[Table] = [
        (
            ("metric", "value", f"{found.level:.0%} interval", "rows", "interval by"),
            [
                [f.metric, _number(f.value), _range(f), str(f.count), f.method]
                for f in found.figures
            ],
            "nothing could be measured",
        )
    ]
    if found.baseline:
        rows = [[g.metric, _signed(g.value), _range(g), g.sign.value] for g in found.baseline]
        columns = ("metric", "less the baseline", f"{found.level:.0%} interval", "so it is")
        made_of.append((columns, rows, ""))
    if found.slices:
        head = ("slice", "rows", "metric", "value", f"{found.slice_level:.2%} interval", "the rest")
        rows = []
        for part in found.slices:
            if not part.figures:
                rows.append([part.name, str(part.rows), "too few rows", "", "", ""])
            signs = {gap.metric: gap.sign for gap in part.rest}
            for figure in part.figures:
                if "[" not in figure.metric:
                    sign = signs.get(figure.metric, Sign.UNTOLD)
                    told = "" if sign is Sign.UNTOLD else f"{sign.value} than the rest"
                    value = _number(figure.value)
                    rows.append(
                        [part.name, str(part.rows), figure.metric, value, _range(figure), told]
                    )
        made_of.append((head, rows, ""))
    return made_of


def html(title: str, found: Evaluation, given: Predictions) -> str:
    """The page."""
    facts = [f"{found.task.value}, {found.rows} rows with their truth"]
    if found.classes:
        facts.append(f"classes: {', '.join(found.classes[:50])}")
    shown = [(head, rows) for head, rows, _ in tables(found)]
    if found.confusion:
        head = ["truth, then predicted", *found.classes]
        pairs = zip(found.classes, found.confusion, strict=True)
        shown.append((head, [[name, *(f"{cell:g}" for cell in row)] for name, row in pairs]))
    return page.page(title, facts, shown, found.notes, charts(found, given))


def charts(found: Evaluation, given: Predictions) -> list[Chart]:
    """ROC, precision-recall, reliability of a binary model."""
    if given.task is not Task.BINARY or given.scores is None:
        return []
    columns = given.truth, given.scores, given.weights
    even = Curve("chance", ((0.0, 0.0), (1.0, 1.0)))
    drawn = []
    if points := roc_points(*columns):
        curve = Curve("model", tuple(points))
        drawn.append(Chart("ROC", "false positive rate", "true positive rate", (curve, even)))
    if points := pr_points(*columns):
        curve = Curve("model", tuple(points))
        drawn.append(Chart("Precision and recall", "recall", "precision", (curve,)))
    if found.calibration:
        bins = found.calibration
        curves = (
            Curve("observed", tuple((b.score, b.share.value) for b in bins)),
            Curve("lower end", tuple((b.score, b.share.low) for b in bins)),
            Curve("upper end", tuple((b.score, b.share.high) for b in bins)),
            Curve("calibrated", even.points),
        )
        drawn.append(Chart("Reliability", "score", "share of positives", curves))
    return drawn


def document(encoded: Any) -> Any:
    """JSON has no NaN: what is not defined is null."""
    if isinstance(encoded, float):
        return encoded if math.isfinite(encoded) else None
    if isinstance(encoded, dict):
        return {name: document(value) for name, value in encoded.items()}
    if isinstance(encoded, list):
        return [document(value) for value in encoded]
    return encoded


def _number(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.4g}"


def _signed(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:+.4g}"


def _range(found: Figure | Gap) -> str:
    return "" if math.isnan(found.low) else f"{found.low:.4g} to {found.high:.4g}"
