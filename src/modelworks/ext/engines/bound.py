"""A session's calls on tensors that stay: nothing is made, looked up or given back for a call.

`InferenceSession.run` makes an OrtValue of every array and an array of every OrtValue. For a small
model that is a third of the call: measured on 100 trees and one row, 6.1 us against 8.9, and the
same 2.5 us less up to some thirty rows.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from modelworks.core.seams import Session
from modelworks.core.tensor import Signature, Tensors

_MOST_ROWS: Final = 32
_MOST_BYTES: Final = 64 * 1024  # of the tensors of one number of rows
_SEEN: Final = 8  # calls of so many rows, before tensors are kept for them
_NUMBERS: Final = "biuf"  # numpy's kinds


class Bound:
    """The calls of one number of rows.

    Args:
        session: that is called.
        inputs: name -> array, as they will come.
        outputs: name -> array, as they came.
    """

    __slots__ = ("_binding", "_inputs", "_kept", "_outputs", "_run")

    def __init__(self, session: ort.InferenceSession, inputs: Tensors, outputs: Tensors) -> None:
        binding = session.io_binding()
        self._inputs = [(name, np.empty_like(array)) for name, array in inputs.items()]
        self._outputs = [np.empty_like(array) for array in outputs.values()]
        self._kept: list[ort.OrtValue] = []  # the binding does not keep them alive
        for name, array in self._inputs:
            self._kept.append(ort.OrtValue.ortvalue_from_numpy(array))
            binding.bind_ortvalue_input(name, self._kept[-1])
        for name, array in zip(outputs, self._outputs, strict=True):
            self._kept.append(ort.OrtValue.ortvalue_from_numpy(array))
            binding.bind_ortvalue_output(name, self._kept[-1])
        # As in `OnnxRuntimeSession`: what does not change is not asked for again in every call.
        self._binding = binding._iobinding  # noqa: SLF001 - measured
        self._run: Callable[..., None] = session._sess.run_with_iobinding  # noqa: SLF001 - the same

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run; the arrays it returns are those of its next call too.

        Raises:
            Exception: anything; the caller asks the plain session.
        """
        for name, array in self._inputs:
            given = inputs[name]
            if given.shape != array.shape:  # numpy would stretch it
                raise ValueError(f"{name}: {given.shape} is not {array.shape}")
            np.copyto(array, given, "equiv")
        self._run(self._binding, None)
        return self._outputs


class ReusingSession:
    """A session whose outputs are valid until its next call; fulfils `core.seams.Session`.

    Args:
        plain: the session that it stands for; runs whatever is unusual, and says what is wrong.
        session: onnxruntime's own.
    """

    def __init__(self, plain: Session, session: ort.InferenceSession) -> None:
        self.signature: Signature = plain.signature
        self.apart = plain.apart
        self._plain = plain
        self._session: ort.InferenceSession | None = session
        self._first = plain.signature.inputs[0].name
        self._bound: dict[int, Bound] = {}
        self._seen = [0] * (_MOST_ROWS + 1)

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run once; see `core.seams.Session.infer`."""
        rows = len(inputs[self._first])
        bound = self._bound.get(rows)
        if bound is None:
            return self._unbound(rows, inputs)
        try:
            return bound.infer(inputs)
        except Exception:  # noqa: BLE001 - onnxruntime has no base of its own; `plain` says it well
            self._forget()
            return self._plain.infer(inputs)

    def _unbound(self, rows: int, inputs: Tensors) -> Sequence[Any]:
        outputs = self._plain.infer(inputs)
        if self._session is not None and rows <= _MOST_ROWS:
            self._seen[rows] += 1
            if self._seen[rows] == _SEEN and _fits(rows, [*inputs.values(), *outputs]):
                names = [spec.name for spec in self.signature.outputs]
                named = dict(zip(names, outputs, strict=True))
                self._bound[rows] = Bound(self._session, inputs, named)
        return outputs

    def _forget(self) -> None:
        """Keep no tensors any more: this model's outputs are not always of one shape."""
        self._bound.clear()
        self._session = None

    def close(self) -> None:
        """Close the session that it stands for."""
        self._forget()
        self._plain.close()


def bindable(signature: Signature) -> bool:
    """Whether every call of so many rows has tensors of the same shapes."""
    return signature.batch_axis and all(None not in spec.shape[1:] for spec in signature.inputs)


def _fits(rows: int, arrays: Sequence[Any]) -> bool:
    plain = all(a.dtype.kind in _NUMBERS and a.shape[:1] == (rows,) for a in arrays)
    return plain and sum(array.nbytes for array in arrays) <= _MOST_BYTES
