"""Calls between buffers that several processes share: what one wrote, the next one reads in place.

A buffer is handed to a process once, by its descriptor, and named by its number after that. The
tables in buffers are judged by the parent before the next process is told of them.
"""

import mmap
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from modelworks.core.errors import CrashedError, InvalidError, UnavailableError
from modelworks.core.tensor import TensorSpec
from modelworks.sandbox import wire
from modelworks.sandbox.program import Program
from modelworks.sandbox.tensors import Packed, unpack
from modelworks.sandbox.wire import Word
from modelworks.sandbox.worker import Worker, judged, region

_KEPT: Final = 64 << 20  # pages of a buffer above this go back after the call


class Pool:
    """The bytes that some buffers may have together.

    Args:
        most: bytes.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._lock = threading.Lock()

    def grow(self, old: int, new: int) -> bool:
        """Whether a buffer may become larger; counted where it may."""
        with self._lock:
            if self.taken - old + new > self.most:
                return False
            self.taken += new - old
            return True


class Buffer:
    """Memory for the tensors of one call, of one stage; used by one thread at a time.

    Args:
        number: that no other buffer of the same processes has.
        pool: that it is counted in.
    """

    def __init__(self, number: int, pool: Pool) -> None:
        self.number = number
        self.edition = 0  # rises when it is another region of memory
        self.handle = -1
        self.memory: mmap.mmap | None = None
        self._pool = pool

    @property
    def size(self) -> int:
        """Bytes."""
        return 0 if self.memory is None else len(self.memory)

    def hold(self, size: int) -> bool:
        """Have room for `size` bytes; what is in it may be gone. False where the pool is full."""
        if size <= self.size and self.memory is not None:
            return True
        memory, handle = region(size)
        if not self._pool.grow(self.size, len(memory)):
            os.close(handle)
            return False
        self._drop()
        self.memory, self.handle = memory, handle
        self.edition += 1
        return True

    def put(self, arrays: Sequence[Any]) -> int:
        """Write arrays into it; how many bytes they took.

        Raises:
            InvalidError: they are more than the pool has room for.
        """
        packed = Packed(arrays)
        if not self.hold(packed.size):
            raise InvalidError(
                f"tensors of {packed.size} bytes are more than all calls at a time may have "
                f"({self._pool.most} bytes: the setting buffers_mib)"
            )
        assert self.memory is not None  # noqa: S101 - `hold` made it
        packed.write(self.memory)
        return packed.size

    def read(self, specs: Sequence[TensorSpec], *, own: bool) -> list[Any]:
        """The arrays in it, judged.

        Raises:
            CrashedError: whoever wrote it broke the protocol.
        """
        assert self.memory is not None  # noqa: S101 - written before it is read
        return unpack(self.memory, specs, own=own)

    def rest(self) -> None:
        """Give the pages of a large one back; it stays where it is."""
        if self.memory is not None and len(self.memory) > _KEPT:
            self.memory.madvise(mmap.MADV_REMOVE)

    def close(self) -> None:
        """Give it back."""
        if self.memory is not None:
            self._pool.grow(self.size, 0)
            self._drop()

    def _drop(self) -> None:
        if self.memory is not None:
            self.memory = None
            os.close(self.handle)


class Relay(Worker):
    """A `Worker` that reads and writes shared buffers."""

    def __init__(
        self, program: Program, ended: Callable[[str], None], modules: tuple[str, ...] = ()
    ) -> None:
        self._known: dict[int, int] = {}  # number of a buffer -> the edition that it has
        super().__init__(program, ended, modules)

    def relay(self, source: Buffer, into: Buffer) -> None:
        """Run the model once on what is in `source`; other threads wait.

        Raises:
            InvalidError: the model refuses these values.
            CrashedError: it failed, or gave more than there is room for; its process lives.
            DeadlineError: it took too long, and its process was ended.
            UnavailableError: its process died.
        """
        if not into.hold(1):
            raise CrashedError("there is no room left for what the stage gives: raise buffers_mib")
        with self._lock:
            self._number += 1
            until = time.monotonic() + self._program.call_s
            words = [2 * one.number + self._fresh(one) for one in (source, into)]
            handles = [one.handle for one in (source, into) if self._fresh(one)]
            self._say(wire.pack(Word.RELAY, self._number, *words), handles)
            for one in (source, into):
                self._known[one.number] = one.edition
            self._finished(into, until)
            try:
                into.read(self._outputs, own=False)
            except CrashedError as error:
                raise self._broken(error.message.partition(": ")[2]) from error

    def _fresh(self, buffer: Buffer) -> bool:
        return self._known.get(buffer.number) != buffer.edition

    def _finished(self, into: Buffer, until: float) -> None:
        while True:
            message = self._hear(until, "for this request", deadline=True)
            word, number, size, _ = wire.unpack(message)
            if number != self._number:
                raise self._broken("it answers what nobody asked")
            if word == Word.ERROR:
                raise judged(wire.data_of(message), loading=False)
            if word == Word.DONE:
                return
            if word != Word.MORE:
                raise self._broken("it says what it may not say")
            if not 0 < size <= self._program.tensor_bytes or not into.hold(size):
                self._say(wire.pack(Word.REGION, self._number))
                continue
            self._say(wire.pack(Word.REGION, self._number), [into.handle])
            self._known[into.number] = into.edition


def relay_of(worker: Worker) -> Relay:
    """A keeper's worker, where its kind is `Relay`."""
    if not isinstance(worker, Relay):
        raise UnavailableError("the process is no stage's")
    return worker
