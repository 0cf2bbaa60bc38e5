"""`gateway`: one address for many servers, in the foreground."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import click

from modelworks.apps.children import Child, free
from modelworks.apps.gateway_settings import HELP, GatewaySettings, option_of
from modelworks.cli.context import json_option, settings
from modelworks.cli.exits import Exit
from modelworks.cli.output import Output
from modelworks.core.errors import CrashedError, ModelworksError

_DEFAULTS = GatewaySettings()
_OURS = frozenset({"announce", "with_parent"})


def _options(command: Callable[..., int]) -> Callable[..., int]:
    for name, (metavar, meaning) in reversed(HELP.items()):
        if name in _OURS:
            continue
        kind = type(getattr(_DEFAULTS, name))
        if kind is bool:
            decorate = click.option(option_of(name), name, is_flag=True, help=meaning)
        else:
            decorate = click.option(option_of(name), name, type=kind, metavar=metavar, help=meaning)
        command = decorate(command)
    return command


@click.command()
@_options
@json_option
def gateway(*, as_json: bool, **given: Any) -> int:
    """Serve one address for many model servers until Ctrl-C or SIGTERM.

    Routes say who answers what; with a control plane's address as the snapshot the last routes are
    kept in a file, and gone by while the control plane is away.

    \b
    modelworks gateway --snapshot routes.json --port 8080
    modelworks gateway --snapshot http://127.0.0.1:7000/api/v1/routes/snapshot --workers 4
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    chosen = {name: value for name, value in given.items() if value not in {None, False}}
    told = GatewaySettings(**{"cache": _cache(chosen), **chosen}).checked()
    if told.remote:
        chosen.setdefault("cache", told.cache)
    free(told.host, told.port)
    arguments: list[str] = []
    for name, value in chosen.items():
        option = option_of(name)
        arguments += [option] if value is True else [option, str(value)]
    return _foreground(Output(as_json=as_json), [*arguments, "--with-parent"])


def _foreground(out: Output, arguments: list[str]) -> int:
    child = Child("gateway", "modelworks.apps.gateway", arguments)

    def drain(number: int, frame: FrameType | None) -> None:
        del number, frame
        child.drain()

    old = {number: signal.signal(number, drain) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        found = child.wait_ready()
        if out.as_json:
            out.document({"url": found.url, "port": found.port})
        else:
            out.line(f"gateway at {found.url}")
            out.note("  end    Ctrl-C")
        code = child.process.wait()
    except ModelworksError:
        if child.drained:
            return Exit.OK  # the signal came before it was ready
        raise
    finally:
        child.stop()
        for number, handler in old.items():
            signal.signal(number, handler)
    if code and not child.drained:
        raise CrashedError(f"the gateway ended by itself (exit code {code})")
    out.note("drained; bye")
    return Exit.OK


def _cache(chosen: dict[str, Any]) -> str:
    """Where a control plane's routes are kept when nobody says where."""
    if not str(chosen.get("snapshot", "")).startswith("http"):
        return ""
    home = settings().home
    home.create()
    return str(home.run / "gateway-routes.json")
