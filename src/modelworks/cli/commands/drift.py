"""`drift` and `reference`: data against what the model was trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelworks.cli.context import json_option, watching
from modelworks.cli.exits import Exit
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError

if TYPE_CHECKING:
    from modelworks.monitor.drift.losses import Loss
    from modelworks.monitor.drift.reference import Reference

_FILE = click.Path(path_type=Path)
_KINDS = ("number", "category", "text", "vector", "image")


@click.command()
@click.option(
    "--reference",
    "against",
    type=_FILE,
    help="Of `reference build`, or a .csv, .npz or .parquet file of data.",
)
@click.option("--current", type=_FILE, help="A .csv, .npz or .parquet file.")
@click.option("--records", "of", default="", metavar="REF", help="What this version was asked.")
@click.option("--since", default="", metavar="TIME", help="Of --records: from 2h, 7d, 2026-10-03.")
@click.option("--until", default="", metavar="TIME", help="Of --records: to; the same.")
@click.option("--alpha", default=0.01, show_default=True, help="Share of false findings.")
@click.option("--smallest", default=0.05, show_default=True, help="Jensen-Shannon distance.")
@click.option("--alone", is_flag=True, help="Feature by feature only, not all together.")
@click.option("--html", type=_FILE, help="Write a page.")
@click.option("--check", is_flag=True, help="End with 9 where something drifted.")
@json_option
def drift(against: Path | None, current: Path | None, html: Path | None, **given: Any) -> int:
    """Compare data with a reference: what moved, what it costs, what is wrong with the data.

    Features are ranked by what their shift costs where the reference knows a loss, else by
    distance. --records compares what a version was asked, by default with its own reference.

    \b
    modelworks drift --reference ref.npz --current today.parquet --html drift.html
    modelworks drift --reference train.csv --current today.csv --check
    modelworks drift --records fraud@champion --since 2h
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    from modelworks.cli.bench_options import write_text
    from modelworks.cli.reference_data import columns_of, own_reference
    from modelworks.monitor.drift import page
    from modelworks.monitor.drift.report import Limits, report

    out = Output(as_json=given["as_json"])
    for name in ("alpha", "smallest"):
        if not 0 <= given[name] <= 1:
            raise InvalidError(f"--{name}: {given[name]} is not from 0 to 1", field=name)
    if (current is None) == (not given["of"]):
        raise InvalidError("give --current FILE, or --records NAME:VERSION", field="current")
    if against is None and not given["of"]:
        raise InvalidError("--reference: a file is wanted beside --current", field="reference")
    limits = Limits(given["alpha"], given["smallest"])
    with out.progress() as progress:
        progress("reading")
        reference = own_reference(given["of"]) if against is None else _opened(against)
        columns = columns_of(current, given["of"], given["since"], given["until"], "current")
        progress("comparing")
        found = report(reference, columns, limits, together=not given["alone"])
    if html is not None:
        names = current.name if current else given["of"], against.name if against else "its own"
        write_text(html, page.html(found, " against ".join(names)), "html")
    end = Exit.GATE if given["check"] and (found.moved or found.findings) else Exit.OK
    if out.as_json:
        out.document(found)
        return end
    out.line(page.sentence(found))
    out.table(page.HEAD, page.feature_rows(found), "no feature of the reference is in the data")
    if found.together:
        out.line()
        out.table(page.TOGETHER, page.together_rows(found), "")
    if found.findings:
        out.line()
        out.table(page.FINDINGS, page.finding_rows(found), "")
    if not found.loss:
        out.note("cost unknown: build the reference with --labels and --prediction, or --score")
    return end


