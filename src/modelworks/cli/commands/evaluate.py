"""`evaluate`: predictions beside their truth, by slice and against another version."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelworks.cli.context import json_option
from modelworks.cli.output import Output
from modelworks.core import codec
from modelworks.core.errors import InvalidError

if TYPE_CHECKING:
    from modelworks.evaluation.predictions import Predictions
    from modelworks.evaluation.report import Baseline, Evaluation

_FILE = click.Path(path_type=Path)
_TASKS = ("binary", "multiclass", "multilabel", "regression", "ranking")


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's options."""

    predictions: Path
    truth: str
    label: str
    score: str
    query: str
    weight: str
    task: str
    classes: str
    positive: str
    threshold: float
    by: tuple[str, ...]
    min_rows: int
    metric: tuple[str, ...]
    level: float
    top: int
    quantile: float | None
    baseline: Path | None
    key: str
    html: Path | None
    tensorboard: Path | None
    step: int
    tfma: Path | None
    as_json: bool


@click.command()
@click.option("--predictions", type=_FILE, required=True, help="A .csv, .npz or .parquet file.")
@click.option("--truth", required=True, metavar="COL[,COL]", help="What was true.")
@click.option("--label", default="", metavar="COL", help="The predicted class, or number.")
@click.option("--score", default="", metavar="COL[,COL]", help="Probability; one column a class.")
@click.option("--query", default="", metavar="COL", help="Of a ranking: what an item belongs to.")
@click.option("--weight", default="", metavar="COL", help="Of the rows (default 1 each).")
@click.option("--task", default="", type=click.Choice(["", *_TASKS]), help="Default: as it looks.")
@click.option("--classes", default="", metavar="A,B", help="In the order of the --score columns.")
@click.option("--positive", default="", help="The class that counts (default: the greater).")
@click.option("--threshold", default=0.5, help="From which score on a row is positive.")
@click.option("--slice", "by", multiple=True, metavar="COL[,COL*COL]", help="Measure by value too.")
@click.option("--min-rows", default=30, type=click.IntRange(2), help="Of a slice (default 30).")
@click.option("--metric", multiple=True, metavar="NAME", help="Only these; may be repeated.")
@click.option("--level", default=0.95, help="Of the intervals (default 0.95).")
@click.option("--top", default=10, type=click.IntRange(1), help="k of a ranking (default 10).")
@click.option("--quantile", type=float, help="Which one a regression predicts: pinball loss.")
@click.option("--baseline", type=_FILE, help="Another version's predictions, to compare with.")
@click.option(
    "--key", default="", metavar="COL", help="Says which rows of --baseline are the same."
)
@click.option("--html", type=_FILE, help="Write a page.")
@click.option("--tensorboard", type=_FILE, metavar="DIR", help="Write event files.")
@click.option("--step", default=0, type=click.IntRange(0), help="Of the event files.")
@click.option("--tfma", type=_FILE, metavar="DIR", help="Write metrics as TFMA does.")
@json_option
def evaluate(**given: Any) -> None:
    """Measure predictions whose truth is known: with intervals, by slice, against a baseline.

    Rows without a truth are left out and counted. The task is told from the columns, or by --task.

    \b
    modelworks evaluate --predictions p.csv --truth y --score p --slice region,region*sex
    modelworks evaluate --predictions new.csv --baseline old.csv --truth y --label said --key id
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    from modelworks.cli.bench_options import write_text
    from modelworks.cli.evaluation import document, html, predictions_of, tables, with_truth
    from modelworks.cli.tables import read_table
    from modelworks.evaluation.metrics import Options
    from modelworks.evaluation.report import evaluate as evaluated

    asked = Asked(**given)
    out = Output(as_json=asked.as_json)
    named = _named(asked)
    columns, without = with_truth(read_table(asked.predictions, "predictions"), named)
    if without:
        out.note(f"{without} rows have no truth yet and are left out")
    predictions = predictions_of(columns, named)
    options = Options(asked.level, asked.top, asked.quantile, asked.metric)
    columns, predictions, baseline = _baseline(asked, columns, predictions, out)
    found = evaluated(
        predictions,
        options,
        columns=columns,
        by=[name for listed in asked.by for name in _split(listed)],
        fewest=asked.min_rows,
        baseline=baseline,
    )
    _write(asked, found, predictions)
    if asked.html is not None:
        text = html(f"{asked.predictions.name}: {found.task.value}", found, predictions)
        write_text(asked.html, text, "html")
    if asked.as_json:
        return out.document(document(codec.encode(found)) | {"without_truth": without})
    for head, rows, empty in tables(found):
        out.table(head, rows, empty)
        out.line()
    for note in found.notes:
        out.note(note)
    return None


@click.command()
@click.argument("curves", type=_FILE)
@click.option("--logdir", type=_FILE, required=True, help="TensorBoard's log folder.")
@json_option
def tensorboard(curves: Path, logdir: Path, as_json: bool) -> None:
    """Write training curves as event files for TensorBoard.

    CURVES is a .csv, .npz or .parquet file: `step` (or `epoch`, `iteration`), a column a curve;
    `run` and `time` (seconds since 1970) are optional.

    \b
    modelworks tensorboard history.csv --logdir runs
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    from modelworks.cli.tables import read_table
    from modelworks.evaluation.tensorboard import write_curves

    out = Output(as_json=as_json)
    paths = write_curves(logdir, read_table(curves, "curves"), time.time())
    if as_json:
        return out.document({"files": [str(path) for path in paths]})
    for path in paths:
        out.line(str(path))
    return None


