"""Finds plug-ins by entry point; importing one is the moment its libraries are needed."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from modelworks.core.errors import MissingExtraError, NotFoundError

GROUPS = (
    "importers",
    "engines",
    "loaders",
    "passes",
    "viewers",
    "steps",
    "targets",
    "explainers",
    "sinks",
    "notifiers",
    "dashboards",
    "exporters",
    "routes",
    "tokens",
    "finders",
    "events",
)


@cache
def available(group: str) -> dict[str, EntryPoint]:
    """The names in a group; nothing is imported."""
    return {point.name: point for point in entry_points(group=f"modelworks.{group}")}


def load(group: str, name: str) -> Any:
    """The plug-in's class.

    Raises:
        NotFoundError: no such name; the message lists what is installed.
        MissingExtraError: it needs a library that is not there.
    """
    try:
        point = available(group)[name]
    except KeyError:
        known = ", ".join(sorted(available(group))) or "none"
        raise NotFoundError(f"no plug-in '{name}' among the {group} (installed: {known})") from None
    try:
        return point.load()
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{group[:-1]} '{name}'", name, str(error.name)) from error
