"""`variants`: the other forms of a version, and what they gain."""

from collections import Counter

import click

from modelworks.cli import human
from modelworks.cli.context import control, json_option
from modelworks.cli.output import Output
from modelworks.core import codec
from modelworks.core.optimizing.variants import Gate, Measurement, Variant


@click.command()
@click.argument("ref")
@json_option
def variants(ref: str, as_json: bool) -> None:
    """List the variants of a version; a bare name is the latest version.

    `faster` is how many times less CPU time a call of so many rows takes than in the form that was
    imported, measured beside it on the hardware that is named. `*` marks those on the front: no
    other variant of the same run is at least as good in everything and better in one thing.

    Examples: modelworks variants fraud; modelworks serve fraud#int8; modelworks delete fraud#int8
    """
    out = Output(as_json=as_json)
    with control() as transport:
        found = transport.variants(ref)
    if as_json:
        return out.document([{"ref": one.ref, **codec.encode(one)} for one in found])
    empty = f"no variants yet; look for some with: modelworks optimize {ref}"
    heads = ["name", "engine", "size", "of source", "faster (rows)", "gates", "hardware"]
    return out.table(heads, [_row(one) for one in found], empty)


def _row(one: Variant) -> list[str]:
    own, source = one.measurement, one.source
    share = f"{own.size_bytes / source.size_bytes:.0%}" if source.size_bytes else "-"
    return [
        one.name + (" *" if one.front else ""),
        one.recipe.run.engine,
        human.size(one.artifact.size),
        share,
        faster(own),
        gates(one.gates),
        own.hardware.kind,
    ]


def faster(measurement: Measurement) -> str:
    """`2.41x (1), 3.05x (16)`."""
    return ", ".join(f"{one.ratio:.2f}x ({one.rows})" for one in measurement.times) or "-"


def gates(found: tuple[Gate, ...]) -> str:
    """`4 passed, 1 skipped`."""
    counted = Counter(one.verdict.value for one in found)
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(counted.items())) or "-"
