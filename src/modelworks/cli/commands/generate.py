"""`generate`: a text to a running server, its continuation to the terminal as it comes."""

import sys
from typing import Any

import click

from modelworks.cli import human
from modelworks.cli.context import json_option, settings
from modelworks.cli.output import Output
from modelworks.client.data import DataPlane
from modelworks.client.tls import ClientTls
from modelworks.core.reference import parse_ref


@click.command()
@click.argument("model")
@click.argument("text")
@click.option("--url", default="", help="Of the model server (default MODELWORKS_SERVER).")
@click.option("--max-tokens", type=int, help="New tokens at most.")
@click.option("--temperature", type=float, help="0 = the likeliest token every time.")
@click.option("--top-p", type=float, help="Of the likeliest tokens, up to this probability.")
@click.option("--top-k", type=int, help="Of the so many likeliest tokens; 0 = all.")
@click.option("--seed", type=int, help="The same answer again.")
@click.option("--stop", multiple=True, help="A string that ends the answer; may be repeated.")
@click.option("--adapter", help="Of the model's adapters.")
@click.option("--ca", default="", help="Authorities of an https server (MODELWORKS_CA).")
@json_option
def generate(model: str, text: str, url: str, ca: str, as_json: bool, **given: Any) -> None:
    """Have a model that generates continue a text; the pieces are printed as they come.

    MODEL is a name, NAME@ALIAS or NAME:VERSION; TEXT is - for standard input. Ctrl-C stops the
    server's work too.

    \b
    modelworks generate story "Once upon a time" --max-tokens 100
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    out = Output(as_json=as_json)
    parse_ref(model)
    found = settings()
    tls = ClientTls(ca or found.tls.ca, found.tls.certificate, found.tls.key)
    parameters = {name: value for name, value in given.items() if value not in {None, ()}}
    if "stop" in parameters:
        parameters["stop"] = list(parameters["stop"])
    prompt = sys.stdin.read() if text == "-" else text
    plane = DataPlane(url or found.server, tls, found.key)
    try:
        if as_json:
            return out.document(plane.generate(model, prompt, **parameters))
        for event in plane.generate_stream(model, prompt, **parameters):
            lines = event["text_output"].split("\n")
            print("\n".join(map(human.printable, lines)), end="", flush=True)  # noqa: T201 - the product
        out.line()
    finally:
        plane.close()
    return None
