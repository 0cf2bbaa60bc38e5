"""`records forward`: records to other systems, as loggers close their segments."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import click

from modelworks.cli.context import json_option, platform, settings
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError, UnavailableError

if TYPE_CHECKING:
    from modelworks.control.forwarding.forward import Forwarder
    from modelworks.control.forwarding.spools import Spool

_LOOK_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0


@click.command()
@click.option("--to", required=True, metavar="URL", help="https://, nats:// or kafka://.")
@click.option("--name", default="", help="Of the receiver (default: the kind of its URL).")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A setting of the sink.")
@click.option("--once", is_flag=True, help="Send what waits, and end.")
@json_option
def forward(to: str, name: str, given: tuple[str, ...], once: bool, as_json: bool) -> None:
    """Send records on, at least once each, until Ctrl-C; what a receiver took is remembered.

    From the first start on, records that loggers close wait for this receiver (up to 1 GiB), also
    while this command does not run. https:// gets CloudEvents, nats:// a JetStream subject,
    kafka:// a topic. Settings of each sink: docs/records.md.

    \b
    modelworks records forward --to https://events.example.com/hook --set token_file=/run/token
    modelworks records forward --to nats://127.0.0.1:4222/records.{model} --once
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    with platform("forwarding records"):
        from modelworks.control.forwarding.forward import Forwarder, receiver_of
        from modelworks.control.forwarding.spools import Spools
    from modelworks.core.lock import locked
    from modelworks.plugins.load import load

    kind, known = receiver_of(to)
    chosen = {**known, **settings_of(given)}
    root = settings().home.root / "records"
    spool = Spools(root / "forward").of(name or kind)
    out = Output(as_json=as_json)
    with locked(spool.lock, wait_s=0.0):
        sink = load("sinks", kind)().open(chosen)
        try:
            sender = Forwarder(spool, root / "segments", sink)
            _follow(sender, spool, out, once)
        finally:
            sink.close()


def _follow(sender: "Forwarder", spool: "Spool", out: Output, once: bool) -> None:
    pause = _LOOK_S
    while True:
        try:
            count = sender.run()
            pause = _LOOK_S
        except UnavailableError as error:
            if once:
                raise
            out.note(f"{error.message}; again in {pause:.0f} s")
            count = 0
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        if once:
            state = spool.state()
            if out.as_json:
                out.document({"sent": count, "sent_ever": state.records, "dropped": state.dropped})
            else:
                out.line(f"sent {count} records; {state.records} ever")
            return
        if count:
            out.note(f"sent {count} records")
        time.sleep(pause)


def settings_of(given: tuple[str, ...]) -> Mapping[str, str]:
    """`NAME=VALUE`s as settings of a sink.

    Raises:
        InvalidError: something else.
    """
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidError(f"--set {text}: NAME=VALUE is wanted", field="set")
        found[name] = value
    return found
