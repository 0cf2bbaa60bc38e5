"""`events`: messages of a broker ask a model server, and its answers go back."""

import signal
from types import FrameType

import click

from modelworks.cli.commands.forward import settings_of
from modelworks.cli.context import json_option, platform, settings
from modelworks.cli.output import Output


@click.command()
@click.argument("model")
@click.option("--from", "source", required=True, metavar="URL", help="nats://, mqtt://, kafka://.")
@click.option("--answers", default="", metavar="SUBJECT", help="Where answers go.")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="Of the broker.")
@click.option("--url", default="", help="Of the model server (default MODELWORKS_SERVER).")
@click.option(
    "--as",
    "form",
    default="infer",
    show_default=True,
    type=click.Choice(["infer", "predict"]),
    help="Messages are inference requests, or plain rows.",
)
@click.option("--at-once", default=8, show_default=True, type=click.IntRange(1, 64))
@click.option("--most", default=0, type=click.IntRange(0), help="End after so many (0 = never).")
@json_option
def events(  # noqa: PLR0913, PLR0917 - click's parameters
    model: str,
    source: str,
    answers: str,
    given: tuple[str, ...],
    url: str,
    form: str,
    at_once: int,
    most: int,
    as_json: bool,
) -> None:
    """Answer a broker's messages with a model's, until Ctrl-C.

    Each message is acknowledged after its answer is with the broker: an answer may come twice, with
    the same correlation-id, and none is lost. What the model refuses goes to the subject of the
    dead, with the reason. While the server is away messages wait at the broker.

    \b
    modelworks events fraud --from nats://127.0.0.1:4222/fraud.ask --answers fraud.answers
    modelworks events fraud --from mqtt://127.0.0.1:1883/fraud/ask --answers fraud/answers
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    with platform("events"):
        from modelworks.control.eventing.asking import asker, broker_of
        from modelworks.control.eventing.pump import Pump
    from modelworks.client.wire import Wire
    from modelworks.plugins.load import load

    out = Output(as_json=as_json)
    kind, known = broker_of(source)
    chosen = {**known, **({"answers": answers} if answers else {}), **settings_of(given)}
    found = settings()
    cure = "start one with: modelworks serve NAME"
    wire = Wire(url or found.server, "model server", cure, found.tls, found.key)
    ask = asker(wire, model, form)
    opened = load("events", kind)().open(chosen, at_once)
    pump = Pump(opened, ask, at_once, out.note)

    def stop(_number: int, _frame: FrameType | None) -> None:
        pump.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        out.note(f"answering {chosen['subject']} of {kind} by {model}")
        pump.run(most)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        opened.close()
        wire.close()
    told = pump.tally
    if as_json:
        out.document({"answered": told.answered, "refused": told.refused, "held": told.held})
    else:
        out.line(f"answered {told.answered}, refused {told.refused}")
