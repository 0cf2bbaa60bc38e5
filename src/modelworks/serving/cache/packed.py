"""Outputs as bytes, for a store outside of this process: strictly read, for others write there too.

"MWA1"  milliseconds of UTC until which they are good (int64)  JSON's length (uint32)
JSON    [[datatype, [shape], bytes] of each output]
bytes   of each output behind each other, little endian; BYTES elements behind their lengths
"""

import struct
import sys
from collections.abc import Sequence
from math import prod
from typing import Any, Final

import numpy as np
import orjson

from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.protocol.tensors import DTYPES

_HEAD: Final = struct.Struct("<4sqI")
_MAGIC: Final = b"MWA1"
_LENGTH: Final = struct.Struct("<I")


def pack(specs: Sequence[TensorSpec], outputs: Sequence[Any], until_ms: int) -> bytes | None:
    """Outputs of a model; None where they are not of their own datatypes.

    Args:
        specs: of the outputs.
        outputs: one array a spec.
        until_ms: UTC; 0 = for ever.
    """
    told, parts = [], []
    for spec, array in zip(specs, outputs, strict=True):
        if spec.datatype is Datatype.BYTES:
            raw = b"".join(_texts(array))
        elif array.dtype != DTYPES[spec.datatype]:
            return None
        else:
            raw = array.tobytes()
        told.append([spec.datatype.value, list(array.shape), len(raw)])
        parts.append(raw)
    text = orjson.dumps(told)
    return b"".join((_HEAD.pack(_MAGIC, until_ms, len(text)), text, *parts))


def unpack(specs: Sequence[TensorSpec], data: bytes) -> tuple[tuple[Any, ...], int]:
    """The outputs, which nobody can change, and until when they are good.

    Raises:
        ValueError: no such bytes, or of another model's outputs.
    """
    if len(data) < _HEAD.size:
        raise ValueError("too short")
    magic, until_ms, length = _HEAD.unpack_from(data)
    at = _HEAD.size + length
    if magic != _MAGIC or at > len(data):
        raise ValueError("no kept answer")
    told = orjson.loads(data[_HEAD.size : at])
    if type(told) is not list or len(told) != len(specs):
        raise ValueError("another number of outputs")
    outputs = []
    for spec, entry in zip(specs, told, strict=True):
        array, at = _unpacked(spec, entry, data, at)
        outputs.append(array)
    if at != len(data):
        raise ValueError("bytes that belong to no output")
    return tuple(outputs), until_ms


def _unpacked(spec: TensorSpec, entry: Any, data: bytes, at: int) -> tuple[Any, int]:
    datatype, shape, size = entry
    whole = type(shape) is list and all(type(axis) is int and axis >= 0 for axis in shape)
    if datatype != spec.datatype.value or not whole or type(size) is not int:
        raise ValueError("another output")
    if not 0 <= size <= len(data) - at:
        raise ValueError("cut short")
    end = at + size
    if spec.datatype is Datatype.BYTES:
        return _read_texts(data, at, end, shape), end
    dtype = DTYPES[spec.datatype]
    if prod(shape) * dtype.itemsize != size:
        raise ValueError("a shape of another size")
    array = np.frombuffer(data, dtype, prod(shape), at).reshape(shape)
    return array, end


def _texts(array: Any) -> list[bytes]:
    parts = []
    for item in array.ravel().tolist():
        raw = item.encode() if isinstance(item, str) else bytes(item)
        parts += [_LENGTH.pack(len(raw)), raw]
    return parts


def _read_texts(data: bytes, at: int, end: int, shape: list[int]) -> Any:
    count = prod(shape)
    if 4 * count > end - at:
        raise ValueError("fewer texts than the shape has")
    array = np.empty(count, dtype=object)
    for place in range(count):
        if at + 4 > end:
            raise ValueError("cut short")
        (length,) = _LENGTH.unpack_from(data, at)
        at += 4 + length
        if at > end:
            raise ValueError("cut short")
        array[place] = data[at - length : at]
    if at != end:
        raise ValueError("bytes that belong to no text")
    array = array.reshape(shape)
    array.setflags(write=False)
    return array


if sys.byteorder != "little":  # pragma: no cover - nothing that Modelworks runs on
    raise ImportError("kept answers are little endian, as numpy has them on this machine")
