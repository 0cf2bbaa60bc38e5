"""Values inside of a LiteRT file: an interpreter that keeps every tensor, without delegates."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.optimizing.insides import Inside, Operator
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Signature, Tensors
from modelworks.ext.engines.agreement import conform, one_line
from modelworks.ext.engines.litert import MODEL
from modelworks.ext.formats import tflite
from modelworks.protocol.tensors import DTYPES

_EIGHT: Final = (np.int8, np.uint8)
_WEIGHTS: Final = 16  # numbers: constants of fewer are shapes


class LiteRtView:
    """See `core.seams.View`.

    Args:
        file: of the model.
        options: as it is served.
    """

    def __init__(self, file: Path, options: EngineOptions) -> None:
        self._file, self._threads = file, options.threads
        self._facts = tflite.read(file)
        if self._facts.subgraph:
            raise UnsupportedError(f"{file.name} has several graphs: they cannot be followed")
        given, answers = self._facts.inputs, self._facts.outputs
        self._own = Signature(
            tuple(port.spec for port in given), tuple(port.spec for port in answers)
        )
        self._interpreter = self._opened(served=False)
        ends = {port.index: port.spec.name for port in (*answers, *given)}
        self._tensors: dict[str, dict[str, Any]] = {}
        for one in self._interpreter.get_tensor_details():
            name = ends.get(one["index"], one["name"])
            if name in self._tensors or (one["index"] not in ends and name in ends.values()):
                name = f"{one['name']}:{one['index']}"  # the rounded form of an end, say
            self._tensors[name] = one
        self._names = {one["index"]: name for name, one in self._tensors.items()}
        self.inside = self._inside()

    def watch(self, names: Sequence[str], *, served: bool) -> Callable[[Tensors], dict[str, Any]]:
        """See `core.seams.View.watch`; with delegates only the ends can be had."""
        ends = {*self.inside.inputs, *self.inside.outputs}
        if served and not ends.issuperset(names):
            raise UnsupportedError("LiteRT's delegates keep no values inside of what they run")
        interpreter = self._opened(served=True) if served else self._interpreter
        wanted = [name for name in dict.fromkeys(names) if name in self._tensors]

        def look(inputs: Tensors) -> dict[str, Any]:
            given = conform(inputs, self._own)  # the interpreter reads other shapes as they come
            try:
                arrays = [given[port.spec.name] for port in self._facts.inputs]
                for port, array in zip(self._facts.inputs, arrays, strict=True):
                    interpreter.resize_tensor_input(port.index, array.shape)
                interpreter.allocate_tensors()
                for port, array in zip(self._facts.inputs, arrays, strict=True):
                    typed = np.ascontiguousarray(array, DTYPES[port.spec.datatype])
                    interpreter.set_tensor(port.index, typed)
                interpreter.invoke()
            except (RuntimeError, ValueError, TypeError) as error:
                raise InvalidError(
                    f"the model refuses the rows: {one_line(error)}", field="rows"
                ) from error
            made = {name: self._real(interpreter, name) for name in wanted}
            return {name: array for name, array in made.items() if array is not None}

        return look

    def _opened(self, *, served: bool) -> Interpreter:
        kind = OpResolverType
        resolver = kind.AUTO if served else kind.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            found = Interpreter(
                model_path=str(self._file),
                num_threads=self._threads,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=not served,
            )
            found.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise InvalidError(
                f"{self._file.name} is no model that LiteRT can load: {one_line(error)}",
                field="form",
            ) from error
        return found

    def _real(self, interpreter: Interpreter, name: str) -> Any:
        """The numbers that integers stand for; None = the tensor has no memory of its own."""
        one = self._tensors[name]
        try:
            values = np.array(interpreter.get_tensor(one["index"]))
        except ValueError:
            return None
        told = one["quantization_parameters"]
        scales, zeros = told["scales"], told["zero_points"]
        if not len(scales) or values.dtype.kind not in "iu":
            return values
        shape = [1] * values.ndim
        if len(scales) > 1:
            shape[told["quantized_dimension"]] = len(scales)
        return (values.astype(np.float64) - zeros.reshape(shape)) * scales.reshape(shape)

    def _inside(self) -> Inside:
        operators = []
        made: set[str] = set()
        for place, one in enumerate(self._interpreter._get_ops_details()):  # noqa: SLF001 - no other
            read = tuple(self._names.get(index, "") for index in one["inputs"])
            outputs = tuple(self._names.get(index, "") for index in one["outputs"])
            made.update(outputs)
            operators.append(Operator(f"{one['op_name']} {place}", one["op_name"], read, outputs))
        inputs = tuple(port.spec.name for port in self._facts.inputs)
        outputs = tuple(port.spec.name for port in self._facts.outputs)
        stored = frozenset(set(self._tensors) - made - set(inputs))
        return Inside(tuple(operators), inputs, outputs, stored, self._bits())

    def _bits(self) -> int:
        large = [one for one in self._tensors.values() if np.prod(one["shape"]) >= _WEIGHTS]
        return 8 if any(one["dtype"] in _EIGHT for one in large) else 32


class LiteRtViewer:
    """The viewer of LiteRT files."""

    formats: ClassVar[tuple[str, ...]] = ("tflite",)
    experimental: ClassVar[bool] = False

    def open(self, folder: Path, options: EngineOptions) -> LiteRtView:
        """See `core.seams.Viewer.open`."""
        file = folder / MODEL
        if not file.is_file():
            raise InvalidError(f"the form has no {MODEL}", field="form")
        return LiteRtView(file, options)
