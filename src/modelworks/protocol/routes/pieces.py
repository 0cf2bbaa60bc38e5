"""A large JSON object read piece by piece: a parser that takes all at once holds everybody up.

Parsing 2.7 MB took simdjson 7 ms and orjson more, during which no other thread of Python runs.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_ENDS: Final = {"{": "}", "[": "]"}


class Piece:
    """One member of the object, or one item of a member that is taken apart.

    Attributes:
        key: of the member.
        item: the item's key, or its place; None = the member is whole.
        value: plain JSON values; of a member that is empty, itself.
    """

    __slots__ = ("item", "key", "value")

    def __init__(self, key: str, item: str | int | None, value: Any) -> None:
        self.key = key
        self.item = item
        self.value = value


def pieces(text: str, apart: frozenset[str]) -> Iterator[Piece]:
    """The members of an object, in order.

    Args:
        text: JSON.
        apart: members whose items come one by one; where they are lists or objects.

    Raises:
        ValueError: it is no JSON object; says where.
    """
    scan = json.JSONDecoder(parse_constant=_constant).raw_decode
    at = _after(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("it is no object")
    at = _after(text, at + 1)
    if text[at : at + 1] == "}":
        at += 1
    else:
        at -= 1  # so that the first member follows a mark, as the others do
        while True:
            key, at = _key(text, at + 1, scan)
            start = text[at : at + 1]
            if key in apart and start in _ENDS and text[_after(text, at + 1)] != _ENDS[start]:
                for item, value, end in _items(text, at, _ENDS[start], scan):
                    yield Piece(key, item, value)
                    at = end
            else:
                value, at = scan(text, at)
                yield Piece(key, None, value)
            at = _after(text, at)
            mark = text[at : at + 1]
            if mark != ",":
                break
        if mark != "}":
            raise ValueError(f"a comma or the end is wanted at character {at}")
        at += 1
    if _after(text, at) != len(text):
        raise ValueError(f"something follows the end at character {at}")


def _items(text: str, at: int, end: str, scan: Any) -> Iterator[tuple[str | int, Any, int]]:
    """Key or place, value, and where it goes on; the last one says where the container ends."""
    place = 0
    while True:
        item: str | int = place
        if end == "}":
            item, at = _key(text, at + 1, scan)
        else:
            at = _after(text, at + 1)
        value, at = scan(text, at)
        at = _after(text, at)
        mark = text[at : at + 1]
        if mark not in {",", end}:
            raise ValueError(f"a comma or the end is wanted at character {at}")
        yield item, value, at + 1 if mark == end else at
        if mark == end:
            return
        place += 1


def _key(text: str, at: int, scan: Any) -> tuple[str, int]:
    """A key, and where its value begins."""
    at = _after(text, at)
    key, end = scan(text, at)
    end = _after(text, end)
    if not isinstance(key, str) or text[end : end + 1] != ":":
        raise ValueError(f"a key and a colon are wanted at character {at}")
    return key, _after(text, end + 1)


def _after(text: str, at: int) -> int:
    """Where the white space ends."""
    found = _SPACE.match(text, at)
    return found.end() if found is not None else at


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
