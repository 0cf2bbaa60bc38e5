"""One memory-mapped block of counters for all workers of a server: whoever is asked knows all.

A slot a worker, a region a model in each slot; a worker writes only into its own slot, so nothing
is locked but the giving out of regions. What a killed worker had counted stays.
"""

import fcntl
import mmap
import os
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.serving.block_file import HEADER, MODELS, NAME, REGION, SLOTS, Layout

_FIRST: Final = 2
SERVER: Final = 0
"""The region of requests that name no model."""
_OVERFLOW: Final = 1
PART: Final = "\1"
"""Begins the name of a region that is no model's, but belongs to one."""


class Block:
    """The block as one worker sees it.

    Args:
        workers: slots.
        slot: this worker's.
        fd: of a file made by `shared_file`; None = this process alone.
    """

    def __init__(self, workers: int = 1, slot: int = 0, fd: int | None = None) -> None:
        if not 0 <= slot < workers <= SLOTS:
            raise InvalidError(f"workers: 1 to {SLOTS} are possible, not {workers}")
        self.workers = workers
        self.slot = slot
        self._layout = Layout(workers)
        self._fd = fd
        self._map = mmap.mmap(-1 if fd is None else fd, self._layout.size)
        self._cells = memoryview(self._map).cast("q")
        self._known: dict[tuple[str, str], int] = {}
        self._before: dict[int, Callable[[], None]] = {}
        start = self._layout.regions
        self._array: Any = np.frombuffer(self._map, dtype=np.int64, offset=start).reshape(
            workers, MODELS, REGION
        )
        self._cells[1 + slot] = os.getpid()

    def region(self, name: str, version: str) -> memoryview:
        """This worker's cells for a model; the same every time."""
        return self.cells(self._index(name, version))

    def cells(self, index: int) -> memoryview:
        """This worker's cells of a region by number."""
        first = self._layout.regions // 8 + (self.slot * MODELS + index) * REGION
        return self._cells[first : first + REGION]

    def models(self) -> dict[tuple[str, str], int]:
        """(name, version) -> region, of all that any worker has named."""
        end = min(MODELS, _FIRST + self._cells[0])
        for index in range(_FIRST + len(self._known), end):  # names are only ever added
            text = self._read_name(index)
            name, _, version = text.partition("\0")
            self._known[name, version] = index
        return {key: at for key, at in self._known.items() if not key[0].startswith(PART)}

    def parts(self) -> dict[tuple[str, str], int]:
        """(name, version) -> region, of what belongs to models and is none; see `PART`."""
        self.models()
        return {key: at for key, at in self._known.items() if key[0].startswith(PART)}

    def before_reading(self, name: str, version: str, call: Callable[[], None]) -> None:
        """Have something called whenever this worker reads a model's region."""
        self._before[self._index(name, version)] = call

    def total(self, index: int) -> Any:
        """The cells of a region, summed over the workers; int64 [REGION]."""
        self._settle(index)
        return self._array[:, index].sum(axis=0)

    def each(self, index: int) -> Any:
        """The cells of a region a worker; int64 [workers, REGION]."""
        self._settle(index)
        return self._array[:, index].copy()

    def _settle(self, index: int) -> None:
        call = self._before.get(index)
        if call is not None:
            call()

    def pids(self) -> list[int]:
        """Process ids of the workers, by slot; 0 where none has come yet."""
        return [int(self._cells[1 + slot]) for slot in range(self.workers)]

    def reset(self, index: int, cells: range) -> None:
        """Zero some of this worker's cells: gauges that a killed predecessor left behind."""
        mine = self.cells(index)
        for cell in cells:
            mine[cell] = 0

    def _index(self, name: str, version: str) -> int:
        known = self._known.get((name, version))
        if known is not None:
            return known
        if self._fd is not None:
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
        try:
            self.models()
            found = self._known.get((name, version))
            return self._append(name, version) if found is None else found
        finally:
            if self._fd is not None:
                fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def _append(self, name: str, version: str) -> int:
        text = f"{name}\0{version}".encode()
        count = self._cells[0]
        index = _FIRST + count
        if index >= MODELS or len(text) > NAME - 2:
            return _OVERFLOW
        start = HEADER + index * NAME
        self._map[start : start + 2] = len(text).to_bytes(2, "little")
        self._map[start + 2 : start + 2 + len(text)] = text
        self._cells[0] = count + 1
        self.models()
        return index

    def _read_name(self, index: int) -> str:
        start = HEADER + index * NAME
        length = int.from_bytes(self._map[start : start + 2], "little")
        return self._map[start + 2 : start + 2 + length].decode()
