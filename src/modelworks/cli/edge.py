"""Options of the server's edge (TLS, Unix socket, access log, limits), for commands that serve."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from modelworks.apps.server_edge import arguments_of_edge, edge_options
from modelworks.cli.told_options import with_options

F = TypeVar("F", bound=Callable[..., Any])


def edge_flags(command: F) -> F:
    """Add `--tls-cert` and the others; the command gets the server's arguments as `edge`."""

    @wraps(command)
    def gathered(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name, *_ in edge_options()}
        return command(*arguments, edge=tuple(arguments_of_edge(given)), **options)

    return cast("F", with_options(gathered, edge_options()))
