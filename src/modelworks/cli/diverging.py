"""`optimize diverge`: where do two forms of a version part?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelworks.cli.context import here, json_option, platform
from modelworks.cli.exits import Exit
from modelworks.cli.output import Output

if TYPE_CHECKING:
    from modelworks.evaluation.diverging.found import Origin, Parting

_FILE = click.Path(path_type=Path)
_WHY = "forms are opened where the registry is"
_MOST = 4


@click.command()
@click.argument("ref", metavar="REF[#VARIANT]")
@click.option("--rows", type=_FILE, help="To try both on; else they are made up.")
@click.option("--recipe", type=_FILE, help="Of the second form, in a variant's place.")
@click.option(
    "--tolerance", type=float, default=0.0, help="A share of the values' size; else by the bits."
)
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@json_option
def diverge(
    ref: str,
    rows: Path | None,
    recipe: Path | None,
    tolerance: float,
    threads: int,
    seed: int,
    as_json: bool,
) -> Exit | None:
    """Find the first operator at which another form parts from the version as it was imported.

    Without a variant or a recipe: what the engine's own optimizations change. The exit code is 9
    where they part.

    \b
    modelworks optimize diverge fraud:1.2.0#int8-static --rows test.csv
    modelworks optimize diverge fraud:1.2.0 --recipe refused.json --rows test.csv
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    out = Output(as_json=as_json)
    with here(_WHY) as factory:
        with platform("optimize"):
            from modelworks.cli.rows import read_text
            from modelworks.control.optimizing.diverging import Wanted
            from modelworks.core.optimizing.recipes import read_recipe

            read = None if recipe is None else read_recipe(read_text(recipe, "recipe"))
            verbs = factory.optimizing
        wanted = Wanted(rows, read, tolerance, threads, seed)
        with out.progress() as say:
            found = verbs.diverge(ref, wanted, say)
    if as_json:
        out.document(found)
    else:
        for line in told(ref, found):
            out.line(line)
    return None if found.agree else Exit.GATE


def told(ref: str, found: "Parting") -> list[str]:
    """What was found, for people."""
    lines = [f"{ref}: {found.summary}"]
    if found.first is not None:
        lines += _origin(found.first)
    lines += [f"- another difference begins at {one.title}: {one.why}" for one in found.others]
    if found.adds and not found.agree:
        most = ", ".join(f"{one.name} {one.apart:.2g}" for one in found.adds[:_MOST])
        lines.append(f"- most is added by {most}")
    if not found.agree:
        ends = ", ".join(f"'{one.name}' {one.apart:.2g}" for one in found.outputs[:_MOST])
        lines.append(f"- at the end: {ends} apart, of {found.rows} rows")
    if found.compared:
        lines.append(
            f"- {found.compared} values of {found.looked} rows were compared; from "
            f"{found.tolerance:.2g} of its own size on a value differs"
        )
    return [*lines, *(f"- {note}" for note in found.notes)]


def _origin(first: "Origin") -> list[str]:
    low, high = first.first_range
    other_low, other_high = first.second_range
    before, after = first.worst
    ranges = f"{low:.4g} to {high:.4g}, and {other_low:.4g} to {other_high:.4g} in the other form"
    lines = [
        f"- value '{first.value}': {ranges}; farthest: {before:.6g} became {after:.6g}",
        f"- in the other form it comes of {first.other}",
    ]
    lines += [
        f"- it reads '{one.name}'{' (stored)' if one.stage == 'stored' else ''}: {one.apart:.2g} "
        "apart"
        for one in first.inputs[:_MOST]
    ]
    if first.rows:
        lines.append(f"- rows: {', '.join(map(str, first.rows))}")
    return lines
