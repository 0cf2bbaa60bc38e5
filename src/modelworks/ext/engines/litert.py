"""Runs LiteRT (TensorFlow Lite) files on the CPU with XNNPACK: one interpreter a model."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from modelworks.core.errors import (
    UNLOADED,
    CrashedError,
    InvalidError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Signature, Tensors, TensorSpec
from modelworks.ext.engines.agreement import (
    agree,
    conform,
    nothing,
    one_line,
    refuse_unknown,
    trim,
)
from modelworks.ext.formats import tflite
from modelworks.ext.formats.tflite import Facts, Port
from modelworks.protocol.tensors import DTYPES

MODEL: Final = "model.tflite"
_TRIED: Final = (1, 8, 32, 224)  # lengths tried for free axes: not every network takes 1 x 1
_LARGEST_TRY: Final = 50_000_000  # elements of an input
Shapes = tuple[tuple[int, ...], ...]


class LiteRtSession:
    """One model in memory; the arrays it takes and gives follow `core.seams.Session`.

    Attributes:
        facts: what the file says of itself.
    """

    apart = False

    def __init__(self, interpreter: Interpreter, facts: Facts, signature: Signature) -> None:
        self.signature, self.facts = signature, facts
        self._graph: _Graph | None = _Graph(interpreter, facts)
        names = [port.spec.name for port in facts.outputs]
        self._places = [names.index(spec.name) for spec in signature.outputs]
        self._last: list[tuple[str, Any, tuple[int, ...]]] = []

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run once; see `core.seams.Session.infer`."""
        graph = self._graph
        if graph is None:
            raise UnavailableError(UNLOADED)
        arrays = self._again(inputs)
        if arrays is None:
            given = conform(inputs, self.signature)
            if any(array.size == 0 for array in given.values()):
                return nothing(given, self.signature)
            named = [(port.spec.name, given[port.spec.name]) for port in self.facts.inputs]
            self._last = [(name, array.dtype, array.shape) for name, array in named]
            arrays = [array for _, array in named]
        outputs = graph.run(arrays)
        return [outputs[place] for place in self._places]

    def _again(self, inputs: Tensors) -> list[Any] | None:
        """The arrays in order where they are as in the call before: a third of a small one."""
        if len(inputs) != len(self._last):
            return None
        arrays = []
        for name, kind, shape in self._last:
            array = inputs.get(name)
            if array is None or array.shape != shape or array.dtype != kind:
                return None
            if not array.flags.c_contiguous:
                return None
            arrays.append(array)
        return arrays

    def close(self) -> None:
        """Drop the interpreter and hand free pages back to the system."""
        if self._graph is not None:
            self._graph = None
            trim()


class _Graph:
    """The subgraph that a signature runs; memory is laid out anew only when shapes change."""

    def __init__(self, interpreter: Interpreter, facts: Facts) -> None:
        self._interpreter = interpreter
        self._inputs = [port.index for port in facts.inputs]
        self._outputs = [port.index for port in facts.outputs]
        self._kinds = [port.spec.datatype for port in facts.outputs]
        self._stateful = facts.stateful
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
                self._interpreter.reset_all_variables()
            outputs = self._by_name(inputs) if self._runner is not None else self._by_index(inputs)
        except MemoryError as error:
            raise CrashedError("the engine ran out of memory") from error
        except (RuntimeError, ValueError, TypeError) as error:
            self._shapes = None
            reason = one_line(error)
            if "alloc" in reason.lower():
                raise CrashedError(f"the engine ran out of memory: {reason}") from error
            raise InvalidError(f"the model refuses this input: {reason}") from error
        return [
            _texts(array) if kind is Datatype.BYTES else array
            for array, kind in zip(outputs, self._kinds, strict=True)
        ]

    def _by_index(self, inputs: list[Any]) -> list[Any]:
        interpreter = self._interpreter
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


class LiteRtEngine:
    """The engine `litert`. It has no settings of its own."""

    name: ClassVar[str] = "litert"
    formats: ClassVar[tuple[str, ...]] = ("tflite",)
    experimental: ClassVar[bool] = False

    def load(self, path: Path, options: EngineOptions) -> LiteRtSession:
        """Load `path`, or `model.tflite` in it; see `core.seams.Engine.load`."""
        refuse_unknown("litert", options, ())
        file = path / MODEL if path.is_dir() else path
        if not file.is_file():
            raise InvalidError(f"no model file at {file}", field="path")
        try:
            facts = tflite.read(file)
        except UnsupportedError as error:
            raise RefusedError(error.message, field="file") from error
        try:
            interpreter = Interpreter(model_path=str(file), num_threads=options.threads)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise InvalidError(
                f"{file.name} is no model that LiteRT can load: {one_line(error)}", field="file"
            ) from error
        own = _observed(interpreter, facts)
        if options.signature is not None:
            agree(options.signature, own)
        return LiteRtSession(interpreter, facts, options.signature or own)


def _observed(interpreter: Interpreter, facts: Facts) -> Signature:
    """The signature that the file declares, corrected by what a run of the model shows.

    Writers leave axes of outputs fixed that are not, and declare batch axes that a fixed reshape
    inside does not allow.
    """
    inputs = tuple(port.spec for port in facts.inputs)
    outputs = tuple(port.spec for port in facts.outputs)
    graph = _Graph(interpreter, facts)
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


def _attempt(graph: _Graph, facts: Facts, rows: int, length: int) -> Shapes | None:
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


def _texts(array: Any) -> Any:
    """Texts as an array of bytes objects, whatever kind of array the interpreter made."""
    result = np.empty(array.size, object)
    result[:] = [bytes(value) for value in array.ravel().tolist()]
    return result.reshape(array.shape)
