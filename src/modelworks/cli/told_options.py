"""Options that a process of `modelworks.apps` has, as options of a command."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import click

from modelworks.apps.options import option_of

F = TypeVar("F", bound=Callable[..., Any])


def with_options(command: F, options: Iterable[tuple[str, type, str, str]]) -> F:
    """Add them to a command; it gets what was given by field, None or False for the rest.

    Args:
        command: a function, or a command of click.
        options: field, kind, metavariable and meaning of each, in the order that help has.
    """
    found: Any = command
    for name, kind, metavar, meaning in reversed(list(options)):
        if kind is bool:
            found = click.option(option_of(name), name, is_flag=True, help=f"{meaning}.")(found)
        else:
            found = click.option(
                option_of(name),
                name,
                default=None,
                type=kind,
                metavar=metavar,
                help=f"{meaning}.",
            )(found)
    return cast("F", found)
