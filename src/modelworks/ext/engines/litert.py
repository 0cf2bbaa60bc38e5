"""Runs LiteRT (TensorFlow Lite) files on the CPU with XNNPACK: one interpreter a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from ai_edge_litert.interpreter import Interpreter

from modelworks.core.errors import (
    UNLOADED,
    InvalidError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Signature, Tensors
from modelworks.ext.engines.agreement import (
    agree,
    conform,
    nothing,
    one_line,
    refuse_unknown,
    trim,
)
from modelworks.ext.engines.litert_graph import Graph, observed, texts
from modelworks.ext.formats import tflite
from modelworks.ext.formats.tflite import Facts

MODEL: Final = "model.tflite"


class LiteRtSession:
    """One model in memory; the arrays it takes and gives follow `core.seams.Session`.

    Attributes:
        facts: what the file says of itself.
    """

    apart = False

    def __init__(self, interpreter: Interpreter, facts: Facts, signature: Signature) -> None:
        self.signature, self.facts = signature, facts
        self._graph: Graph | None = Graph(interpreter, facts)
        names = [port.spec.name for port in facts.outputs]
        self._places = [names.index(spec.name) for spec in signature.outputs]
        self._wanted = [facts.outputs[place].index for place in self._places]
        self._text = [
            place for place, s in enumerate(signature.outputs) if s.datatype is Datatype.BYTES
        ]
        self._last: list[tuple[str, Any, tuple[int, ...], int]] = []

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run once; see `core.seams.Session.infer`."""
        graph = self._graph
        if graph is None:
            raise UnavailableError(UNLOADED)
        if self._last and len(inputs) == len(self._last):
            again = self._again(graph, inputs)
            if again is not None:
                return again
        given = conform(inputs, self.signature)
        if any(array.size == 0 for array in given.values()):
            return nothing(given, self.signature)
        named = [(port.spec.name, given[port.spec.name]) for port in self.facts.inputs]
        self._last = []
        outputs = graph.run([array for _, array in named])
        if graph.plain:
            self._last = [
                (name, array.dtype, array.shape, port.index)
                for (name, array), port in zip(named, self.facts.inputs, strict=True)
            ]
        return [outputs[place] for place in self._places]

    def _again(self, graph: Graph, inputs: Tensors) -> Sequence[Any] | None:
        """A call with arrays like those of the call before: two thirds of a small one.

        None where they are not.
        """
        interpreter = graph.interpreter
        try:
            for name, kind, shape, index in self._last:
                array = inputs.get(name)
                if array is None or array.shape != shape or array.dtype != kind:
                    return None
                if not array.flags.c_contiguous:
                    return None
                interpreter.set_tensor(index, array)
            interpreter.invoke()
            outputs = [interpreter.get_tensor(index) for index in self._wanted]
        except (MemoryError, RuntimeError, ValueError, TypeError) as error:
            self._last = []
            raise graph.failure(error) from error
        for place in self._text:
            outputs[place] = texts(outputs[place])
        return outputs

    def close(self) -> None:
        """Drop the interpreter and hand free pages back to the system."""
        if self._graph is not None:
            self._graph, self._last = None, []
            trim()


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
        own = observed(interpreter, facts)
        if options.signature is not None:
            agree(options.signature, own)
        return LiteRtSession(interpreter, facts, options.signature or own)
