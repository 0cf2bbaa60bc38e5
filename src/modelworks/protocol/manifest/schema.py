"""The JSON Schema of a manifest: what editors complete and check by."""

from collections.abc import Iterator
from typing import Any, Final

from pydantic import TypeAdapter

from modelworks.protocol.manifest.fields import Part
from modelworks.protocol.manifest.load import KINDS, Kinds
from modelworks.protocol.manifest.overlay import Overlay

_MODE: Final = "validation"
DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema(kinds: Kinds = KINDS) -> dict[str, Any]:
    """Of one document, by its kind."""
    every: dict[str, type[Part]] = {**kinds, "Overlay": Overlay}
    inputs: list[tuple[str, Any, TypeAdapter[Any]]] = [
        (name, _MODE, TypeAdapter[Any](kind)) for name, kind in every.items()
    ]
    references, shared = TypeAdapter.json_schemas(inputs, ref_template="#/$defs/{model}")
    for part in _parts(Part):
        for key, field in part.model_fields.items():
            found = shared["$defs"].get(part.__name__, {}).get("properties", {}).get(key)
            if found is not None and field.description:
                found.setdefault("description", field.description)  # pydantic: not beside a $ref
    return {
        "$schema": DRAFT,
        "title": "Modelworks manifest",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(every)}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": name}}}, "then": references[name, _MODE]}
            for name in every
        ],
        "$defs": shared["$defs"],
    }


def _parts(base: type[Part]) -> Iterator[type[Part]]:
    for part in base.__subclasses__():
        yield part
        yield from _parts(part)
