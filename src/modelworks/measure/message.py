"""Requests as bytes made once, and the little of an answer's head that a load generator reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.core.keys import bearer
from modelworks.measure.target import Target

HEAD_LIMIT: Final = 65_536
_OWN: Final = frozenset({"host", "content-length", "connection", "transfer-encoding"})


class Ending(IntEnum):
    """How the end of an answer's body is known."""

    LENGTH = 0  # Content-Length, or no body at all
    CHUNKED = 1
    CLOSE = 2  # it ends with the connection


@dataclass(frozen=True, slots=True)
class Head:
    """What a generator wants of an answer's head.

    Attributes:
        status: three digits.
        ending: of the body.
        length: bytes of the body where `ending` is LENGTH.
        closes: whether the connection ends with this answer.
        json_length: of `Inference-Header-Content-Length`; -1 = not there.
    """

    status: int
    ending: Ending
    length: int
    closes: bool
    json_length: int = -1


@dataclass(frozen=True, slots=True)
class Body:
    """What one request carries.

    Attributes:
        data: the bytes.
        content_type: of them.
        headers: further ones.
    """

    data: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def request_bytes(
    target: Target,
    body: Body | None = None,
    method: str = "POST",
    headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    """A whole request.

    Args:
        target: where it goes.
        body: what it carries; None = nothing, as of a GET.
        method: of it.
        headers: further ones; they win over those of the body.

    Raises:
        InvalidError: a header that cannot be one, or that is the generator's own.
    """
    lines: dict[str, tuple[str, str]] = {"host": ("Host", target.authority)}
    if target.key:
        lines["authorization"] = ("Authorization", bearer(target.key))
    if body is not None:
        lines["content-type"] = ("Content-Type", body.content_type)
        for name, value in body.headers:
            lines[name.lower()] = (name, value)
    for name, value in headers:
        _checked(name, value)
        lines[name.lower()] = (name, value)
    if body is not None:
        lines["content-length"] = ("Content-Length", str(len(body.data)))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.values())
    text = f"{method} {target.path} HTTP/1.1\r\n{head}\r\n"
    return text.encode("latin-1") + (body.data if body is not None else b"")


def _checked(name: str, value: str) -> None:
    legal = name and name.isascii() and all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in name)
    if not legal or any(letter in "\r\n\0" or ord(letter) > 255 for letter in value):
        raise InvalidError(f"'{name}: {value}' is no header: write NAME: VALUE", field="header")
    if name.lower() in _OWN:
        raise InvalidError(f"the header {name} is the load generator's own", field="header")


def parse_head(head: bytes) -> Head:
    """The head of an answer, without the empty line at its end.

    Raises:
        InvalidError: this is no answer of HTTP/1.
    """
    first, *rest = head.split(b"\r\n")
    words = first.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise InvalidError(f"no HTTP/1 answer: {first[:60]!r}")
    status = int(words[1])
    fields: dict[bytes, bytes] = {}
    for line in rest:
        name, colon, value = line.partition(b":")
        if not colon:
            raise InvalidError(f"no header line in an answer: {line[:60]!r}")
        fields[name.lower()] = value.strip()
    told = fields.get(b"connection", b"").lower()
    closes = b"close" in told or (words[0] == b"HTTP/1.0" and b"keep-alive" not in told)
    inner = _number(fields, b"inference-header-content-length")
    if status < 200 or status in {204, 304}:
        return Head(status, Ending.LENGTH, 0, closes)
    if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
        return Head(status, Ending.CHUNKED, 0, closes, inner)
    length = _number(fields, b"content-length")
    if length < 0:
        return Head(status, Ending.CLOSE, 0, closes=True, json_length=inner)
    return Head(status, Ending.LENGTH, length, closes, inner)


def _number(fields: Mapping[bytes, bytes], name: bytes) -> int:
    text = fields.get(name)
    if text is None:
        return -1
    if not text.isdigit() or len(text) > 15:
        raise InvalidError(f"the answer's {name.decode()} is no length: {text[:40]!r}")
    return int(text)
