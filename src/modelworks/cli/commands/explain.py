"""`explain`: what each feature did to a model's answers, and what changed between two windows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from modelworks.cli import explaining
from modelworks.cli.bench_options import writable, write_text
from modelworks.cli.context import json_option, platform, settings
from modelworks.cli.output import Output
from modelworks.cli.rows import read_csv
from modelworks.core.errors import InvalidError

if TYPE_CHECKING:
    from modelworks.control.explaining.service import Subject
    from modelworks.core.tensor import Signature

BATCH: Final = 4096
_BACKGROUND: Final = 1000
"""Rows of a background that are read: more change nothing but the time."""
_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("model")
@click.option("--csv", "table", type=_FILE, required=True, help="Rows, with a head.")
@click.option("--background", type=_FILE, help="Rows that stand for 'not known' (default: --csv).")
@click.option("--against", type=_FILE, help="Rows of an earlier window: what changed since?")
@click.option("--explainer", default="auto", show_default=True, help="auto, linear, trees, ...")
@click.option("--samples", default=0, help="Calls a row at most (default: 4096).")
@click.option("--seed", default=0, show_default=True)
@click.option("--limit", default=200, show_default=True, help="Rows of each file at most.")
@click.option("--top", default=20, show_default=True, help="Rows and features shown.")
@click.option("--html", type=_FILE, help="A page with the tables.")
@json_option
def explain(  # noqa: PLR0913, PLR0917 - click's parameters
    model: str,
    table: Path,
    background: Path | None,
    against: Path | None,
    explainer: str,
    samples: int,
    seed: int,
    limit: int,
    top: int,
    html: Path | None,
    as_json: bool,
) -> None:
    """Say what each feature did to a model's answers (Shapley values).

    MODEL is NAME, NAME@ALIAS or NAME:VERSION of the registry; it runs in this process. Linear
    models and trees are explained exactly, from their own form; any other by asking it.

    \b
    modelworks explain fraud@champion --csv today.csv --background train.csv
    modelworks explain fraud --csv today.csv --against last-week.csv --html why.html
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    writable(html, "html")
    with platform("explaining"):
        from modelworks.control.explaining.cache import Cache
        from modelworks.control.explaining.service import How, names
        from modelworks.control.explaining.service import explain as explained
        from modelworks.monitor.explain.importance import changes, importance
    if explainer not in names():
        raise InvalidError(
            f"no explainer '{explainer}'; there are {', '.join(names())}", field="explainer"
        )
    if samples < 0 or limit < 1 or seed < 0:
        raise InvalidError("--samples and --seed are from 0, --limit is from 1", field="limit")
    out = Output(as_json=as_json)
    how = How(explainer, samples, seed)
    with opened(model) as subject, out.progress() as say:
        rows = _rows(table, subject.signature)[:limit]
        back = _rows(background or table, subject.signature)[:_BACKGROUND]
        cache = Cache(settings().home.cache / "explanations")
        say(f"explaining {len(rows)} rows")
        found = explained(subject, rows, back, how, cache)
        changed = None
        if against is not None:
            say("explaining the earlier window")
            earlier = _rows(against, subject.signature)[:limit]
            before = explained(subject, earlier, back, how, cache)
            changed = changes(found.features, before.values, found.values)
    important = importance(found.features, found.values)
    tables = [
        explaining.of_rows(found, top),
        explaining.of_importance(important, top),
        *([] if changed is None else [explaining.of_changes(changed, top)]),
    ]
    notes = [explaining.how_made(found)]
    if found.errors is not None:  # what would have been exact, and why it was not
        notes += [f"not by {name}: {why}" for name, why in found.passed_over.items()]
    if html is not None:
        from modelworks.measure.page import page

        write_text(html, page(f"Why {model} answers so", notes, tables, [], []), "html")
    if as_json:
        out.document(explaining.document(found, important, changed))
        return
    for head, lines in tables:
        out.table(head, lines, "nothing")
        out.line()
    for note in notes:
        out.note(note)


def _rows(path: Path, signature: "Signature") -> list[dict[str, Any]]:
    texts = {spec.name for spec in signature.inputs if spec.datatype == "BYTES"}
    return read_csv(path, texts)


@contextmanager
def opened(model: str) -> "Iterator[Subject]":
    """A model of the registry in this process, closed afterwards."""
    with platform("a model in this process"):
        from modelworks.apps.embedded import load
        from modelworks.control.explaining.service import Subject
    found = settings()
    session = load(
        model,
        url=found.url or None,
        home=found.home.root,
        max_batch_size=BATCH,
        max_queue_size=4 * BATCH,
        timeout=600,
        poll=0,
    )
    try:
        served = session.served
        onnx = served.format == "onnx"
        artifact = Path(served.path) if onnx else None
        yield Subject(session.signature, session.infer, served.digest, artifact)
    finally:
        session.close()
