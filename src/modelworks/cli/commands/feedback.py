"""`feedback`: what became of predictions, from files."""

from itertools import islice
from pathlib import Path

import click

from modelworks.cli.context import json_option, recorded
from modelworks.cli.feedback_files import Columns, read
from modelworks.cli.human import count
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError

_LINES = 1000  # of one message


@click.group()
def feedback() -> None:
    """Tell what became of predictions.

    Over HTTP it is `POST /api/v1/feedback` of the control plane; from files:

    \b
    modelworks feedback import labels.csv --model fraud --truth is_fraud
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped


@feedback.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--model", required=True, help="Whose predictions.")
@click.option("--prediction", default="", metavar="COLUMN", help="With ids of requests.")
@click.option("--key", default="", metavar="COLUMN", help="With business keys, in place of ids.")
@click.option("--item", default="", metavar="COLUMN", help="With the item of a request (0).")
@click.option("--truth", default="", metavar="COLUMN", help="With what should have been answered.")
@click.option(
    "--outcome", "outcomes", multiple=True, metavar="COLUMN", help="With an outcome; repeatable."
)
@click.option("--at", default="", metavar="COLUMN", help="With when it became known (now).")
@json_option
def import_feedback(  # noqa: PLR0913, PLR0917 - one an option
    file: Path,
    model: str,
    prediction: str,
    key: str,
    item: str,
    truth: str,
    outcomes: tuple[str, ...],
    at: str,
    as_json: bool,
) -> None:
    """Take in a table of what became of predictions: .csv, .jsonl or .parquet.

    Without --prediction and --key the column `prediction` is taken. Lines without truth and
    outcomes are passed over. What was imported before counts once, so a file can be imported again.

    Example: modelworks feedback import labels.csv --model fraud --truth is_fraud --at known
    """
    out = Output(as_json=as_json)
    if prediction and key:
        raise InvalidError("give one of --prediction and --key", field="--prediction")
    if not truth and not outcomes:
        raise InvalidError("give --truth or --outcome: nothing is told", field="--truth")
    by_id = prediction or ("" if key else "prediction")
    columns = Columns(model, by_id, key, item, truth, outcomes, at)
    lines = read(file, columns)
    taken = 0
    with recorded() as verbs, out.progress() as say:
        while some := list(islice(lines, _LINES)):
            try:
                taken += verbs.intake.lines(some).accepted
            except InvalidError as error:
                raise InvalidError(
                    f"{file}, after {taken} lines that were taken: {error.message}",
                    field=error.field,
                ) from error
            say(f"{taken} lines")
    if as_json:
        return out.document({"accepted": taken})
    return out.line(f"{count(taken, 'line')} of feedback taken in; the worker joins them")
