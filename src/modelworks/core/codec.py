"""Frozen dataclasses to plain JSON values and back, strictly: an unknown key is an error.

One codec for snapshots, database columns and the wire of the control plane, so that a value
means the same everywhere. Types covered: dataclasses, `StrEnum`, tuples, dicts with string keys,
unions with `None`, unions of scalars, `Semver`, `Path`, and JSON scalars.
"""

import dataclasses
import difflib
import types
from enum import Enum
from functools import cache
from pathlib import Path, PurePath
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from modelworks.core.errors import InvalidError
from modelworks.core.semver import Semver

T = TypeVar("T")
_PLAIN = frozenset({str, int, float, bool, type(None)})


def encode(value: Any) -> Any:
    """A value of `core` as JSON values (dict, list, str, int, float, bool, None)."""
    if isinstance(value, Semver | PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        plain = _PLAIN.issuperset(map(type, value))  # a hundred thousand numbers are common
        return list(value) if plain else [encode(item) for item in value]
    return value


def decode(kind: type[T], data: Any, where: str = "") -> T:
    """JSON values as a `kind`; missing keys take the dataclass's defaults.

    Raises:
        InvalidError: a wrong type, a missing or an unknown key; `field` is the path to it.
    """
    result: T = _decode(kind, data, where)
    return result


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode(kind: Any, data: Any, where: str) -> Any:  # noqa: C901, PLR0911 - one line a kind of type
    if kind is Any:
        return data
    if kind is Semver:
        return Semver.parse(_scalar(str, data, where))
    if kind is Path:
        return Path(_scalar(str, data, where))
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, data, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind, data, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return _union(arguments, data, where)
    if origin is tuple:
        return _tuple(arguments, data, where)
    if origin is list:
        return list(_tuple((arguments[0], ...), data, where))
    if origin is dict:
        if not isinstance(data, dict):
            raise _wrong("an object", data, where)
        return {str(k): _decode(arguments[1], v, f"{where}.{k}") for k, v in data.items()}
    return _scalar(kind, data, where)


def _dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise _wrong("an object", data, where)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(str(key) for key in data.keys() - fields.keys())
    if unknown:
        path = f"{where}.{unknown[0]}".lstrip(".")
        close = difflib.get_close_matches(unknown[0], fields, 1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise InvalidError(
            f"{path}: unknown key; {hint}known are {', '.join(sorted(fields))}", field=path
        )
    hints = _hints(kind)
    values = {}
    for name, field in fields.items():
        path = f"{where}.{name}".lstrip(".")
        if name in data:
            values[name] = _decode(hints[name], data[name], path)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InvalidError(f"{path}: missing", field=path)
    return kind(**values)


def _enum(kind: type[Enum], data: Any, where: str) -> Enum:
    try:
        return kind(data)
    except ValueError as error:
        known = ", ".join(str(member.value) for member in kind)
        raise InvalidError(f"{where}: {data!r} is none of {known}", field=where) from error


def _union(arguments: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in arguments:
        return None
    choices = [a for a in arguments if a is not type(None)]
    exact = [a for a in choices if a is type(data)]
    for choice in exact or choices[:-1]:
        try:
            return _decode(choice, data, where)
        except InvalidError:
            continue
    return _decode(choices[-1], data, where)


def _tuple(arguments: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list | tuple):
        raise _wrong("a list", data, where)
    if len(arguments) == 2 and arguments[1] is ...:
        return tuple(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if len(data) != len(arguments):
        raise _wrong(f"{len(arguments)} items", data, where)
    pairs = zip(arguments, data, strict=True)
    return tuple(_decode(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(pairs))


def _scalar(kind: Any, data: Any, where: str) -> Any:
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:
        raise _wrong(kind.__name__, data, where)
    return data


def _wrong(wanted: str, data: Any, where: str) -> InvalidError:
    shown = repr(data)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return InvalidError(f"{where or 'value'}: {wanted} wanted, got {shown}", field=where or None)
