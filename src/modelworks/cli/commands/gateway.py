"""`gateway`: one address for many servers, in the foreground."""

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from modelworks.apps.children import Announced, Child, free
from modelworks.apps.gateway_settings import GatewaySettings, options
from modelworks.apps.options import arguments_of
from modelworks.cli.context import json_option, settings
from modelworks.cli.foreground import foreground
from modelworks.cli.output import Output
from modelworks.cli.told_options import with_options
from modelworks.client.gateways import register

_OURS = frozenset({"announce", "with_parent"})


def _options(command: Callable[..., int]) -> Callable[..., int]:
    return with_options(command, (option for option in options() if option[0] not in _OURS))


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
    chosen = {
        name: value for name, value in given.items() if value is not None and value is not False
    }
    told = GatewaySettings(**{"cache": _cache(chosen), **chosen}).checked()
    if told.remote:
        chosen.setdefault("cache", told.cache)
    if not told.share_port:
        free(told.host, told.port)
    child = Child("gateway", "modelworks.apps.gateway", [*arguments_of(chosen), "--with-parent"])
    out = Output(as_json=as_json)

    def ready(found: Announced) -> Callable[[], object]:
        entry = register(settings().home.create(), found.url, found.admin, told.snapshot)
        if as_json:
            out.document({"url": found.url, "port": found.port, "admin": found.admin})
        else:
            out.line(f"gateway at {found.url}")
            out.note("  end    Ctrl-C")
        return partial(entry.unlink, missing_ok=True)

    return foreground(out, child, "the gateway", ready)


def _cache(chosen: dict[str, Any]) -> str:
    """Where a control plane's routes are kept when nobody says where."""
    if not str(chosen.get("snapshot", "")).startswith("http"):
        return ""
    home = settings().home
    home.create()
    return str(home.run / "gateway-routes.json")
