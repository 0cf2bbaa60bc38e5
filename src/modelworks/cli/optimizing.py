"""Values on the command line of `optimize`: amounts, lengths of time, lists."""

import re
from collections.abc import Callable
from typing import Any, Final

import click

_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|)")
_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(pp|%|)")


class _Seconds(click.ParamType[float]):
    """`90s`, `10m`, `1.5h` or a number of seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds."""
        if isinstance(value, int | float):
            return float(value)
        found = _TIME.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"'{value}' is no length of time: 90s, 10m or 1.5h is wanted", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class _Amount(click.ParamType[float]):
    """`0.5pp` (half a point) and `0.5%` are 0.005; a plain number is itself."""

    name = "amount"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The share."""
        if isinstance(value, int | float):
            return float(value)
        found = _AMOUNT.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"'{value}' is no amount: 0.5pp, 1% or 0.005 is wanted", param, ctx)
        return float(found[1]) / (100.0 if found[2] else 1.0)


class Words(click.ParamType[tuple[Any, ...]]):
    """Values with commas between them.

    Args:
        kind: of each.
    """

    name = "list"

    def __init__(self, kind: Callable[[str], Any] = str) -> None:
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """The values."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self._kind(one.strip()) for one in str(value).split(",") if one.strip())
        except ValueError:
            self.fail(f"'{value}': numbers with commas between them are wanted", param, ctx)


SECONDS: Final = _Seconds()
AMOUNT: Final = _Amount()
