"""`signature.json` of a Python folder: what its author says goes in and out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Layout, Role, TensorSpec

_FILE = "signature.json"
_LONGEST = 1 << 20
_KEYS = ("inputs", "outputs", "layout", "features", "classes", "deadline_s", "memory_gib")
_TENSOR_KEYS = {"name", "datatype", "shape", "role", "categories", "allow_nan"}


@dataclass(frozen=True, slots=True)
class Declared:
    """What the file says; everything in it may be left out.

    Attributes:
        inputs: empty = not said.
        outputs: empty = not said.
        layout: how plain rows become inputs.
        features: names of the columns of a matrix.
        classes: labels, in the order of the probabilities.
        settings: of the engine: `deadline_s`, `memory_gib`.
    """

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    layout: Layout = Layout.TENSORS
    features: tuple[str, ...] = ()
    classes: tuple[str | int | float | bool, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)


def read(folder: Path) -> Declared:
    """What the folder's `signature.json` says; nothing where there is none.

    Raises:
        InvalidError: it is no such file; the place in it is named.
    """
    file = folder / _FILE
    if not file.is_file():
        return Declared()
    try:
        data = json.loads(file.read_bytes()[:_LONGEST])
    except (ValueError, RecursionError) as error:
        raise _wrong("", f"no JSON: {str(error)[:100]}") from error
    if not isinstance(data, dict):
        raise _wrong("", "an object with inputs and outputs is wanted")
    unknown = sorted(data.keys() - set(_KEYS))
    if unknown:
        raise _wrong(unknown[0], f"nobody reads it; known are {', '.join(_KEYS)}")
    try:
        layout = Layout(data.get("layout", Layout.TENSORS))
    except ValueError as error:
        raise _wrong("layout", f"one of {', '.join(Layout)} is wanted") from error
    return Declared(
        inputs=_tensors(data, "inputs"),
        outputs=_tensors(data, "outputs"),
        layout=layout,
        features=tuple(str(name) for name in _list(data, "features")),
        classes=tuple(_list(data, "classes")),
        settings={n: _number(data[n], n) for n in ("deadline_s", "memory_gib") if n in data},
    )


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    found = data.get(name, [])
    if not isinstance(found, list):
        raise _wrong(name, "a list is wanted")
    return found


def _number(value: Any, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise _wrong(name, "a number above 0 is wanted")
    return f"{value:g}"


def _tensors(data: Mapping[str, Any], side: str) -> tuple[TensorSpec, ...]:
    found = tuple(_tensor(one, f"{side}[{i}]") for i, one in enumerate(_list(data, side)))
    names = [spec.name for spec in found]
    if len(set(names)) < len(names):
        raise _wrong(side, "a name stands there twice")
    return found


def _tensor(data: Any, where: str) -> TensorSpec:
    if not isinstance(data, dict) or not {"name", "datatype", "shape"} <= data.keys():
        raise _wrong(where, '{"name": "x", "datatype": "FP32", "shape": [-1, 3]} is wanted')
    unknown = sorted(data.keys() - _TENSOR_KEYS)
    if unknown:
        raise _wrong(f"{where}.{unknown[0]}", f"known are {', '.join(sorted(_TENSOR_KEYS))}")
    if not isinstance(data["name"], str) or not data["name"]:
        raise _wrong(f"{where}.name", "a text is wanted")
    shape = data["shape"]
    if not isinstance(shape, list) or not all(type(n) is int and n >= -1 for n in shape):
        raise _wrong(f"{where}.shape", "a list of axes is wanted, -1 for a dynamic one")
    try:
        datatype = Datatype(str(data["datatype"]).upper())
        role = Role(data.get("role", Role.TENSOR))
    except ValueError as error:
        raise _wrong(where, f"{error}; datatypes are {', '.join(Datatype)}") from error
    return TensorSpec(
        data["name"],
        datatype,
        tuple(None if n == -1 else n for n in shape),
        role,
        tuple(str(word) for word in _list(data, "categories")),
        allow_nan=bool(data.get("allow_nan", True)),
    )


def _wrong(where: str, what: str) -> InvalidError:
    place = f"{_FILE}, {where}" if where else _FILE
    return InvalidError(f"{place}: {what}", field=f"signature.{where}" if where else "signature")
