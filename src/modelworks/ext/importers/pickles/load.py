"""Unpickles what an allow-list permits, and refuses everything else before it exists.

The loader is the pure Python one of the standard library, so that each opcode that calls or
changes something can be looked at: nothing is called that `find_class` did not hand out, no class
or function is modified, no object is built twice, numpy's descriptors are checked against freshly
made ones. It reads joblib's files too, whose arrays stand raw between the opcodes.
It is a defence in depth, not a proof: constructors and `__setstate__` of the classes on the list
still run, which is why files that run code are opened in the sandbox only. Where the owner vouches
for a file (`trust`), what no list knows runs as well; what is dangerous is still refused, by
whatever name it was reached.
"""

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from modelworks.core.errors import InvalidError, ModelworksError, RefusedError
from modelworks.core.scans import Scan
from modelworks.ext.importers.pickles.allow import AllowList
from modelworks.ext.importers.pickles.gate import Gate, modern
from modelworks.ext.importers.pickles.judge import judge
from modelworks.ext.importers.pickles.machine import ARRAY, DEPTH, PYTHON_3, trick
from modelworks.ext.importers.pickles.stream import LIMIT, Stream
from modelworks.ext.importers.reasons import reason

_PIECE = 16 << 20  # bytes of an array read at once


class _ArrayHere:
    """Stands for joblib's NumpyArrayWrapper: a raw array follows in the stream."""

    subclass: Any
    shape: Any
    order: Any
    dtype: Any
    numpy_array_alignment_bytes: Any = None


def _latin1(text: str, encoding: str) -> bytes:
    """What `_codecs.encode` is needed for, and nothing more."""
    if encoding != "latin1" or not isinstance(text, str):
        raise RefusedError(f"_codecs.encode to {encoding!r}: only latin1 is allowed")
    return text.encode("latin1")


_REPLACED: dict[str, Any] = {"_codecs.encode": _latin1, ARRAY: _ArrayHere}


def load_allowed(path: Path, allowed: AllowList, limit: int = LIMIT) -> Any:
    """The object in a pickle or joblib file; see `load_named`."""
    return load_named(path, allowed, limit=limit)[0]


def load_named(
    path: Path, allowed: AllowList, *, trust: bool = False, limit: int = LIMIT
) -> tuple[Any, Scan]:
    """The object in a pickle or joblib file, compressed or not, and the scan that let it pass.

    Args:
        path: the file.
        allowed: everything that it may name.
        trust: the owner vouches for the file: what is unknown is opened too.
        limit: bytes of its inflated content.

    Raises:
        RefusedError: it names something that may not be opened (the name is in the message), or
            uses a trick that no honest pickle needs.
        InvalidError: truncated, damaged, or written by versions that do not fit the installed ones.
    """
    scan = judge(path, allowed, trust=trust, limit=limit)
    gate = Gate(path.name, allowed, trust=trust)
    with Stream(path, limit) as stream:
        found = _load(stream, gate)
    if unseen := set(gate.asked) - set(scan.names):
        raise trick(path.name, f"names {min(unseen)[:80]} when it is loaded and not before")
    return found, scan


def _load(stream: Stream, gate: Gate) -> Any:
    try:
        return _Unpickler(stream, gate).load()
    except ModelworksError:
        raise
    except (EOFError, pickle.UnpicklingError) as error:
        raise InvalidError(
            f"{stream.name}: truncated or no pickle ({reason(error)})", field="file"
        ) from error
    except MemoryError as error:
        raise InvalidError(
            f"{stream.name}: asks for more memory than is allowed", field="file"
        ) from error
    except Exception as error:
        raise InvalidError(
            f"{stream.name}: damaged, or written by a version of {gate.allowed.family} that the "
            f"installed one does not understand ({reason(error)})",
            field="file",
        ) from error


