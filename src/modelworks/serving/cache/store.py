"""What is kept in a worker: bounded in bytes, the least used leaves first. Pure, told the time."""

from collections import OrderedDict
from collections.abc import Sequence
from math import inf
from typing import Any, Final

import numpy as np

OVERHEAD: Final = 400
"""Bytes that an entry costs beside its value: key, tuple, numbers, its place in the dictionary.
Measured with tracemalloc, see `tests/unit/serving/test_cache_store.py`."""
_ARRAY: Final = 128
_TEXT: Final = 41


class Store:
    """Values by key.

    Args:
        max_bytes: of all of them, with `OVERHEAD`.

    Attributes:
        bytes: that they take now.
        evictions: entries that left to make room.
    """

    __slots__ = ("_kept", "_max_bytes", "bytes", "evictions")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[bytes, tuple[Any, int, float]] = OrderedDict()
        self.bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        """How many."""
        return len(self._kept)

    def get(self, key: bytes, now: float) -> tuple[Any, float] | None:
        """A value and until when it is good; None where there is none, or it is too old."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[2] <= now:
            del self._kept[key]
            self.bytes -= found[1]
            return None
        self._kept.move_to_end(key)
        return found[0], found[2]

    def put(self, key: bytes, value: Any, size: int, until: float = inf) -> bool:
        """Keep a value; False where it is larger than all room.

        Args:
            key: of it.
            value: never changed afterwards.
            size: bytes of it.
            until: on the clock of `get`.
        """
        size += OVERHEAD
        if size > self._max_bytes:
            return False
        old = self._kept.pop(key, None)
        if old is not None:
            self.bytes -= old[1]
        self._kept[key] = (value, size, until)
        self.bytes += size
        while self.bytes > self._max_bytes:
            _, (_, left, _) = self._kept.popitem(last=False)
            self.bytes -= left
            self.evictions += 1
        return True

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self.bytes = 0


def kept_arrays(outputs: Sequence[Any]) -> tuple[Any, ...]:
    """Copies that nobody can change: the engine may use its own arrays again."""
    kept = tuple(np.array(array) for array in outputs)
    for array in kept:
        array.setflags(write=False)
    return kept


def size_of_arrays(arrays: Sequence[Any]) -> int:
    """Bytes that they take."""
    size = 0
    for array in arrays:
        size += _ARRAY + array.nbytes
        if array.dtype.hasobject:
            size += sum(_TEXT + len(item) for item in array.ravel().tolist())
    return size
