"""Runs a pickle's opcodes on dummies: nothing is imported, called or changed, names are noted.

It is the standard library's own pickle machine, with its stack, memo and frames, so that what is
scanned is what the loader would do: no opcode can mean one thing here and another there. It keeps
a tape of the opcodes without large contents, for the second scanner.
"""

import math
import pickle
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np

from modelworks.core.errors import RefusedError
from modelworks.ext.importers.pickles.gate import modern, shown

DEPTH = 2_000
"""Marks that may be open at once."""

PYTHON_3 = 3
"""Protocols below it write the names of Python 2."""

ARRAY = "joblib.numpy_pickle.NumpyArrayWrapper"
"""The class that says: a raw array follows."""

OPCODES = 20_000_000
"""Opcodes of all pickles in a file."""

_LARGE = 64 << 10  # contents longer than this are not put on the tape
_PIECE = 16 << 20
_KEY = 100_000  # parts of a key, counted as often as they are referred to


class Source(Protocol):
    """What a machine reads from."""

    name: str

    @property
    def at_most(self) -> int:
        """An upper bound of the bytes that are still to come."""
        ...

    def read(self, count: int = -1) -> bytes:
        """Up to `count` bytes; fewer only at the end."""
        ...

    def leftover(self) -> bool:
        """Whether anything follows."""
        ...

    def readinto(self, target: bytearray | memoryview) -> int:
        """Fill `target`; fewer bytes only at the end."""
        ...

    def readline(self) -> bytes:
        """Up to and with the next newline."""
        ...


class Dummy:
    """Stands for whatever a pickle would make.

    Attributes:
        name: of what it stands for, where the pickle named it.
        parts: what it was made of.
        state: of a BUILD.
    """

    __slots__ = ("name", "parts", "state")

    def __init__(self, name: str = "", parts: tuple[Any, ...] = ()) -> None:
        self.name = name
        self.parts = parts
        self.state: Any = None


class Notes:
    """What was seen, in all the pickles of a file.

    Attributes:
        names: (module, name) in today's spelling, in order, each with how it was written.
        tapes: opcodes of each pickle, without frames and large contents.
        opcodes: read so far.
    """

    def __init__(self) -> None:
        self.names: dict[tuple[str, str], tuple[str, str]] = {}
        self.tapes: list[tuple[bytearray, set[tuple[str, str]]]] = []
        self.opcodes = 0


class _Tape:
    """Passes reads on and keeps what they gave."""

    def __init__(self, source: Any) -> None:
        self._source = source  # pickle's reader of frames
        self.data = bytearray()
        self.muted = False

    def read(self, count: int) -> bytes:
        return self._kept(self._source.read(count))

    def readline(self) -> bytes:
        return self._kept(self._source.readline())

    def readinto(self, target: bytearray | memoryview) -> int:
        count: int = self._source.readinto(target)
        self._kept(bytes(target[:count]))
        return count

    def _kept(self, data: bytes) -> bytes:
        if not self.muted:
            self.data += data
        return data


