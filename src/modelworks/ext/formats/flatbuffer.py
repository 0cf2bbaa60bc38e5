"""Reads flatbuffers of strangers: every offset that a generated reader follows is checked first.

A flatbuffer is a web of offsets that readers in C++ follow without a look. Here the Python reader
that flatc generated is run once over the whole file with a table class that refuses whatever leads
out of the file, so that afterwards every field that C++ can ask for is known to lie inside.
"""

import importlib.util
import threading
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import flatbuffers
from flatbuffers import encode, packer
from flatbuffers import number_types as numbers
from flatbuffers.table import Table

from modelworks.core.errors import InvalidError

_one_at_a_time: Final = threading.Lock()
_MOST_TABLES: Final = 100_000
_MOST_ELEMENTS: Final = 3_000_000  # read one by one; vectors of numbers are not counted


class Budget:
    """How much of a file may be read: offsets that share their targets make small files endless."""

    def __init__(self) -> None:
        self._tables = _MOST_TABLES
        self._elements = _MOST_ELEMENTS

    def table(self) -> None:
        """One table more."""
        self._tables -= 1
        if self._tables < 0:
            raise InvalidError(f"the file has more than {_MOST_TABLES} tables")

    def element(self) -> None:
        """One value more."""
        self._elements -= 1
        if self._elements < 0:
            raise InvalidError(f"the file has more than {_MOST_ELEMENTS} values in its tables")


class Checked(Table):  # type: ignore[misc] # flatbuffers has no types
    """A table whose every read is inside of the file; the names are those of `flatbuffers`."""

    __slots__ = ("_budget",)

    def __init__(self, buf: Any, pos: int, budget: Budget) -> None:
        super().__init__(buf, pos)
        self._budget = budget
        budget.table()
        vtable = pos - self.Get(numbers.SOffsetTFlags, pos)
        size = self.Get(numbers.VOffsetTFlags, vtable)
        inline = self.Get(numbers.VOffsetTFlags, vtable + 2)
        self._inside(vtable, size)
        self._inside(pos, inline)
        if size < 4 or size % 2 or inline < 4:
            raise InvalidError("a table of the file is damaged")
        for slot in range(4, size, 2):
            if self.Get(numbers.VOffsetTFlags, vtable + slot) >= inline:
                raise InvalidError("a table of the file is damaged")

    def _inside(self, start: int, length: int) -> None:
        if start < 0 or length < 0 or start + length > len(self.Bytes):
            raise InvalidError("an offset in the file leads out of it")

    def Get(self, flags: Any, off: int) -> Any:  # noqa: N802 - flatbuffers' name
        """A number at a position."""
        self._budget.element()
        self._inside(off, flags.bytewidth)
        return flags.py_type(encode.Get(flags.packer_type, self.Bytes, off))

    def Indirect(self, off: int) -> int:  # noqa: N802 - flatbuffers' name
        """The position that an offset at a position leads to."""
        self._inside(off, 4)
        return off + int(encode.Get(packer.uoffset, self.Bytes, off))

    def String(self, off: int) -> bytes:  # noqa: N802 - flatbuffers' name
        """A string, which C++ reads up to its zero byte."""
        self._budget.element()
        start = self.Indirect(off)
        length = self.Get(numbers.UOffsetTFlags, start)
        self._inside(start + 4, length + 1)
        if self.Bytes[start + 4 + length] != 0:
            raise InvalidError("a string in the file has no end")
        return bytes(self.Bytes[start + 4 : start + 4 + length])

    def VectorLen(self, off: int) -> int:  # noqa: N802 - flatbuffers' name
        """How many elements a vector has; that they are there is seen as each is read."""
        return int(self.Get(numbers.UOffsetTFlags, self.Indirect(off + self.Pos)))

    def Vector(self, off: int) -> int:  # noqa: N802 - flatbuffers' name
        """Where a vector's elements begin."""
        start = self.Indirect(off + self.Pos)
        self._inside(start, 4)
        return start + 4

    def GetVectorAsNumpy(self, flags: Any, off: int) -> Any:  # noqa: N802 - flatbuffers' name
        """A vector of numbers, not copied."""
        self._budget.element()
        start, length = self.Vector(off), self.VectorLen(off)
        self._inside(start, length * flags.bytewidth)
        return encode.GetVectorAsNumpy(numbers.to_numpy_type(flags), self.Bytes, length, start)

    def Union(self, t2: Table, off: int) -> None:  # noqa: N802 - flatbuffers' name
        """Let another table point at a union's value."""
        t2.Pos = self.Indirect(off + self.Pos)
        t2.Bytes = self.Bytes


@cache
def _source(module: str) -> Any:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module.partition(".")[0])
    return spec


@cache
def _private(module: str) -> ModuleType:
    """A copy of the generated reader that is ours alone: the library's own stays as it is."""
    spec = _source(module)
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


def unpack(module: str, root: str, data: Any) -> Any:
    """Read a whole flatbuffer.

    Args:
        module: the reader that flatc generated, with its object API.
        root: name of the root table.
        data: the file: bytes, or a memory map.

    Returns:
        The root as flatc's plain object (`ModelT`); vectors of numbers are views of `data`.

    Raises:
        InvalidError: cut short, or an offset leads out of the file.
        ModuleNotFoundError: there is no such reader.
    """
    if len(data) < 8:
        raise InvalidError("the file is too short")
    position = int(encode.Get(packer.uoffset, data, 0))
    budget = Budget()
    names = {name: getattr(flatbuffers, name) for name in ("encode", "number_types", "packer")}
    table = SimpleNamespace(Table=lambda buf, pos: Checked(buf, pos, budget))
    with _one_at_a_time:  # the copy knows one budget; models may be loaded side by side
        reader: Any = _private(module)
        reader.flatbuffers = SimpleNamespace(table=table, util=flatbuffers.util, **names)
        start = getattr(reader, root)()
        start.Init(data, position)
        return getattr(reader, f"{root}T").InitFromObj(start)
