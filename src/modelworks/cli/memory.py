"""Options about many models and their memory, for commands that serve."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

import click

from modelworks.apps.server_models import memory_bytes
from modelworks.core.instances import parsed
from modelworks.core.reference import model_name
from modelworks.core.served import Isolation

F = TypeVar("F", bound=Callable[..., Any])


def memory_options(command: F) -> F:
    """Add `--memory-limit` and the others; the command gets the server's arguments as `memory`."""

    @wraps(command)
    def gathered(*arguments: Any, **options: Any) -> Any:
        told = _arguments(
            options.pop("memory_limit"),
            options.pop("pin"),
            options.pop("isolation"),
            options.pop("instances"),
            lazy=options.pop("lazy"),
        )
        return command(*arguments, memory=told, **options)

    found: Any = gathered
    for option in reversed(_OPTIONS):
        found = option(found)
    return cast("F", found)


_OPTIONS = (
    click.option(
        "--memory-limit",
        default="",
        metavar="SIZE",
        help="Of the whole server, 4GB; none = no limit (default: the system's, less a reserve).",
    ),
    click.option("--pin", multiple=True, metavar="NAME", help="A model that is never evicted."),
    click.option("--lazy", is_flag=True, help="Load models when they are first asked for."),
    click.option(
        "--isolation",
        type=click.Choice([kind.value for kind in Isolation]),
        help="Where engines run: in the server (thread), or each in a process of its own.",
    ),
    click.option(
        "--instances",
        default="",
        metavar="DEVICE*N",
        help="Copies of each model, by device: cpu*2, or cuda:0*2,cpu.",
    ),
)


def _arguments(
    limit: str, pins: Sequence[str], isolation: str | None, instances: str, *, lazy: bool
) -> tuple[str, ...]:
    told: list[str] = []
    if limit:
        if limit != "none":
            memory_bytes(limit)
        told += ("--memory-limit", limit)
    if pins:
        told += ("--pin", ",".join(model_name(name) for name in pins))
    if isolation:
        told += ("--isolation", isolation)
    if parsed(instances):
        told += ("--instances", instances)
    return (*told, *(("--lazy",) if lazy else ()))
