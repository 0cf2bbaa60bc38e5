"""What rules, routing and tests have in common: durations, labels, texts with holes."""

import re
import string
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION: Final = re.compile("".join(rf"(?:(\d+){unit})?" for unit in _UNITS))
_WANTED: Final = "numbers with w, d, h, m or s behind them, the largest first: 30s, 5m, 1h30m"
_FORMAT: Final = re.compile(r"(,?(\.\d{1,2})?[fge%]?|,)")
_HOLE: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def seconds_of(value: Any) -> Any:
    """Of a duration as it is written.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str):
        raise ValueError(_WANTED)  # noqa: TRY004 - pydantic's word for it
    found = _DURATION.fullmatch(value)
    if found is None or not value:
        raise ValueError(f"'{value[:40]}' is no duration: {_WANTED}")
    return sum(int(n or 0) * size for n, size in zip(found.groups(), _UNITS.values(), strict=True))


def spelt_duration(seconds: int) -> str:
    """As it is written: `1h30m`."""
    words, left = "", int(seconds)
    for unit, size in _UNITS.items():
        if left >= size:
            words += f"{left // size}{unit}"
            left %= size
    return words or "0s"


def holes(template: str) -> list[tuple[str, str, str]]:
    """A text as pieces: what stands before a hole, the hole's name ("" = none), its format.

    Raises:
        ValueError: a hole that is not closed, or is no name with a format of a number.
    """
    found = []
    for before, name, form, conversion in string.Formatter().parse(template):
        if name is None:
            found.append((before, "", ""))
            continue
        if not _HOLE.fullmatch(name) or conversion or not _FORMAT.fullmatch(form or ""):
            raise ValueError(
                f"'{{{name}}}' is no hole: a label, or value, bound, rule, severity, with a "
                "format of a number where one is wanted: {model}, {value:.2f}"
            )
        found.append((before, name, form or ""))
    return found


def _template(text: str) -> str:
    try:
        holes(text)
    except ValueError as error:
        words = str(error)
        if "hole" not in words:
            words = f"{words}: braces that stand for themselves are written twice"
        raise ValueError(words) from None
    return text


Duration = Annotated[
    int,
    BeforeValidator(seconds_of, json_schema_input_type=str),
    PlainSerializer(spelt_duration, return_type=str),
    Field(ge=0, le=400 * 86_400),
]
"""Seconds; written `30s`, `5m`, `1h30m`, `2w`."""
Window = Annotated[Duration, Field(ge=1)]
"""A duration that is not zero."""
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=64)]
LabelText = Annotated[str, Field(max_length=256)]
Labels = dict[LabelName, LabelText]
"""Exact ones."""
Matchers = Annotated[dict[LabelName, LabelText], Field(max_length=20)]
"""Label -> what it has to be; `*`, `?` and `[...]` as in names of files."""
SeriesName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
RuleName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=80)]
Template = Annotated[str, AfterValidator(_template), Field(max_length=2000)]
"""`{label}`, `{value:.2f}`, `{bound}`, `{rule}`, `{severity}`; a brace itself is written twice."""


def pattern(text: str) -> bool:
    """Whether it stands for more than itself."""
    return any(sign in text for sign in "*?[")