def _named(asked: Asked) -> Any:
    from modelworks.cli.evaluation import Named

    return Named(
        tuple(_split(asked.truth)),
        asked.label,
        tuple(_split(asked.score)),
        asked.query,
        asked.weight,
        tuple(_split(asked.classes)),
        asked.positive,
        asked.threshold,
        asked.task,
    )


def _baseline(
    asked: Asked, columns: dict[str, Any], predictions: "Predictions", out: Output
) -> "tuple[dict[str, Any], Predictions, Baseline | None]":
    """The other version; with a key only the rows that both have, in one order."""
    if asked.baseline is None:
        return columns, predictions, None
    import numpy as np

    from modelworks.cli.evaluation import predictions_of, with_truth
    from modelworks.cli.tables import read_table
    from modelworks.evaluation.report import Baseline

    named = _named(asked)
    others, _ = with_truth(read_table(asked.baseline, "baseline"), named)
    if not asked.key:
        other = predictions_of(others, named)
        paired = np.array_equal(other.truth, predictions.truth)
        return columns, predictions, Baseline(other, paired=paired)
    mine, theirs = (_places(table, asked.key) for table in (columns, others))
    shared = [key for key in mine if key in theirs]
    if not shared:
        raise InvalidError(f"no value of '{asked.key}' is in both files", field="key")
    if (alone := len(mine) - len(shared)) or len(theirs) > len(shared):
        out.note(f"{alone} rows and {len(theirs) - len(shared)} of the baseline have no partner")
    first, second = [mine[key] for key in shared], [theirs[key] for key in shared]
    columns = {name: column[first] for name, column in columns.items()}
    others = {name: column[second] for name, column in others.items()}
    other = predictions_of(others, named)
    given = predictions_of(columns, named)
    return columns, given, Baseline(other, paired=np.array_equal(other.truth, given.truth))


def _places(columns: dict[str, Any], key: str) -> dict[str, int]:
    from modelworks.evaluation.columns import name_of

    if key not in columns:
        raise InvalidError(f"no column '{key}'", field="key")
    names = [name_of(value) for value in columns[key].tolist()]
    found = {name: place for place, name in enumerate(names)}
    if len(found) < len(names):
        raise InvalidError(f"'{key}' has a value twice: it says no row", field="key")
    return found


def _write(asked: Asked, found: "Evaluation", given: "Predictions") -> None:
    """What was asked for besides the answer."""
    if asked.tfma is not None:
        from modelworks.evaluation import tfma

        tfma.write(asked.tfma, found)
    if asked.tensorboard is not None:
        _events(asked.tensorboard, asked.step, found, given)


def _events(folder: Path, step: int, found: "Evaluation", given: "Predictions") -> None:
    """A run of all rows, and one a slice."""
    from modelworks.evaluation import tensorboard as board
    from modelworks.evaluation.predictions import Task

    at = time.time()
    values = _scalars(found.figures)
    if given.task is Task.BINARY and given.scores is not None:
        values.append(board.pr_curve("pr_curve", given.truth, given.scores, given.weights))
        for place, name in enumerate(given.classes):
            own = given.scores[given.truth == place]
            values += [board.histogram(f"scores/{name}", own)] if len(own) else []
    if given.task is Task.REGRESSION:
        values.append(board.histogram("residuals", given.labels - given.truth))
    board.write_events(folder / "all", [(step, at, values)], at)
    for part in found.slices:
        if part.figures:
            run = folder / board.run_name(part.name)
            board.write_events(run, [(step, at, _scalars(part.figures))], at)


def _scalars(figures: Sequence[Any]) -> list[bytes]:
    from math import isfinite

    from modelworks.evaluation.tensorboard import scalar

    return [
        scalar(f"{figure.metric}/{name}", value)
        for figure in figures
        for name, value in (("value", figure.value), ("low", figure.low), ("high", figure.high))
        if isfinite(value)
    ]


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