class Machine(pickle._Unpickler):  # noqa: SLF001 - the C one cannot be looked into
    """One pickle.

    Args:
        source: read from its present position, to the pickle's STOP.
        notes: shared by all pickles of the file.
        persistent: whether persistent ids are expected, as in PyTorch's files.
    """

    # what the stubs do not know of the base class
    proto: int
    stack: list[Any]
    metastack: list[list[Any]]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    readinto: Callable[[bytearray], int]
    pop_mark: Callable[[], list[Any]]

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)  # noqa: SLF001 - as above

    def __init__(self, source: Source, notes: Notes, *, persistent: bool = False) -> None:
        super().__init__(source)
        self._source = source
        self._notes = notes
        self._persistent = persistent
        self._written: set[tuple[str, str]] = set()
        self._unframer = pickle._Unframer(source.read, source.readline)  # type: ignore[attr-defined] # noqa: SLF001 - not in the stubs
        self._tape = _Tape(self._unframer)
        notes.tapes.append((self._tape.data, self._written))

    def load(self) -> Any:
        """Run to STOP; what the base class does, with the tape between, and counted.

        Raises:
            RefusedError: it does what no honest pickle does.
            Exception: it is damaged; of many kinds, as in pickle itself.
        """
        self.read, self.readline = self._tape.read, self._tape.readline
        self.readinto = self._tape.readinto
        self.metastack, self.stack = [], []
        self.append = self.stack.append
        self.proto = 0
        try:
            while True:
                self._notes.opcodes += 1
                if self._notes.opcodes > OPCODES:
                    raise trick(self._source.name, f"has more than {OPCODES} opcodes")
                key = self.read(1)
                if not key:
                    raise EOFError
                self.dispatch[key[0]](self)
        except pickle._Stop as stop:  # type: ignore[attr-defined] # noqa: SLF001 - as above
            return stop.value

    def find_class(self, module: str, name: str) -> Any:
        """Note a name."""
        self._written.add((module, name))
        found = modern(module, name, python2=self.proto < PYTHON_3)
        self._notes.names.setdefault(found, (module, name))
        return Dummy(".".join(found))

    def persistent_load(self, pid: Any) -> Any:
        """Only the program that wrote the pickle knows what is meant."""
        if not self._persistent:
            raise trick(self._source.name, f"holds a persistent id of type {_kind(pid)}")
        return Dummy("", (pid,))

    def get_extension(self, code: int) -> None:
        """Extension codes hide names."""
        raise trick(self._source.name, f"uses copyreg extension code {code}")

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.append(self._made(klass, tuple(args)))

    def _made(self, function: Any, args: Any) -> Dummy:
        if not isinstance(function, Dummy):
            raise trick(self._source.name, f"calls a {_kind(function)} that it did not name")
        return Dummy(function.name, args if isinstance(args, tuple) else (args,))

    # -- opcodes that would call or change something -----------------------------------------------

    def load_reduce(self) -> None:
        """REDUCE."""
        args = self.stack.pop()
        self.stack[-1] = self._made(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        """NEWOBJ_EX."""
        keywords, args = self.stack.pop(), self.stack.pop()
        self.stack[-1] = self._made(self.stack[-1], (args, keywords))

    def load_build(self) -> None:
        """BUILD; after joblib's wrapper an array follows."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Dummy):
            target.state = state
            if target.name == ARRAY:
                self._array(state if isinstance(state, dict) else {})

    def load_append(self) -> None:
        """APPEND."""
        value = self.stack.pop()
        self._extend([value])

    def load_appends(self) -> None:
        """APPENDS."""
        self._extend(self.pop_mark())

    def load_additems(self) -> None:
        """ADDITEMS."""
        items = self.pop_mark()
        for item in items:
            self._hashed(item)
        if isinstance(self.stack[-1], Dummy):
            self._extend(items)

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Dummy):
            target.parts += tuple(items[:_KEY])
        else:
            raise trick(self._source.name, f"appends to a {_kind(target)}")

    def load_setitem(self) -> None:
        """SETITEM."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        """SETITEMS."""
        self._set(self.pop_mark())

    def load_dict(self) -> None:
        """DICT."""
        items = self.pop_mark()
        self.append({})
        self._set(items)

    def _set(self, items: list[Any]) -> None:
        """Keep what stands under plain keys: no other is asked for, and hashing can be dear."""
        target = self.stack[-1]
        if not isinstance(target, dict | Dummy):
            raise trick(self._source.name, f"sets items of a {_kind(target)}")
        for at in range(0, len(items) - 1, 2):
            key, value = items[at], items[at + 1]
            self._hashed(key)
            if isinstance(target, dict) and isinstance(key, str):
                target[key] = value

    def load_frozenset(self) -> None:
        """FROZENSET."""
        items = self.pop_mark()
        for item in items:
            self._hashed(item)
        self.append(Dummy("builtins.frozenset", tuple(items)))

    def load_empty_set(self) -> None:
        """EMPTY_SET."""
        self.append(Dummy("builtins.set"))

    def _hashed(self, key: Any) -> None:
        if isinstance(key, tuple | Dummy) and unfolded(key, _KEY) > _KEY:
            raise trick(self._source.name, "nests a key so that to hash it takes for ever")

    def load_mark(self) -> None:
        """MARK: bounded nesting."""
        if len(self.metastack) > DEPTH:
            raise trick(self._source.name, f"nests deeper than {DEPTH}")
        super().load_mark()  # type: ignore[misc] # not in the stubs

    # -- contents that are not needed -----------------------------------------------------------

    def load_frame(self) -> None:
        """FRAME: not on the tape, where names stand closer together without."""
        size = int.from_bytes(self.read(8), "little")
        del self._tape.data[-9:]
        self._unframer.load_frame(min(size, sys.maxsize))

    def _content(self, opcode: bytes, width: int, empty: Any) -> None:
        size = int.from_bytes(self.read(width), "little")
        if size <= _LARGE:
            data = self.read(size)
            text = isinstance(empty, str)
            self.append(str(data, "utf-8", "surrogatepass") if text else type(empty)(data))
            return
        if size > self._source.at_most + _PIECE:
            raise EOFError(f"{size} bytes announced")
        del self._tape.data[-1 - width :]
        self._tape.data += opcode + bytes(width)
        self._tape.muted = True
        try:
            self._skip(size, self.read)
        finally:
            self._tape.muted = False
        self.append(empty)

    def _skip(self, size: int, read: Callable[[int], bytes]) -> None:
        while size:
            got = len(read(min(size, _PIECE)))
            if not got:
                raise EOFError("contents end too early")
            size -= got

    def load_binbytes(self) -> None:
        """BINBYTES."""
        self._content(pickle.BINBYTES, 4, b"")

    def load_binbytes8(self) -> None:
        """BINBYTES8."""
        self._content(pickle.BINBYTES8, 8, b"")

    def load_bytearray8(self) -> None:
        """BYTEARRAY8."""
        self._content(pickle.BYTEARRAY8, 8, bytearray())

    def load_binunicode(self) -> None:
        """BINUNICODE."""
        self._content(pickle.BINUNICODE, 4, "")

    def load_binunicode8(self) -> None:
        """BINUNICODE8."""
        self._content(pickle.BINUNICODE8, 8, "")

    def _array(self, state: dict[str, Any]) -> None:
        """Pass over the raw array that joblib wrote after its wrapper."""
        size, objects = _element(state.get("dtype"), self._source.name)
        shape = state.get("shape")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise trick(self._source.name, "describes an array that cannot be")
        if objects:
            Machine(self._source, self._notes).load()
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            self._source.read(int.from_bytes(self._source.read(1), "little"))
        total = math.prod(shape) * size
        if total > self._source.at_most:
            raise EOFError(f"an array of {math.prod(shape)} elements is announced")
        self._skip(total, self._source.read)

    for _code, _method in (
        (pickle.REDUCE, load_reduce), (pickle.NEWOBJ, load_reduce),
        (pickle.NEWOBJ_EX, load_newobj_ex), (pickle.BUILD, load_build),
        (pickle.APPEND, load_append), (pickle.APPENDS, load_appends),
        (pickle.ADDITEMS, load_additems), (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems), (pickle.DICT, load_dict),
        (pickle.FROZENSET, load_frozenset), (pickle.EMPTY_SET, load_empty_set),
        (pickle.MARK, load_mark), (pickle.FRAME, load_frame), (pickle.BINBYTES, load_binbytes),
        (pickle.BINBYTES8, load_binbytes8), (pickle.BYTEARRAY8, load_bytearray8),
        (pickle.BINUNICODE, load_binunicode), (pickle.BINUNICODE8, load_binunicode8),
    ):  # fmt: skip
        dispatch[_code[0]] = _method


def trick(file: str, what: str) -> RefusedError:
    """The error for what only files do that mean harm."""
    return RefusedError(
        f"{file}: {what}, which no honest pickle does: nothing was executed", field="file"
    )


def unfolded(value: Any, limit: int) -> int:
    """Parts of a nested key, each counted as often as it is referred to; stops above `limit`."""
    known: dict[int, int] = {}

    def weigh(each: Any, depth: int) -> int:
        if not isinstance(each, tuple | Dummy):
            return 1
        if id(each) in known:
            return known[id(each)]
        if depth > 100:
            return limit + 1
        known[id(each)] = 1
        parts = each.parts if isinstance(each, Dummy) else each
        total = 1
        for part in parts:
            total += weigh(part, depth + 1)
            if total > limit:
                break
        known[id(each)] = total
        return total

    return weigh(value, 0)


def _element(dtype: Any, file: str) -> tuple[int, bool]:
    """Bytes of one element of a pickled dtype, and whether it holds objects."""
    if not isinstance(dtype, Dummy) or dtype.name != "numpy.dtype" or not dtype.parts:
        raise trick(file, "describes an array that cannot be")
    letter = dtype.parts[0]
    try:
        plain = np.dtype(letter) if isinstance(letter, str) else None
    except TypeError:
        plain = None
    if plain is None:
        raise trick(file, "describes an array that cannot be")
    state = dtype.state if isinstance(dtype.state, tuple) else ()
    size, objects = plain.itemsize, plain.hasobject
    if len(state) >= 8:
        if type(state[5]) is int and state[5] > 0:
            size = state[5]
        fields = state[4] if isinstance(state[4], dict) else {}
        inner = [part[0] for part in fields.values() if isinstance(part, tuple) and part]
        if isinstance(state[2], tuple) and state[2]:
            inner.append(state[2][0])
        objects = objects or any(_element(each, file)[1] for each in inner)
    return size, objects


def _kind(value: Any) -> str:
    return shown(value.name) if isinstance(value, Dummy) else type(value).__name__
