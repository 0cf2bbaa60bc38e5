"""The small parts of a request: its object, parameters, unknown keys, names in errors."""

from typing import Any

import orjson

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.protocol.tensors import shown


def object_of(body: bytes | memoryview) -> dict[str, Any]:
    """The JSON object that a body is.

    Raises:
        InvalidError: it is something else.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidError(f"the body is no JSON: {error}", field="body") from error
    if type(data) is not dict:
        raise InvalidError(f"the body must be an object, got {shown(data)}", field="body")
    return data


def count(parameters: dict[str, Any], key: str) -> int:
    """Take a whole number of 0 or more out of the request's parameters; 0 when absent."""
    value = parameters.pop(key, 0)
    if type(value) is not int or value < 0:
        raise InvalidError(
            f"{key} must be a whole number of 0 or more, got {shown(value)}",
            field=f"parameters.{key}",
        )
    return value


def flag(parameters: dict[str, Any], key: str, where: str) -> bool:
    """Take a boolean out of parameters; False when absent."""
    value = parameters.pop(key, False)
    if type(value) is not bool:
        raise InvalidError(
            f"{key} must be true or false, got {shown(value)}", field=f"{where}.{key}"
        )
    return value


def parameters_of(value: Any, where: str) -> dict[str, Any]:
    """A `parameters` object, checked to hold scalars only; empty when absent."""
    path = f"{where}.parameters".lstrip(".")
    if value is None:
        return {}
    if type(value) is not dict:
        raise InvalidError(f"{path} must be an object, got {shown(value)}", field=path)
    for key, item in value.items():
        if type(item) not in {str, int, float, bool}:
            raise InvalidError(
                f"{path}.{key} must be a string, number or boolean, got {shown(item)}",
                field=f"{path}.{key}",
            )
    return dict(value)


def only(entry: dict[str, Any], known: frozenset[str], where: str) -> None:
    """Refuse unknown keys, naming the first."""
    for key in entry:
        if key not in known:
            path = f"{where}.{key}".lstrip(".")
            raise InvalidError(
                f"{shown(path)} is unknown: known are {', '.join(sorted(known))}", field=path
            )


def listed(names: tuple[str, ...]) -> str:
    """Names for an error message, at most eight."""
    text = ", ".join(f"'{name}'" for name in names[:8])
    return text + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def no_shared_memory(where: str) -> UnsupportedError:
    """The answer to whoever points at shared memory."""
    return UnsupportedError(
        "shared memory is not offered: send the tensor as binary data", field=where
    )
