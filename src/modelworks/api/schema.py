"""JSON Schema of the frozen dataclasses, as `core.codec` writes them: one codec, one schema."""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from modelworks.core.semver import Semver

_SCALARS = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
    Path: "string",
}

_NAMES: dict[str, Any] = {}

SEMVER: dict[str, Any] = {
    "type": "string",
    "pattern": r"^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})$",
    "examples": ["1.4.0"],
}


def schema_of(kind: Any, known: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type's encoding.

    Args:
        kind: a type that the codec covers.
        known: component name -> schema; dataclasses are added to it and referred to.
    """
    if kind is Any:
        return {}
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if kind is Semver:
        return SEMVER
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"type": "string", "enum": [member.value for member in kind]}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _component(kind, known)
    return _generic(kind, known)


def _generic(kind: Any, known: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return {"anyOf": [schema_of(argument, known) for argument in arguments]}
    if origin in {dict, Mapping}:
        return {"type": "object", "additionalProperties": schema_of(arguments[1], known)}
    if origin in {list, Sequence} or arguments[1:] == (...,):
        return {"type": "array", "items": schema_of(arguments[0], known)}
    if origin is tuple:
        return {
            "type": "array",
            "prefixItems": [schema_of(argument, known) for argument in arguments],
            "minItems": len(arguments),
            "maxItems": len(arguments),
        }
    raise TypeError(f"no schema for {kind!r}")


def _component(kind: Any, known: dict[str, Any]) -> dict[str, Any]:
    name = _named(kind)
    if name not in known:
        known[name] = {}  # a type that refers to itself finds its name
        hints = get_type_hints(kind)
        fields = dataclasses.fields(kind)
        known[name] = {
            "type": "object",
            "title": name,
            "description": (kind.__doc__ or name).strip().split("\n", 1)[0],
            "properties": {field.name: schema_of(hints[field.name], known) for field in fields},
            "required": [field.name for field in fields if _required(field)],
            "additionalProperties": False,
        }
    return {"$ref": f"#/components/schemas/{name}"}


def _named(kind: Any) -> str:
    """A type's name; of two that share one, the second has its module's before it."""
    name = kind.__name__
    if _NAMES.setdefault(name, kind) is not kind:
        name = kind.__module__.rpartition(".")[2].capitalize() + name
        _NAMES.setdefault(name, kind)
    return str(name)


def _required(field: Any) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
