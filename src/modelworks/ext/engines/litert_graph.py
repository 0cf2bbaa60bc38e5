"""A LiteRT interpreter's graph, and what a few runs of it show that its file does not say."""

from itertools import product
from typing import Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from modelworks.core.errors import CrashedError, InvalidError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.ext.engines.agreement import one_line
from modelworks.ext.formats.tflite import Facts, Port
from modelworks.protocol.tensors import DTYPES

_TRIED: Final = (1, 8, 32, 224)  # lengths tried for free axes: not every network takes 1 x 1
_LARGEST_TRY: Final = 50_000_000  # elements of an input
Shapes = tuple[tuple[int, ...], ...]


class Graph:
    """The subgraph that a signature runs; memory is laid out anew only when shapes change.

    Attributes:
        interpreter: of the whole file.
        plain: arrays go in and out by their numbers, as they are.
    """

    def __init__(self, interpreter: Interpreter, facts: Facts) -> None:
        self.interpreter = interpreter
        self._inputs = [port.index for port in facts.inputs]
        self._outputs = [port.index for port in facts.outputs]
        self._kinds = [port.spec.datatype for port in facts.outputs]
        self._stateful = facts.stateful
        texts = any(port.spec.datatype is Datatype.BYTES for port in facts.inputs)
        self.plain = not (facts.subgraph or facts.stateful or texts)
        self._shapes: Shapes | None = None
        self._runner: Any = None
        if facts.subgraph:
            self._runner = interpreter.get_signature_runner(facts.signature)
            self._names = [port.spec.name for port in facts.inputs]
            self._named = [port.spec.name for port in facts.outputs]

    def run(self, inputs: list[Any]) -> list[Any]:
        """One array an output, in the graph's order.

        Raises:
            InvalidError: the model refuses these values or shapes.
            CrashedError: memory.
        """
        try:
            if self._stateful:  # what one caller sent must not change what the next one gets
                self.interpreter.reset_all_variables()
            outputs = self._by_name(inputs) if self._runner is not None else self._by_index(inputs)
        except (MemoryError, RuntimeError, ValueError, TypeError) as error:
            raise self.failure(error) from error
        return [
            texts(array) if kind is Datatype.BYTES else array
            for array, kind in zip(outputs, self._kinds, strict=True)
        ]

    def failure(self, error: Exception) -> InvalidError | CrashedError:
        """What a call that failed is told; memory is laid out anew for the next one."""
        self._shapes = None
        if isinstance(error, MemoryError):
            return CrashedError("the engine ran out of memory")
        reason = one_line(error)
        if "alloc" in reason.lower():
            return CrashedError(f"the engine ran out of memory: {reason}")
        return InvalidError(f"the model refuses this input: {reason}")

    def _by_index(self, inputs: list[Any]) -> list[Any]:
        interpreter = self.interpreter
        shapes = tuple(array.shape for array in inputs)
        if shapes != self._shapes:
            self._shapes = None
            for index, shape in zip(self._inputs, shapes, strict=True):
                interpreter.resize_tensor_input(index, shape)
            interpreter.allocate_tensors()
            if self._stateful:
                interpreter.reset_all_variables()
            self._shapes = shapes
        for index, array in zip(self._inputs, inputs, strict=True):
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._outputs]

    def _by_name(self, inputs: list[Any]) -> list[Any]:
        """A graph other than the first has no way in but its signature's runner."""
        outputs = self._runner(**dict(zip(self._names, inputs, strict=True)))
        return [outputs[name] for name in self._named]


def observed(interpreter: Interpreter, facts: Facts) -> Signature:
    """The signature that the file declares, corrected by what a run of the model shows.

    Writers leave axes of outputs fixed that are not, and declare batch axes that a fixed reshape
    inside does not allow.
    """
    inputs = tuple(port.spec for port in facts.inputs)
    outputs = tuple(port.spec for port in facts.outputs)
    graph = Graph(interpreter, facts)
    free = any(None in spec.shape[1:] for spec in inputs)
    for length in _TRIED if free else (1,):
        first = _attempt(graph, facts, 1, length)
        if first is None:
            continue
        others = [_attempt(graph, facts, 3, length)]
        if others[0] is None and any(spec.shape[:1] == (None,) for spec in inputs):
            inputs = tuple(_fixed(port.spec, port.shape) for port in facts.inputs)
            outputs = tuple(map(_fixed, outputs, first))
        if free:
            others.append(_attempt(graph, facts, 1, 2 * length))
        for other in others:
            if other is not None:
                outputs = tuple(map(_freed, outputs, first, other))
        break
    return Signature(inputs, outputs)


def _attempt(graph: Graph, facts: Facts, rows: int, length: int) -> Shapes | None:
    """Shapes of the outputs for inputs of zeros; None where the model refuses them."""
    try:
        arrays = [_zeros(port, rows, length) for port in facts.inputs]
        return tuple(np.shape(array) for array in graph.run(arrays))
    except (InvalidError, CrashedError):
        return None


def _zeros(port: Port, rows: int, length: int) -> Any:
    shape = tuple(
        size if size is not None else (rows if axis == 0 else max(length, port.shape[axis]))
        for axis, size in enumerate(port.spec.shape)
    )
    if np.prod(shape, dtype=float) > _LARGEST_TRY:
        raise InvalidError(f"input '{port.spec.name}' is too large to try")
    if port.spec.datatype is not Datatype.BYTES:
        return np.zeros(shape, DTYPES[port.spec.datatype])
    array = np.empty(shape, object)
    for place in product(*map(range, shape)):
        array[place] = b""
    return array


def _fixed(spec: TensorSpec, seen: tuple[int, ...]) -> TensorSpec:
    """The same with its batch axis fixed, at what the file or a run says."""
    return TensorSpec(spec.name, spec.datatype, (*seen[:1], *spec.shape[1:]))


def _freed(spec: TensorSpec, one: tuple[int, ...], other: tuple[int, ...]) -> TensorSpec:
    """The same with every axis free that two runs showed at different lengths."""
    if len(one) != len(other):
        raise InvalidError(f"output '{spec.name}' changes its number of axes", field=spec.name)
    if len(spec.shape) != len(one):
        spec = TensorSpec(spec.name, spec.datatype, one)
    shape = tuple(
        None if size is None or a != b else size
        for size, a, b in zip(spec.shape, one, other, strict=True)
    )
    return TensorSpec(spec.name, spec.datatype, shape)


def texts(array: Any) -> Any:
    """Texts as an array of bytes objects, whatever kind of array the interpreter made."""
    result = np.empty(array.size, object)
    result[:] = [bytes(value) for value in array.ravel().tolist()]
    return result.reshape(array.shape)
