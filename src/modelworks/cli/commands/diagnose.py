"""`diagnose`: what changed when a model went wrong, the likeliest first."""

import time
from typing import TYPE_CHECKING

import click

from modelworks.cli.context import json_option, watching
from modelworks.cli.output import Output
from modelworks.core.ids import iso

if TYPE_CHECKING:
    from modelworks.control.watching.diagnosis.asking import Diagnosis


@click.command()
@click.argument("name")
@click.option("--since", default="1h", show_default=True, metavar="TIME", help="When it began.")
@json_option
def diagnose(name: str, since: str, as_json: bool) -> None:
    """Say what may have changed about deployment or model NAME, in order of likelihood.

    The time since then is compared with the four times as long time before, in everything that the
    watch has seen; what was deployed, and which aliases moved, is looked at too.

    Examples: modelworks diagnose fraud; modelworks diagnose fraud --since 6h --json
    """
    from modelworks.control.watching.spans import seconds_of

    out = Output(as_json=as_json)
    length = seconds_of(since)
    with watching() as verbs:
        now = time.time()
        found = verbs.diagnose(name, now - length, now)
    if as_json:
        return out.document(found)
    return _show(out, found)


def _show(out: Output, found: "Diagnosis") -> None:
    for number, one in enumerate(found.findings, 1):
        out.line(f"{number}. {one.cause} ({one.score:.0%}): {one.summary}")
        for line in one.evidence:
            out.line(f"     {line}")
        out.line(f"     see {one.help}")
    if not found.findings:
        seen = f"{found.looked_at} series" if found.looked_at else "no series yet"
        out.line(f"nothing stands out since {iso(int(found.since * 1e9))} ({seen} compared)")
    for line in found.alerts:
        out.line(f"alert: {line}")
    for act in found.acts[:10]:
        out.line(f"{iso(int(act.at * 1e9))}  {act.what}")
