"""The states of a recurrent model: which tensors they are, and what a sequence begins with."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.seams import Elsewhere, Session, Watchable
from modelworks.core.served import ServedModel
from modelworks.core.stateful import ZEROS, Sequences, State
from modelworks.core.tensor import Datatype, Signature, Tensors, TensorSpec
from modelworks.protocol.tensors import DTYPES

_LARGEST: Final = 256 << 20  # bytes of what a sequence begins with


class States:
    """Which tensors of a model are its states.

    Args:
        sequences: as declared.
        signature: of the model, the batch of states on axis 0.
        folder: that the model lies in.

    Attributes:
        public: what callers see: the signature without states.
        initial: input name -> array [1, ...] that a sequence begins with.

    Raises:
        InvalidError: what was declared does not fit the model; it names the state.
    """

    def __init__(self, sequences: Sequences, signature: Signature, folder: Path) -> None:
        inputs = {spec.name: spec for spec in signature.inputs}
        outputs = {spec.name: spec for spec in signature.outputs}
        self.initial: dict[str, Any] = {}
        for place, state in enumerate(sequences.state):
            where = f"sequences.state[{place}]"
            given = _named(inputs, state.input, f"{where}.input")
            made = _named(outputs, state.output, f"{where}.output")
            _check(given, made, where)
            self.initial[given.name] = _initial(state, given, folder, where)
        names = set(self.initial), {state.output for state in sequences.state}
        self.public = replace(
            signature,
            inputs=tuple(spec for spec in signature.inputs if spec.name not in names[0]),
            outputs=tuple(spec for spec in signature.outputs if spec.name not in names[1]),
        )
        if not self.public.inputs or not self.public.outputs:
            raise InvalidError(
                "sequences.state: every input or every output would be a state: callers have "
                "nothing to send, or to read",
                field="sequences.state",
            )
        order = [spec.name for spec in signature.outputs]
        self._places = [(state.input, order.index(state.output)) for state in sequences.state]
        self._shown = [place for place, name in enumerate(order) if name not in names[1]]

    def split(self, outputs: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
        """What the next request of the sequence gets (copies), and what the caller is told."""
        states = {name: np.array(outputs[place]) for name, place in self._places}
        return states, [outputs[place] for place in self._shown]


def remembering(session: Session, served: ServedModel) -> tuple[Session, States]:
    """A session whose states have their batch on axis 0, and its states.

    Raises:
        InvalidError: what was declared does not fit the model.
    """
    assert served.sequences is not None  # noqa: S101 - the caller looked
    axes = {state.input: state.axis for state in served.sequences.state if state.axis}
    axes |= {state.output: state.axis for state in served.sequences.state if state.axis}
    if axes:
        kind = _Apart if isinstance(session, Watchable) else _Moved
        session = kind(session, axes)
    path = Path(served.path)
    folder = path if path.is_dir() else path.parent
    return session, States(served.sequences, session.signature, folder)


class _Moved:
    """A session whose named tensors have another axis first."""

    def __init__(self, session: Session, axes: dict[str, int]) -> None:
        self._session = session
        signature = session.signature
        self._inputs = _axes(signature.inputs, axes)
        self._outputs = [axes.get(spec.name, 0) for spec in signature.outputs]
        self.signature = replace(
            signature,
            inputs=tuple(_moved(spec, axes) for spec in signature.inputs),
            outputs=tuple(_moved(spec, axes) for spec in signature.outputs),
        )
        self.apart = session.apart

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """See `Session`."""
        given = {
            name: _back(array, self._inputs[name]) if name in self._inputs else array
            for name, array in inputs.items()
        }
        outputs = self._session.infer(given)
        return [
            np.ascontiguousarray(np.moveaxis(array, axis, 0)) if axis else array
            for array, axis in zip(outputs, self._outputs, strict=True)
        ]

    def close(self) -> None:
        """See `Session`."""
        self._session.close()


class _Apart(_Moved):
    """The same of a session whose model lives in another process."""

    def watch(self, changed: Callable[[str], None]) -> None:
        """See `Watchable`."""
        if isinstance(self._session, Watchable):
            self._session.watch(changed)

    def processes(self) -> tuple[int, ...]:
        """See `Elsewhere`."""
        return self._session.processes() if isinstance(self._session, Elsewhere) else ()


def _axes(specs: Sequence[TensorSpec], axes: dict[str, int]) -> dict[str, int]:
    return {spec.name: axes[spec.name] for spec in specs if spec.name in axes}


def _back(array: Any, axis: int) -> Any:
    return np.ascontiguousarray(np.moveaxis(array, 0, axis))


def _moved(spec: TensorSpec, axes: dict[str, int]) -> TensorSpec:
    axis = axes.get(spec.name, 0)
    if not axis:
        return spec
    if axis >= len(spec.shape):
        raise InvalidError(
            f"sequences.state: '{spec.name}' has {len(spec.shape)} axes, so axis {axis} is none",
            field="sequences.state",
        )
    shape = list(spec.shape)
    shape.insert(0, shape.pop(axis))
    return replace(spec, shape=tuple(shape))


def _named(specs: dict[str, TensorSpec], name: str, where: str) -> TensorSpec:
    found = specs.get(name)
    if found is None:
        raise InvalidError(
            f"{where}: the model has no '{name[:60]}': there is {', '.join(specs)}"[:400],
            field=where,
        )
    return found


def _check(given: TensorSpec, made: TensorSpec, where: str) -> None:
    if given.datatype is not made.datatype or given.datatype is Datatype.BYTES:
        raise InvalidError(
            f"{where}: '{made.name}' is {made.datatype} and '{given.name}' {given.datatype}: a "
            "state is given back as it came, and is no text",
            field=where,
        )
    if given.shape and given.shape[0] not in {None, 1}:
        raise InvalidError(
            f"{where}.axis: '{given.name}' has length {given.shape[0]} where its batch would be: "
            "say the axis that is free, or 1",
            field=f"{where}.axis",
        )
    same = len(given.shape) == len(made.shape) > 0 and all(
        one == two or None in {one, two} for one, two in zip(given.shape, made.shape, strict=True)
    )
    if not same:
        raise InvalidError(
            f"{where}: '{made.name}' has the shape {list(made.shape)} and '{given.name}' "
            f"{list(given.shape)}: a state is given back as it came",
            field=where,
        )


def _initial(state: State, spec: TensorSpec, folder: Path, where: str) -> Any:
    dtype = DTYPES[spec.datatype]
    # A free axis begins empty, the batch with one row.
    shape = [1 if spec.shape[0] is None else spec.shape[0], *(n or 0 for n in spec.shape[1:])]
    if prod(shape) * dtype.itemsize > _LARGEST:
        raise InvalidError(f"{where}: a state of {shape} is over 256 MiB", field=where)
    if state.initial == ZEROS:
        return np.zeros(shape, dtype)
    path = folder / state.initial
    try:
        if path.stat().st_size > _LARGEST:
            raise InvalidError(f"{where}.initial: {path.name} is over 256 MiB", field=where)
        read = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidError(
            f"{where}.initial: {path.name} beside the model cannot be read: {error}"[:300],
            field=f"{where}.initial",
        ) from error
    array = read[np.newaxis] if isinstance(read, np.ndarray) else None
    if array is None or array.dtype != dtype or not _fits(array.shape, spec.shape):
        kind = "no array" if array is None else f"{array.dtype} {list(array.shape[1:])}"
        raise InvalidError(
            f"{where}.initial: {path.name} holds {kind}; '{spec.name}' takes {dtype} "
            f"{list(spec.shape[1:])}, without the batch",
            field=f"{where}.initial",
        )
    return array


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(
        need is None or have == need for have, need in zip(shape, wanted, strict=True)
    )
