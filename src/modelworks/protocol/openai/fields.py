"""Fields of a request: known, of the right kind, within bounds; or refused by name."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.protocol.tensors import shown

_NAME: Final = 60
_NOTHING: Final[tuple[Any, ...]] = (False, 0, "", [], {})


def body_of(body: bytes) -> dict[str, Any]:
    """The fields that say something.

    Raises:
        InvalidError: the body is no JSON object.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidError(f"the body is no JSON: {error}", field="body") from error
    if type(data) is not dict:
        raise InvalidError(f"the body must be an object, got {shown(data)}", field="body")
    return {name: value for name, value in data.items() if value is not None}


def refuse_others(
    data: Mapping[str, Any], known: frozenset[str], idle: Mapping[str, tuple[Any, ...]]
) -> None:
    """Refuse what nobody here reads.

    Args:
        data: of a request.
        known: names that are read.
        idle: name -> values with which a field asks for nothing that is not done anyway; beside
            them false, 0 and what is empty.

    Raises:
        UnsupportedError: OpenAI's field, and not offered here.
        InvalidError: nobody's field.
    """
    for name, value in data.items():
        if name in known:
            continue
        if name not in idle:
            raise InvalidError(
                f"nobody here reads '{name[:_NAME]}': leave it out", field=name[:_NAME]
            )
        if any(type(value) is type(one) and value == one for one in (*idle[name], *_NOTHING)):
            continue
        raise UnsupportedError(
            f"'{name}' is not offered by this server: leave it out (got {shown(value)})",
            field=name,
        )


def text(data: Mapping[str, Any], name: str) -> str:
    """A string that has to be there.

    Raises:
        InvalidError: it is missing, empty, or something else.
    """
    value = data.get(name)
    if type(value) is not str or not value:
        what = f"got {shown(value)}" if name in data else "it is missing"
        raise InvalidError(f"{name} must be a string: {what}", field=name)
    return value


def number(data: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    """A number, bounds included; None = it is left out.

    Raises:
        InvalidError: it is none, or out of them.
    """
    return _number(data, name, low, high, whole=False)


def whole(data: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    """The same for a whole number."""
    value = _number(data, name, low, high, whole=True)
    return None if value is None else int(value)


def _number(
    data: Mapping[str, Any], name: str, low: float, high: float, *, whole: bool
) -> float | int | None:
    value = data.get(name)
    if value is None:
        return None
    if type(value) not in ({int} if whole else {int, float}) or not low <= value <= high:
        what = "whole number" if whole else "number"
        raise InvalidError(
            f"{name} must be a {what} from {low:.15g} to {high:.15g}, got {shown(value)}",
            field=name,
        )
    found: float | int = value
    return found


def switch(data: Mapping[str, Any], name: str) -> bool:
    """True or false; false where it is left out.

    Raises:
        InvalidError: it is neither.
    """
    value = data.get(name, False)
    if type(value) is not bool:
        raise InvalidError(f"{name} must be true or false, got {shown(value)}", field=name)
    return value
