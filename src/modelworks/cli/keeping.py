"""Options about what a server keeps from one request to the next, for commands that serve."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from modelworks.apps.server_kept import cache_of, sequences_of

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class _Said:
    cache: str
    sequences: str


def keeping_options(command: F) -> F:
    """Add `--cache` and `--sequences`; the command gets the server's arguments as `kept`."""

    @wraps(command)
    def gathered(*arguments: Any, **options: Any) -> Any:
        told = _arguments(options.pop("cache"), options.pop("sequences"))
        return command(*arguments, kept=told, **options)

    found: Any = gathered
    for option in reversed(_OPTIONS):
        found = option(found)
    return cast("F", found)


_OPTIONS = (
    click.option(
        "--cache",
        default="",
        metavar="on|FILE",
        help="Keep answers and give them again: on, or a file that says how (JSON).",
    ),
    click.option(
        "--sequences",
        default="",
        metavar="FILE",
        help="Which states the model remembers from one request of a sequence to the next (JSON).",
    ),
)


def _arguments(cache: str, sequences: str) -> tuple[str, ...]:
    """Checked here, for a server that does not start says it less well.

    Raises:
        InvalidError: what cannot be.
    """
    said = _Said(cache, sequences)
    cache_of(said)
    sequences_of(said)
    told: list[str] = []
    for name, text in (("--cache", cache), ("--sequences", sequences)):
        if text:
            plain = text == "on" or text.lstrip().startswith("{")
            told += (name, text if plain else str(Path(text).absolute()))
    return tuple(told)
