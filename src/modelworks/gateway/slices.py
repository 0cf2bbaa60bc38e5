"""A large JSON object, read in small steps.

A parser in C holds the interpreter until it is done: ten milliseconds for two megabytes, in which
no request is answered. Here the members of the object's own lists and objects are parsed one by
one.
"""

import json
import re
from typing import Any, Final

from modelworks.core.errors import InvalidError

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


def read_slices(raw: bytes) -> dict[str, Any]:
    """An object, as `json.loads` reads it.

    Raises:
        InvalidError: it is no JSON, or no object.
    """
    try:
        text = raw.decode()
        walk = _Walk(text)
        found = walk.members(deep=True)
        if walk.rest():
            raise ValueError(f"more text behind its end, at character {walk.at}")  # noqa: TRY301
    except (ValueError, IndexError, StopIteration) as error:
        raise InvalidError(f"the snapshot is no JSON: {error}", field="snapshot") from error
    return found


class _Walk:
    """A place in the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def members(self, *, deep: bool) -> dict[str, Any]:
        """The object that begins here."""
        found: dict[str, Any] = {}
        self._take("{")
        if self._next() == "}":
            self.at += 1
            return found
        while True:
            if self._next() != '"':
                raise ValueError(f"a name is wanted at character {self.at}")
            name, self.at = _DECODER.raw_decode(self._text, self.at)
            self._take(":")
            found[name] = self._value(deep=deep)
            if not self._comma("}"):
                return found

    def rest(self) -> bool:
        """Whether anything but white space is left."""
        self._skip()
        return self.at < len(self._text)

    def _items(self) -> list[Any]:
        found: list[Any] = []
        self._take("[")
        if self._next() == "]":
            self.at += 1
            return found
        while True:
            found.append(self._value(deep=False))
            if not self._comma("]"):
                return found

    def _value(self, *, deep: bool) -> Any:
        first = self._next()
        if deep and first == "{":
            return self.members(deep=False)
        if deep and first == "[":
            return self._items()
        value, self.at = _DECODER.raw_decode(self._text, self.at)
        return value

    def _next(self) -> str:
        self._skip()
        return self._text[self.at]

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self.at)
        assert match is not None  # noqa: S101 - it matches nothing as well
        self.at = match.end()

    def _take(self, wanted: str) -> None:
        if self._next() != wanted:
            raise ValueError(f"'{wanted}' is wanted at character {self.at}")
        self.at += 1

    def _comma(self, end: str) -> bool:
        """Whether another one follows."""
        if self._next() == ",":
            self.at += 1
            return True
        self._take(end)
        return False
