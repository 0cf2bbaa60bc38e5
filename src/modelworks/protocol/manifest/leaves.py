"""The leaves of a kind: every field that a person can write, by path.

`resources.gpu`, `secrets[].source.file`; a mapping with keys of the user's (`environment`) is one
leaf, and so is a list of plain values.
"""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field of one document.

    Attributes:
        field: as a kind has it: `secrets[].name`.
        path: as this document has it: `secrets[0].name`.
        value: JSON.
        default: JSON; of a field that has none, None.
    """

    field: str
    path: str
    value: Any
    default: Any

    @property
    def plain(self) -> bool:
        """Whether it says what goes without saying."""
        return bool(self.value == self.default)


def fields(kind: type[BaseModel]) -> tuple[str, ...]:
    """Every leaf of a kind, in its order."""
    return tuple(_fields(kind, ""))


def leaves(kind: type[BaseModel], values: Mapping[str, Any]) -> tuple[Leaf, ...]:
    """Every leaf of a document, what it does not say included.

    Args:
        kind: of the document, or its spec.
        values: JSON of it, defaults written out (`model_dump(mode="json")`). A part that is None
            has all its leaves None; a list without members has no leaves.
    """
    return tuple(_leaves(kind, values, "", ""))


def _fields(kind: type[BaseModel], before: str) -> Iterator[str]:
    for name, info in kind.model_fields.items():
        part, many = _part(info.annotation)
        here = f"{before}{name}"
        if part is None:
            yield here
        else:
            yield from _fields(part, f"{here}{'[]' if many else ''}.")


def _leaves(
    kind: type[BaseModel], values: Mapping[str, Any] | None, field: str, path: str
) -> Iterator[Leaf]:
    for name, info in kind.model_fields.items():
        part, many = _part(info.annotation)
        value = None if values is None else values.get(name)
        if part is None:
            default = None if values is None else _default(info)
            yield Leaf(f"{field}{name}", f"{path}{name}", value, default)
        elif many:
            for place, member in enumerate(value or ()):
                yield from _leaves(part, member, f"{field}{name}[].", f"{path}{name}[{place}].")
        else:
            yield from _leaves(part, value, f"{field}{name}.", f"{path}{name}.")


def _part(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The kind of a field that has fields of its own, and whether it is a list of them."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _part(inside[0])
    if origin in {Union, types.UnionType}:
        found = [_part(one) for one in inside if one is not type(None)]
        return found[0] if len(found) == 1 else (None, False)
    if origin is list:
        return _part(inside[0])[0], True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    return None, False


def _default(info: FieldInfo) -> Any:
    if info.is_required():
        return None
    value = info.get_default(call_default_factory=True, validated_data={})
    return value.value if hasattr(value, "value") else value
