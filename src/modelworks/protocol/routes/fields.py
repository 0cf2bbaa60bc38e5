"""The one field of a body that may keep a caller with an arm."""

from typing import Protocol

import simdjson

from modelworks.core.errors import InvalidError
from modelworks.protocol.oip.request import parse_header_length

_LENGTH = b"inference-header-content-length"


class _Asked(Protocol):
    headers: dict[bytes, bytes]
    body: bytes


def parameter_of(asked: _Asked, name: str) -> str | None:
    """A value of the body's `parameters`, as text; None = it is not there.

    Args:
        asked: a request with headers and body.
        name: of the parameter; empty = none is wanted.
    """
    if not name:
        return None
    own = getattr(asked, "parameter", None)
    if own is not None:  # it did not come as JSON
        found: str | None = own(name)
        return found
    given = asked.headers.get(_LENGTH)
    try:
        length = None if given is None else parse_header_length(given)
        body = asked.body if length is None else asked.body[:length]
        document = simdjson.Parser().parse(body)
        value = document["parameters"][name]  # type: ignore[index]
    except (ValueError, KeyError, TypeError, RuntimeError, InvalidError):
        return None  # what is wrong with the body the model's own reader says
    return str(value) if isinstance(value, str | int) else None
