"""`records`: what was recorded of predictions: list, show, export, erase, compact."""

from pathlib import Path
from typing import Any

import click

from modelworks.cli import human
from modelworks.cli.commands.forward import forward
from modelworks.cli.commands.receivers import receivers
from modelworks.cli.context import interactive, json_option, recorded
from modelworks.cli.output import Output
from modelworks.cli.windows import moment
from modelworks.core.errors import InvalidError
from modelworks.core.ids import iso, now_ns
from modelworks.core.records import Scan

_FORMATS = ("parquet", "csv", "jsonl")


@click.group()
def records() -> None:
    """List, show, export, erase what was recorded of predictions.

    \b
    modelworks records list
    modelworks records show 01920f6e-7c3a-7b60-8000-2f1d0c9b8a77
    modelworks records export --model fraud --since 7d --format csv -o exports
    modelworks records erase ana@example.org
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped


@records.command("list")
@json_option
def list_records(as_json: bool) -> None:
    """List the models of which there are records, and how many.

    Example: modelworks records list
    """
    out = Output(as_json=as_json)
    with recorded() as verbs:
        found = verbs.models()
    if as_json:
        return out.document(found)
    rows = [
        [
            one.model,
            str(one.records),
            iso(one.since_ns)[:13],
            iso(one.until_ns)[:13],
            str(one.feedback),
        ]
        for one in found
    ]
    empty = "no records in the store yet: modelworks records compact moves there what was written"
    return out.table(["model", "records", "since", "until", "feedback"], rows, empty)


@records.command()
@click.argument("name", metavar="ID")
@click.option("--model", default="", help="Look among this model's alone, which is quicker.")
@json_option
def show(name: str, model: str, as_json: bool) -> None:
    """Show the record of request ID, an item a block, and what is known of it by now.

    Example: modelworks records show 01920f6e-7c3a-7b60-8000-2f1d0c9b8a77
    """
    out = Output(as_json=as_json)
    with recorded() as verbs:
        lines = verbs.show(name, model)
    if as_json:
        return out.document(lines)
    for line in lines:
        out.line(f"{line['model']}:{line['version']} {iso(line['at_ns'])} item {line['item']}")
        for key, value in line.items():
            if value not in (None, "", []) and key not in {"model", "version", "at_ns", "item"}:
                out.line(f"  {key:<16}{_short(value)}")
    return None


@records.command()
@click.option("--model", default="", help="Of this model (all).")
@click.option("--version", default="", help="Of this version (all).")
@click.option("--since", default="", metavar="TIME", help="From: 7d, 2h, 2026-10-03T14:00.")
@click.option("--until", default="", metavar="TIME", help="To; the same.")
@click.option("--column", "columns", multiple=True, help="Only this one, e.g. in.age; repeatable.")
@click.option("--format", "kind", type=click.Choice(_FORMATS), default="parquet", show_default=True)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the file.",
)
@json_option
def export(  # noqa: PLR0913, PLR0917 - one an option
    model: str,
    version: str,
    since: str,
    until: str,
    columns: tuple[str, ...],
    kind: str,
    folder: Path,
    as_json: bool,
) -> None:
    """Write records to a file, a line an item.

    The file is noted: an erasure takes its person out of it as well, as long as it stays there.

    Example: modelworks records export --model fraud --since 7d --format csv -o exports
    """
    out, now = Output(as_json=as_json), now_ns()
    first = moment(since, now, "--since") if since else 0
    last = moment(until, now, "--until") if until else (1 << 63) - 1
    with recorded() as verbs:
        made = verbs.export(Scan("default", model, version, first, last), kind, folder, columns)
    if as_json:
        return out.document(made)
    return out.line(f"{made.path}: {human.count(made.lines, 'line')}")


@records.command()
@click.argument("sql")
@click.option("--model", default="", help="Of this model (all, where their columns go together).")
@click.option("--since", default="", metavar="TIME", help="From: 7d, 2h, 2026-10-03T14:00.")
@click.option("--most", type=click.IntRange(1, 100_000), default=1000, help="Rows (1000).")
@json_option
def query(sql: str, model: str, since: str, most: int, as_json: bool) -> None:
    """Run one SELECT over the table `records`, with DuckDB; it can read nothing else.

    Example: modelworks records query 'SELECT status, count(*) AS n FROM records GROUP BY status'
    """
    out, now = Output(as_json=as_json), now_ns()
    first = moment(since, now, "--since") if since else 0
    with recorded() as verbs:
        rows = verbs.query(Scan("default", model, since_ns=first), sql, most)
    if as_json:
        return out.document(rows)
    names = list(rows[0]) if rows else []
    return out.table(names, [[_short(row[name]) for name in names] for row in rows], "no rows")


@records.command()
@click.argument("subject")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def erase(subject: str, yes: bool, as_json: bool) -> None:
    """Erase every record of SUBJECT: stores, segments, feedback, exports, vault.

    SUBJECT is the value of the field that a policy names as `subject`, as the caller sent it;
    hashed and tokenised ones are found by it. A receipt without the name is kept.

    Example: modelworks records erase ana@example.org --yes
    """
    out = Output(as_json=as_json)
    if not yes:
        if as_json or not interactive():
            raise InvalidError("an erasure cannot be undone: say --yes", field="--yes")
        click.confirm(f"Erase every record of {subject} for good?", abort=True, err=True)
    with recorded() as verbs, out.progress() as say:
        receipt = verbs.erase(subject, say)
    if as_json:
        return out.document(receipt)
    out.line(f"receipt {receipt.id}")
    counts = (
        ("records", receipt.records),
        ("feedback", receipt.feedback),
        ("lines of exports", receipt.exported),
        ("vault", receipt.vault),
        *((f"cache {name}", count) for name, count in receipt.caches.items()),
    )
    for name, count in counts:
        out.line(f"  {name:<20}{count}")
    return None


@records.command()
@json_option
def compact(as_json: bool) -> None:
    """Move what loggers and feedback left into the store; the worker does so by itself.

    Example: modelworks records compact
    """
    out = Output(as_json=as_json)
    with recorded() as verbs:
        done = verbs.compact()
    if as_json:
        return out.document(done)
    moved = f"{human.count(done.records, 'record')} of {human.count(done.segments, 'segment')}"
    out.line(f"{moved}, {done.feedback} of feedback")
    if done.damaged:
        out.note(f"{done.damaged} bytes of segments were damaged, and are lost")
    return None


records.add_command(forward)
records.add_command(receivers)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