class _Unpickler(pickle._Unpickler):  # noqa: SLF001 - the C one cannot be looked into
    """One stream, one gate."""

    # what the stubs do not know of the base class
    proto: int
    stack: list[Any]
    metastack: list[list[Any]]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    readinto: Callable[[bytearray], int]

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)  # noqa: SLF001 - as above

    def __init__(self, stream: Stream, gate: Gate) -> None:
        super().__init__(stream)
        self._stream = stream
        self._gate = gate
        self._resolved: dict[int, Any] = {}  # what find_class handed out, by id
        self._built: dict[int, Any] = {}  # what BUILD has changed, kept alive so ids stay unique

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a name that may be resolved."""
        module, name = modern(module, name, python2=self.proto < PYTHON_3)
        found = self._gate.resolve(module, name)
        found = _REPLACED.get(f"{module}.{name}", found)
        self._resolved[id(found)] = found
        return found

    def _refuse(self, what: str) -> RefusedError:
        return trick(self._stream.name, what)

    def persistent_load(self, pid: Any) -> Any:
        """Refuse: only the program that wrote the pickle knows what is meant."""
        raise self._refuse(f"holds a persistent id of type {type(pid).__name__}")

    def get_extension(self, code: int) -> None:
        """Refuse: extension codes hide names."""
        raise self._refuse(f"uses copyreg extension code {code}")

    # -- opcodes that call or change something ---------------------------------------------------

    def _known(self, target: Any) -> None:
        if id(target) in self._resolved:
            return
        if not self._gate.trust:
            raise self._refuse(f"calls a {type(target).__name__} that it did not name")
        self._gate.refuse_dangerous(target)  # cloudpickle calls what it has made

    def _instantiate(self, klass: Any, args: tuple[Any, ...]) -> None:
        self._known(klass)
        super()._instantiate(klass, args)  # type: ignore[misc] # not in the stubs

    def load_reduce(self) -> None:
        """REDUCE: call a function or class from the list."""
        self._known(self.stack[-2])
        super().load_reduce()  # type: ignore[misc] # not in the stubs

    def load_newobj(self) -> None:
        """NEWOBJ: `cls.__new__(cls, *args)`."""
        self._known(self.stack[-2])
        super().load_newobj()  # type: ignore[misc] # not in the stubs

    def load_newobj_ex(self) -> None:
        """NEWOBJ_EX: the same with keywords."""
        self._known(self.stack[-3])
        super().load_newobj_ex()  # type: ignore[misc] # not in the stubs

    def load_bytearray8(self) -> None:
        """BYTEARRAY8: never allocate more than the file can hold."""
        size = int.from_bytes(self.read(8), "little")
        if size > self._stream.at_most + _PIECE:
            raise EOFError(f"{size} bytes announced")
        data = bytearray(size)
        self.readinto(data)
        self.append(data)

    def load_mark(self) -> None:
        """MARK: bounded nesting."""
        if len(self.metastack) > DEPTH:
            raise self._refuse(f"nests deeper than {DEPTH}")
        super().load_mark()  # type: ignore[misc] # not in the stubs

    def load_build(self) -> None:
        """BUILD: give an instance its state, once."""
        target = self.stack[-2]
        if id(target) in self._resolved or (isinstance(target, type) and not self._gate.trust):
            raise self._refuse("changes a class or a function")
        if id(target) in self._built:
            raise self._refuse("builds one object twice")
        super().load_build()  # type: ignore[misc] # not in the stubs
        self._built[id(target)] = target
        if isinstance(target, np.dtype) and not _sound(target):
            raise self._refuse("holds a numpy dtype with a contradictory layout")
        if isinstance(target, _ArrayHere):
            self.stack[-1] = self._array(target)

    def _array(self, here: _ArrayHere) -> Any:
        """Read the raw array that joblib wrote after its wrapper."""
        shape, dtype = here.shape, here.dtype
        sizes = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not sizes or not isinstance(dtype, np.dtype) or here.order not in {"C", "F"}:
            raise self._refuse("describes an array that cannot be")
        if dtype.hasobject:
            return self._objects()
        if here.numpy_array_alignment_bytes is not None:
            self._stream.read(int.from_bytes(self._stream.read(1), "little"))
        count = math.prod(shape)
        if count * dtype.itemsize > self._stream.at_most:
            raise EOFError(f"an array of {count} elements is announced")
        raw = bytearray(count * dtype.itemsize)
        view = memoryview(raw)
        for start in range(0, len(raw), _PIECE):
            part = view[start : start + _PIECE]
            if self._stream.readinto(part) < len(part):
                raise EOFError("an array ends too early")
        if dtype.itemsize == 0:
            return np.empty(shape, dtype)
        flat = np.frombuffer(raw, dtype)
        array = flat.reshape(shape) if here.order == "C" else flat.reshape(shape[::-1]).T
        return array if dtype.isnative else array.astype(dtype.newbyteorder("="))

    def _objects(self) -> Any:
        """An array of Python objects is a pickle of its own, under the same rules."""
        array = _Unpickler(self._stream, self._gate).load()
        if not isinstance(array, np.ndarray):
            raise self._refuse("holds something else where an array is announced")
        return array

    for _code, _method in (
        (pickle.REDUCE, load_reduce),
        (pickle.NEWOBJ, load_newobj),
        (pickle.NEWOBJ_EX, load_newobj_ex),
        (pickle.BYTEARRAY8, load_bytearray8),
        (pickle.MARK, load_mark),
        (pickle.BUILD, load_build),
    ):
        dispatch[_code[0]] = _method


def _sound(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype that was given its state is one that numpy itself would make.

    `dtype.__setstate__` believes what it is told: fields outside the element, or objects passed
    off as numbers, which would turn bytes of the file into pointers.
    """
    fresh = _fresh(dtype)
    return (
        fresh == dtype
        and fresh.flags == dtype.flags
        and fresh.itemsize == dtype.itemsize
        and fresh.hasobject == dtype.hasobject
    )


def _fresh(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return np.dtype((_fresh(base), shape))
    if dtype.fields is None or dtype.names is None:
        return np.dtype(dtype.str) if dtype.kind != "O" else np.dtype(object)
    parts = [dtype.fields[name] for name in dtype.names]
    return np.dtype(
        {
            "names": list(dtype.names),
            "formats": [_fresh(part[0]) for part in parts],
            "offsets": [part[1] for part in parts],
            "itemsize": dtype.itemsize,
        },
        align=dtype.isalignedstruct,
    )