@click.group()
def reference() -> None:
    """Make references that drift is measured from, and give them to versions.

    \b
    modelworks reference build train.csv -o ref.npz --labels y --prediction out.label
    modelworks reference set fraud:1.4.0 ref.npz
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped


@reference.command()
@click.argument("data", type=_FILE, required=False)
@click.option("-o", "--output", type=_FILE, required=True, help="The file to write.")
@click.option("--records", "of", default="", metavar="REF", help="From records of this version.")
@click.option("--since", default="", metavar="TIME", help="Of --records: from 7d, 2h, 2026-10-03.")
@click.option("--until", default="", metavar="TIME", help="Of --records: to; the same.")
@click.option("--labels", default="", metavar="COL", help="What was true; not a feature.")
@click.option("--prediction", default="", metavar="COL", help="What the model said.")
@click.option("--score", default="", metavar="COL", help="Probabilities: its confidence.")
@click.option("--loss", default="", metavar="COL", help="A loss a row, computed elsewhere.")
@click.option("--leave-out", multiple=True, metavar="COL", help="Not looked at.")
@click.option("--kind", multiple=True, metavar="COL=KIND", help=f"{', '.join(_KINDS)}.")
@click.option("--rows", default=20_000, show_default=True, help="Values kept of each feature.")
@click.option("--seed", default=0, help="Of samples and random features.")
@json_option
def build(data: Path | None, output: Path, **given: Any) -> None:
    """Make a reference from a sample that the model was trained on, or from records of a good time.

    With --labels and --prediction, with --score alone, or with --loss, a shift's cost is estimated.
    Columns that begin with `out.` are predictions: name them as the model's outputs to have them
    watched.

    \b
    modelworks reference build train.csv -o ref.npz --labels y --prediction out.label
    modelworks reference build --records sentences@champion --since 7d -o ref.npz
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    from modelworks.cli.reference_data import columns_of
    from modelworks.monitor.drift import archive
    from modelworks.monitor.drift.build import Recipe
    from modelworks.monitor.drift.build import build as made
    from modelworks.monitor.drift.derive import Kind

    out = Output(as_json=given["as_json"])
    kinds = {}
    for text in given["kind"]:
        name, _, kind = text.rpartition("=")
        if not name or kind not in _KINDS:
            raise InvalidError(f"--kind: '{text}' is not COL=KIND of {', '.join(_KINDS)}")
        kinds[name] = Kind(kind)
    columns = columns_of(data, given["of"], given["since"], given["until"])
    recipe = Recipe(
        kinds=kinds,
        predictions=tuple(name for name in (given["prediction"], given["score"]) if name),
        left_out=tuple(n for n in (given["labels"], given["loss"], *given["leave_out"]) if n),
        kept=max(100, given["rows"]),
        seed=given["seed"],
    )
    loss = _loss(columns, given)
    found = made(columns, recipe, loss)
    body = archive.to_bytes(found)
    try:
        output.write_bytes(body)
    except OSError as error:
        raise InvalidError(f"{output} cannot be written: {error.strerror}", field="o") from error
    if given["as_json"]:
        return out.document(
            {
                "file": str(output),
                "rows": found.rows,
                "features": [one.name for one in found.features],
                "loss": found.loss,
                "mean_loss": found.mean_loss,
                "bytes": len(body),
            }
        )
    out.line(f"{output}: {len(found.features)} features of {found.rows} rows, {len(body)} bytes")
    if found.loss:
        return out.line(f"loss: {found.loss}, {found.mean_loss:.4g} on average")
    return out.note("no loss: what a shift costs will be unknown (--labels, --score or --loss)")


@reference.command("set")
@click.argument("ref")
@click.argument("file", type=_FILE)
@json_option
def set_(ref: str, file: Path, as_json: bool) -> None:
    """Give a version its reference; the worker compares its requests with it from then on.

    Example: modelworks reference set fraud:1.4.0 ref.npz
    """
    out = Output(as_json=as_json)
    with watching() as verbs:
        kept = verbs.references.put(ref, file)
    if as_json:
        return out.document(kept)
    return out.line(f"{kept.model}:{kept.version} has the reference {kept.digest[:19]}")


@reference.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the versions that have a reference.

    Example: modelworks reference list
    """
    out = Output(as_json=as_json)
    with watching() as verbs:
        found = verbs.references.every()
    if as_json:
        return out.document(found)
    rows = [[f"{one.model}:{one.version}", one.digest[:19], str(one.size)] for one in found]
    empty = "none yet; give one with: modelworks reference set NAME:VERSION FILE"
    return out.table(["version", "reference", "bytes"], rows, empty)


@reference.command()
@click.argument("ref")
@json_option
def remove(ref: str, as_json: bool) -> None:
    """Take a version's reference away; it is no longer compared with anything.

    Example: modelworks reference remove fraud:1.4.0
    """
    out = Output(as_json=as_json)
    with watching() as verbs:
        verbs.references.remove(ref)
    if as_json:
        return out.document({"removed": ref})
    return out.line(f"{ref} has no reference any more")


def _opened(path: Path) -> "Reference":
    from modelworks.cli.tables import read_table
    from modelworks.monitor.drift import archive
    from modelworks.monitor.drift.build import build as made

    if archive.is_reference(path):
        return archive.load(path)
    return made(read_table(path, "reference"))


def _loss(columns: Mapping[str, Any], given: dict[str, Any]) -> "Loss | None":
    from modelworks.monitor.drift import losses

    for option in ("labels", "prediction", "score", "loss"):
        if given[option] and given[option] not in columns:
            known = ", ".join(list(columns)[:20])
            raise InvalidError(
                f"--{option}: there is no column '{given[option]}'; there are {known}", field=option
            )
    if given["loss"]:
        return losses.of_column(given["loss"], columns[given["loss"]])
    if given["labels"] and given["prediction"]:
        return losses.of_labels(columns[given["labels"]], columns[given["prediction"]])
    if given["score"]:
        return losses.of_scores(columns[given["score"]])
    return None
