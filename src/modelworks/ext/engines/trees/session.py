"""One forest in memory: rows in, labels and numbers out."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np

from modelworks.core.errors import UNLOADED, CrashedError, UnavailableError
from modelworks.core.seams import Session
from modelworks.core.tensor import Datatype, Signature, Tensors
from modelworks.ext.engines.agreement import conform, nothing, trim
from modelworks.ext.engines.trees.kernel import LANES
from modelworks.ext.engines.trees.layout import Planted
from modelworks.ext.formats.trees import PAIRS, Before, Change, Forest

_KEPT: Final = 32  # rows of calls whose arrays are kept
_LARGEST: Final = 64 * 1024  # bytes of their rows
_SHARE: Final = 64  # rows at least that another thread is woken for
_TOGETHER: Final = 4096  # rows of a longer call that are done at a time: their sums stay near


class TreesSession:
    """The arrays it takes and gives follow `core.seams.Session`."""

    apart = False

    def __init__(self, forest: Forest, signature: Signature, threads: int = 1) -> None:
        about = forest.about
        self.signature = signature
        self._texts: Any = None
        labels = np.zeros(1, np.int64)
        if about.labels and isinstance(about.labels[0], str):
            self._texts = np.array([str(one).encode() for one in about.labels], object)
            labels = np.arange(len(about.labels))
        elif about.labels:
            labels = np.array(about.labels, np.int64)
        self._planted: Planted | None = Planted(forest, labels)
        self._width = about.width
        self._columns = 2 if about.ending in PAIRS else self._planted.sums
        self._wanted = [spec.name == about.label for spec in signature.outputs]
        self._real = np.dtype(np.float64 if about.double else np.float32)
        self._before = tuple(_Changing(change, self._real) for change in about.before)
        kind = Datatype.FP64 if about.double else Datatype.FP32
        self._plain = [spec.datatype for spec in about.signature.inputs] == [kind]
        self._order = [spec.name for spec in about.signature.inputs]
        self._slots: dict[int, _Slot] = {}
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        if threads > 1:
            self._pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="trees")

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run once; see `core.seams.Session.infer`."""
        found = self._kept(inputs)
        return self._new(inputs) if found is None else [array.copy() for array in found]

    def reusing(self) -> Session:
        """See `core.seams.Reusable`."""
        return _Reusing(self)

    def close(self) -> None:
        """Drop the forest and hand free pages back to the system."""
        if self._planted is not None:
            self._planted = None
            self._slots.clear()
            if self._pool is not None:
                self._pool.shutdown()
            trim()

    def kept(self, inputs: Tensors) -> Sequence[Any]:
        """As `infer`; outputs may be those of the next call too."""
        found = self._kept(inputs)
        return self._new(inputs) if found is None else found

    def _kept(self, inputs: Tensors) -> list[Any] | None:
        """The short way of few plain rows; None = the long one."""
        if not self._plain or len(inputs) != 1:
            return None
        x = inputs.get(self._order[0])
        if not isinstance(x, np.ndarray) or x.dtype != self._real or x.ndim != 2:
            return None
        rows, width = x.shape
        if width != self._width:
            return None
        slot = self._slots.get(rows)
        if slot is None:
            planted = self._planted
            if not 1 <= rows <= _KEPT or x.nbytes > _LARGEST or planted is None:
                return None
            slot = self._slots[rows] = _Slot(planted, np.empty(x.shape, self._real), self._columns)
        slot.x[...] = x
        for change in self._before:
            change(slot.x)
        slot.run()
        return self._outputs(slot.label, slot.output)

    def _new(self, inputs: Tensors) -> list[Any]:
        """Any rows, checked."""
        planted = self._planted
        if planted is None:
            raise UnavailableError(UNLOADED)
        given = conform(inputs, self.signature)
        if any(array.size == 0 for array in given.values()):
            return nothing(given, self.signature)
        try:
            return self._outputs(*self._run(planted, self._matrix(given)))
        except MemoryError as error:
            raise CrashedError("the engine ran out of memory") from error

    def _run(self, planted: Planted, x: Any) -> tuple[Any, Any]:
        """Label and output; rows are shared among the threads, which changes no row's answer."""
        label, output = np.empty(len(x), np.int64), np.empty((len(x), self._columns), np.float32)
        share = max(_SHARE, -(-len(x) // (self._threads * LANES)) * LANES)
        shares = [slice(at, at + share) for at in range(0, len(x), share)]
        others = [] if self._pool is None else shares[1:]
        waiting = [
            self._pool.submit(self._part, planted, x[part], label[part], output[part])
            for part in others
            if self._pool is not None
        ]
        mine = shares[0] if others else slice(None)
        self._part(planted, x[mine], label[mine], output[mine])
        for one in waiting:
            one.result()
        return label, output

    def _part(self, planted: Planted, x: Any, label: Any, output: Any) -> None:
        """Some rows, by this thread."""
        rows = min(_TOGETHER, -(-len(x) // LANES) * LANES)
        sums = np.empty((planted.sums, rows), self._real)
        for at in range(0, len(x), _TOGETHER):
            part = slice(at, at + _TOGETHER)
            ends = [array[part].ctypes.data for array in (x, label, output)]
            planted.run(planted.address, ends[0], len(x[part]), sums.ctypes.data, *ends[1:])

    def _matrix(self, given: Tensors) -> Any:
        """All columns beside each other, as the trees take them; a copy where they change."""
        arrays = [np.asarray(given[name], self._real) for name in self._order]
        x = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)
        if self._before:
            x = np.array(x)
            for change in self._before:
                change(x)
        return np.ascontiguousarray(x)

    def _outputs(self, label: Any, output: Any) -> list[Any]:
        found = []
        for labelled in self._wanted:
            if not labelled:
                found.append(output)
            else:
                found.append(label if self._texts is None else self._texts[label])
        return found


class _Slot:
    """The arrays of calls of so many rows, and where they are: nothing is looked up for a call."""

    __slots__ = ("_given", "_planted", "_run", "_sums", "label", "output", "x")

    def __init__(self, planted: Planted, x: Any, columns: int) -> None:
        self.x, rows = x, len(x)
        self.label = np.empty(rows, np.int64)
        self.output = np.empty((rows, columns), np.float32)
        self._sums = np.empty((planted.sums, LANES), x.dtype)
        addresses = [one.ctypes.data for one in (self.x, self._sums, self.label, self.output)]
        self._given = (planted.address, addresses[0], rows, *addresses[1:])
        self._run = planted.run
        self._planted = planted  # its arrays stay while a call runs, whoever closes the session

    def run(self) -> None:
        self._run(*self._given)


class _Reusing:
    """See `core.seams.Reusable`."""

    apart = False

    def __init__(self, session: TreesSession) -> None:
        self.signature = session.signature
        self.infer = session.kept
        self.close = session.close


class _Changing:
    """What is done to rows, in place."""

    def __init__(self, told: Change, real: Any) -> None:
        self._kind = told.kind
        self._value = real.type(told.value)
        self._offset = np.array(told.offset, real)
        self._factor = np.array(told.factor, real)

    def __call__(self, x: Any) -> None:
        if self._kind is Before.MISSING:
            x[x == self._value] = np.nan
            return
        np.subtract(x, self._offset, out=x)
        np.multiply(x, self._factor, out=x)
