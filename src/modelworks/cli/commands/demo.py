"""`demo`: see the whole line at work, in a folder of its own."""

import click

from modelworks.cli.context import json_option
from modelworks.cli.output import Output


@click.command()
@click.option("--keep", is_flag=True, help="Leave console and server running until Ctrl-C.")
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Of the server (default: a free one)."
)
@json_option
def demo(keep: bool, port: int, as_json: bool) -> None:
    """Train small models and take them through the whole line, in about two minutes.

    Shows every command before it runs it. Needs scikit-learn; uses PyTorch where it is there.
    Your own registry is never touched.

    Example: modelworks demo --keep
    """
    from modelworks.cli.demo.script import play

    out = Output(as_json=as_json)
    result = play(out, keep=keep, port=port)
    if as_json and not keep:
        out.document(result)
