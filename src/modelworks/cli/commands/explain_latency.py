"""`explain-latency`: the waterfall of a served model's requests, why batches ended, what helps."""

import time
from typing import Any

import click

from modelworks.cli.context import json_option, settings
from modelworks.cli.latency_text import lines
from modelworks.cli.output import Output
from modelworks.client.data import DataPlane
from modelworks.core.reference import parse_ref


@click.command("explain-latency")
@click.argument("model")
@click.option("--url", default="", help="Of the model server (default MODELWORKS_SERVER).")
@click.option(
    "--seconds",
    default=0.0,
    type=click.FloatRange(0, 3600),
    help="Watch so long, and explain that time alone (default: since the server began).",
)
@json_option
def explain_latency(model: str, url: str, seconds: float, as_json: bool) -> None:
    """Say where the time of a model's requests goes, why batches were cut, what would help.

    MODEL is a name, NAME@ALIAS or NAME:VERSION. The counts are of all workers of the server.

    \b
    modelworks explain-latency fraud
    modelworks explain-latency fraud --seconds 10
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    out = Output(as_json=as_json)
    parse_ref(model)
    known = settings()
    plane = DataPlane(url or known.server, known.tls, known.key)
    try:
        document = plane.latency(model)
        if seconds:
            document = _window(plane, document, seconds, out)
    finally:
        plane.close()
    if as_json:
        return out.document(document)
    for line in lines(document):
        out.line(line)
    return None


def _window(
    plane: DataPlane, before: dict[str, Any], seconds: float, out: Output
) -> dict[str, Any]:
    """What happens within the next `seconds`."""
    from modelworks.serving.waterfall import since

    with out.progress() as say:
        say(f"watching {before['model']} {before['version']} for {seconds:g} s")
        time.sleep(seconds)
    return since(plane.latency(f"{before['model']}:{before['version']}"), before)
