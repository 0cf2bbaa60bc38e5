"""`records receivers`: who gets records from the worker, all the time."""

import click

from modelworks.cli import human
from modelworks.cli.commands.forward import settings_of
from modelworks.cli.context import here, json_option
from modelworks.cli.output import Output

_WHY = "records are sent from where they lie"


@click.group()
def receivers() -> None:
    """Say who gets records from the worker of `modelworks up`, all the time.

    \b
    modelworks records receivers add --to https://events.example.com/hook
    modelworks records receivers list
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped


@receivers.command()
@click.option("--to", required=True, metavar="URL", help="https://, nats:// or kafka://.")
@click.option("--name", default="", help="Of the receiver (default: the kind of its URL).")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A setting of the sink.")
@json_option
def add(to: str, name: str, given: tuple[str, ...], as_json: bool) -> None:
    """Add a receiver, or change the one of that name; from now on records wait for it.

    The worker sends what waits every 15 seconds, at least once each; up to 1 GiB waits. Settings of
    each sink: docs/records.md. Secrets stay in files of their own.

    Example: modelworks records receivers add --to nats://127.0.0.1:4222/records.{model} --name bus
    """
    out = Output(as_json=as_json)
    with here(_WHY) as factory:
        made = factory.receivers.put(to, name, settings_of(given))
    if as_json:
        return out.document(made)
    return out.line(f"records are sent to {made.name} ({made.url}) while a worker runs")


@receivers.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the receivers, what waits for each, and what was sent.

    Example: modelworks records receivers list
    """
    out = Output(as_json=as_json)
    with here(_WHY) as factory:
        found = factory.receivers.states()
    if as_json:
        return out.document(found)
    rows = [
        [
            one.receiver.name,
            one.receiver.url,
            human.count(one.waiting, "segment"),
            str(one.bytes),
            str(one.sent),
            str(one.dropped),
        ]
        for one in found
    ]
    empty = "none; add one with: modelworks records receivers add --to URL"
    return out.table(["receiver", "url", "waiting", "bytes", "sent", "dropped"], rows, empty)


@receivers.command()
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Remove a receiver; what still waits for it is dropped.

    Example: modelworks records receivers remove bus
    """
    out = Output(as_json=as_json)
    with here(_WHY) as factory:
        found = factory.receivers.remove(name)
    if as_json:
        return out.document(found)
    return out.line(f"{name} is removed; {human.count(found.waiting, 'segment')} dropped")
