"""Options of batching, for commands that serve."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from modelworks.apps.server_batching import HELP, defaults
from modelworks.core.served import Batching

F = TypeVar("F", bound=Callable[..., Any])


def batching_options(command: F) -> F:
    """Add `--max-batch-size` and the others; the command gets them as `batching`, checked."""

    @wraps(command)
    def gathered(*arguments: Any, **options: Any) -> Any:
        batching = Batching(**{name: options.pop(name) for name, _ in defaults()})
        batching.check()
        return command(*arguments, batching=batching, **options)

    found: Any = gathered
    for name, value in reversed(list(defaults())):
        option = "--" + name.replace("_", "-")
        found = click.option(
            option, default=value, show_default=True, type=type(value), help=f"{HELP[name]}."
        )(found)
    return cast("F", found)
