"""`robustness`: rows are spoiled, and a model's answers held against those to the good rows."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from modelworks.cli.commands.explain import BATCH
from modelworks.cli.commands.predict import text_columns
from modelworks.cli.context import json_option, platform, settings
from modelworks.cli.explaining import finite, interval
from modelworks.cli.output import Output
from modelworks.cli.tables import read_table
from modelworks.client.data import DataPlane
from modelworks.core import codec
from modelworks.core.errors import InvalidError

if TYPE_CHECKING:
    from modelworks.evaluation.robustness import Robustness, Said

Ask = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
_ROWS: Final = 1000  # of one request


@click.command()
@click.argument("model")
@click.option("--csv", "table", type=click.Path(path_type=Path), required=True, help="Good rows.")
@click.option("--truth", default="", metavar="COL", help="What was right; no feature.")
@click.option("--kinds", default="", help="Such as noise,missing (default: all).")
@click.option("--url", default="", help="Ask this running server (default: the registry's model).")
@click.option("--limit", default=1000, show_default=True, help="Rows at most.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@json_option
def robustness(  # noqa: PLR0913, PLR0917 - click's parameters
    model: str,
    table: Path,
    truth: str,
    kinds: str,
    url: str,
    limit: int,
    seed: int,
    as_json: bool,
) -> None:
    """Spoil rows in six ways, and say how many answers flip and how much quality is lost.

    Ways: noise, missing values, values of other rows, exchanged columns, wrong units, typos.

    \b
    modelworks robustness fraud@champion --csv test.csv --truth label
    modelworks robustness fraud --csv test.csv --url http://127.0.0.1:8000 --kinds noise,scale
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    with platform("robustness"):
        from modelworks.evaluation import robustness as rules
        from modelworks.evaluation.perturbations import KINDS
    columns = {name: column[:limit] for name, column in read_table(table, "csv").items()}
    if truth and truth not in columns:
        raise InvalidError(f"no column '{truth}' in {table}", field="truth")
    known = columns.pop(truth).tolist() if truth else None
    wanted = tuple(kinds.split(",")) if kinds else KINDS
    out = Output(as_json=as_json)
    with out.progress() as say:
        say("asking the model")
        ask, texts, close = _asker(model, url)
        try:
            found = rules.robustness(
                columns,
                lambda c: _said(_asked(ask, _rows(c, texts))),
                known,
                kinds=wanted,
                seed=seed,
            )
        finally:
            close()
    if as_json:
        out.document(finite(codec.encode(found)))
    else:
        _show(out, found)


def _asker(model: str, url: str) -> tuple[Ask, set[str], Callable[[], None]]:
    """A model that answers rows, its text columns, and what closes it."""
    found = settings()
    if url:
        plane = DataPlane(url, found.tls, found.key)

        def over_http(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return list(plane.predict(model, rows)["predictions"])

        return over_http, text_columns(plane, model), plane.close
    with platform("a model in this process"):
        from modelworks.apps.embedded import load
    session = load(
        *(model,),
        url=found.url or None,
        home=found.home.root,
        max_batch_size=BATCH,
        max_queue_size=4 * BATCH,
        poll=0,
    )
    texts = {spec.name for spec in session.signature.inputs if spec.datatype == "BYTES"}
    return (lambda rows: list(session.predict(rows))), texts, session.close


def _asked(ask: Ask, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In requests of a size that a server takes."""
    return [one for at in range(0, len(rows), _ROWS) for one in ask(rows[at : at + _ROWS])]


def _rows(columns: Any, texts: set[str]) -> list[dict[str, Any]]:
    """Columns as plain rows."""
    lists = {
        name: [_cell(value, name in texts) for value in column.tolist()]
        for name, column in columns.items()
    }
    count = len(next(iter(lists.values()), []))
    return [{name: values[row] for name, values in lists.items()} for row in range(count)]


def _cell(value: Any, text: bool) -> Any:
    if value is None or value != value:  # noqa: PLR0124 - NaN is what differs from itself
        return None
    return str(value) if text else value


def _said(answers: list[dict[str, Any]]) -> "Said":
    import numpy as np

    from modelworks.evaluation.robustness import Said

    if "label" in answers[0]:
        sure = [answer.get("confidence") for answer in answers]
        known = np.array(sure, np.float64) if None not in sure else None
        return Said([answer["label"] for answer in answers], known)
    if "score" in answers[0]:
        return Said(None, np.array([answer["score"] for answer in answers], np.float64))
    raise InvalidError("the model answers with neither a label nor a score", field="model")


def _show(out: Output, found: "Robustness") -> None:
    rows = []
    for one in found.shaken:
        name = f"{one.kind} {one.intensity:g} {one.column}".rstrip()
        if one.refused:
            rows.append([name, "refused", "", "", one.refused])
            continue
        cells = [_share(one.flipped), _share(one.moved), _share(one.lost)]
        rows.append([name, *cells, ""])
    out.table(["spoiled by", "flipped", "moved", "quality lost", "refused"], rows, "nothing")
    quality = f"; quality of the good ones {_share(found.quality)}" if found.quality else ""
    out.note(f"{found.rows} rows{quality}; intervals of 95 %, of one comparison each")


def _share(found: Any) -> str:
    return "-" if found is None else f"{found.value:.3g} ({interval(found)})"
