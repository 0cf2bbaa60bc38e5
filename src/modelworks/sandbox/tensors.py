"""Tensors in memory that two processes share: where each lies, written by one, judged by the other.

A region begins with a table of int64: for each tensor of the signature, in its order, its axes,
its offset and its bytes. Names and datatypes are not in it: both sides have the signature. BYTES
are count + 1 ends, relative to what follows them, then the data. The table of a process that may
be hostile is copied before it is looked at, and nothing in it is believed.
"""

import itertools
import math
import mmap
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from modelworks.core.errors import CrashedError, InvalidError
from modelworks.core.tensor import Datatype, TensorSpec

DTYPES: Final[dict[Datatype, Any]] = {
    Datatype.BOOL: np.dtype("?"),
    Datatype.UINT8: np.dtype("u1"),
    Datatype.UINT16: np.dtype("u2"),
    Datatype.UINT32: np.dtype("u4"),
    Datatype.UINT64: np.dtype("u8"),
    Datatype.INT8: np.dtype("i1"),
    Datatype.INT16: np.dtype("i2"),
    Datatype.INT32: np.dtype("i4"),
    Datatype.INT64: np.dtype("i8"),
    Datatype.FP16: np.dtype("f2"),
    Datatype.FP32: np.dtype("f4"),
    Datatype.FP64: np.dtype("f8"),
    Datatype.BF16: np.dtype("u2"),
    Datatype.BYTES: np.dtype(object),
}
_ALIGN: Final = 64
_WORD: Final = 8


class Packed:
    """Arrays on their way into a region.

    Args:
        arrays: one a spec, of its datatype; BYTES are object arrays of bytes.

    Attributes:
        size: bytes that the region must have.
    """

    def __init__(self, arrays: Sequence[Any]) -> None:
        self._arrays = arrays
        self._texts: dict[int, list[bytes]] = {}
        words = sum([array.ndim + 2 for array in arrays])
        place = _aligned(words * _WORD)
        table: list[int] = []
        for number, array in enumerate(arrays):
            length = array.nbytes if array.dtype != object else self._text(number, array)
            table += (*array.shape, place, length)
            place = _aligned(place + length)
        self._table = table
        self.size = place

    def write(self, region: mmap.mmap) -> None:
        """Copy everything into a region that is large enough."""
        np.ndarray((len(self._table),), np.int64, region)[:] = self._table
        at = 0
        for number, array in enumerate(self._arrays):
            place = self._table[at + array.ndim]
            if number in self._texts:
                self._write_text(region, place, self._texts[number])
            else:
                np.ndarray(array.shape, array.dtype, region, place)[...] = array
            at += array.ndim + 2

    def _text(self, number: int, array: Any) -> int:
        items = array.ravel().tolist()
        if not all(isinstance(item, bytes) for item in items):
            raise InvalidError("BYTES elements are wanted as bytes")
        self._texts[number] = items
        return _WORD * (len(items) + 1) + sum(map(len, items))

    @staticmethod
    def _write_text(region: mmap.mmap, place: int, items: list[bytes]) -> None:
        ends = np.zeros(len(items) + 1, np.int64)
        np.cumsum([len(item) for item in items], out=ends[1:])
        np.ndarray(ends.shape, np.int64, region, place)[:] = ends
        start = place + ends.nbytes
        region[start : start + int(ends[-1])] = b"".join(items)


def unpack(region: mmap.mmap, specs: Sequence[TensorSpec], *, own: bool) -> list[Any]:
    """The arrays in a region, checked against the specs and the region's size.

    Args:
        region: written by the other side.
        specs: what must be in it.
        own: copies, which the other side cannot change any more; otherwise numbers are views.

    Raises:
        CrashedError: what the table says cannot be.
    """
    size = len(region)
    words = sum([len(spec.shape) + 2 for spec in specs])
    if words * _WORD > size:
        raise _broken("its table is cut short")
    table = np.ndarray((words,), np.int64, region).tolist()  # a copy: it cannot change any more
    at = 0
    arrays = []
    for spec in specs:
        rank = len(spec.shape)
        shape = tuple(table[at : at + rank])
        place, length = table[at + rank : at + rank + 2]
        at += rank + 2
        if any(n < 0 or m not in {None, n} for n, m in zip(shape, spec.shape, strict=True)):
            raise _broken(f"'{spec.name}' has shape {list(shape)}, against its signature")
        if place % _WORD or place < words * _WORD or length < 0 or place + length > size:
            raise _broken(f"'{spec.name}' lies outside the memory that is shared")
        count = math.prod(shape)
        if spec.datatype is Datatype.BYTES:
            arrays.append(_texts(region, shape, count, place, length))
            continue
        dtype = DTYPES[spec.datatype]
        if count * dtype.itemsize != length:
            raise _broken(f"'{spec.name}' has {length} bytes for {count} elements")
        arrays.append(_numbers(region, shape, dtype, place, own=own))
    return arrays


def extent(region: mmap.mmap, specs: Sequence[TensorSpec]) -> int:
    """Bytes of a region that hold its table and its tensors, once `unpack` has judged it."""
    words = sum([len(spec.shape) + 2 for spec in specs])
    table = np.ndarray((words,), np.int64, region).tolist()
    at, end = 0, words * _WORD
    for spec in specs:
        at += len(spec.shape) + 2
        end = max(end, table[at - 2] + table[at - 1])
    return end


def _numbers(region: mmap.mmap, shape: tuple[int, ...], dtype: Any, at: int, *, own: bool) -> Any:
    if dtype == np.bool_ and own:  # any other byte than 0 and 1 is no boolean
        return np.ndarray(shape, np.uint8, region, at) != 0
    view: Any = np.ndarray(shape, dtype, region, at)
    return view.copy() if own else view


def _texts(region: mmap.mmap, shape: tuple[int, ...], count: int, place: int, length: int) -> Any:
    head = _WORD * (count + 1)
    if head > length:
        raise _broken("texts are cut short")
    ends = np.ndarray((count + 1,), np.int64, region, place).copy()
    data = region[place + head : place + length]
    if ends[0] != 0 or ends[-1] != len(data) or bool((np.diff(ends) < 0).any()):
        raise _broken("the ends of texts contradict each other")
    flat = np.empty(count, dtype=object)
    places = ends.tolist()
    flat[:] = [data[a:b] for a, b in itertools.pairwise(places)]
    return flat.reshape(shape)


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _broken(what: str) -> CrashedError:
    return CrashedError(f"the model's process broke its protocol: {what}")


def fitting(outputs: Any, specs: Sequence[TensorSpec]) -> list[Any]:
    """A model's answer as arrays of its signature's outputs, in their order.

    Args:
        outputs: arrays by name. Numbers are cast within their kind (float64 to FP32); texts may be
            `str`.
        specs: of the signature's outputs.

    Raises:
        CrashedError: an output is missing, or is of another kind or shape.
    """
    if not hasattr(outputs, "keys"):
        raise CrashedError(f"the model gave a {type(outputs).__name__}, no arrays by name")
    return [_fitting(outputs, spec) for spec in specs]


def _fitting(outputs: Any, spec: TensorSpec) -> Any:
    if spec.name not in outputs:
        raise CrashedError(f"the model gave no output '{spec.name}'")
    array = np.asarray(outputs[spec.name])
    wanted = DTYPES[spec.datatype]
    if spec.datatype is Datatype.BYTES:
        array = _as_bytes(array, spec)
    elif array.dtype != wanted:
        if not np.can_cast(array.dtype, wanted, "same_kind"):
            raise CrashedError(
                f"the model gave output '{spec.name}' as {array.dtype}, and its signature says "
                f"{spec.datatype}"
            )
        array = array.astype(wanted)
    if array.ndim != len(spec.shape) or any(
        m not in {None, n} for n, m in zip(array.shape, spec.shape, strict=True)
    ):
        axes = [-1 if n is None else n for n in spec.shape]
        raise CrashedError(
            f"the model gave output '{spec.name}' of shape {list(array.shape)}, and its signature "
            f"says {axes}"
        )
    return array


def _as_bytes(array: Any, spec: TensorSpec) -> Any:
    items = array.ravel().tolist()
    flat = np.empty(len(items), dtype=object)
    flat[:] = [item.encode() if isinstance(item, str) else item for item in items]
    if not all(isinstance(item, bytes) for item in flat.tolist()):
        raise CrashedError(
            f"the model gave output '{spec.name}' as {array.dtype}, and its signature says BYTES"
        )
    return flat.reshape(array.shape)
