"""Writes LiteRT (TensorFlow Lite) flatbuffers: one graph, its constants and its signature.

The tables are those of TensorFlow Lite's schema 3; the writer that flatc generated packs them. The
same graph gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from modelworks.ext.formats import tflite

SIGNATURE: Final = "serving_default"
Shape = tuple[int | None, ...]
_ROWS: Final = 1  # written where an axis is free: the interpreter begins with it
_TYPES: Final = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float64): schema.TensorType.FLOAT64,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.bool_): schema.TensorType.BOOL,
    np.dtype(object): schema.TensorType.STRING,
}
KINDS: Final = frozenset(_TYPES)
"""Element types that can be written; `object` stands for texts."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a graph.

    Attributes:
        index: in the graph.
        name: as it stands in the file.
        shape: `None` = a free axis.
        kind: of its elements.
    """

    index: int
    name: str
    shape: Shape
    kind: np.dtype[Any]


class Graph:
    """A graph in the making; operators run in the order in which they were added."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]  # the first is that of tensors without one
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}
        self._names: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}

    def tensor(self, name: str, shape: Shape, kind: Any) -> Tensor:
        """A new tensor that an operator fills, or a caller; its name is made unique."""
        return self._add(name, shape, np.dtype(kind), 0)

    def constant(self, name: str, array: Any) -> Tensor:
        """A constant; the same values are stored once. Texts are an object array of bytes."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        data = texts(array) if array.dtype == object else array.tobytes()
        key = (array.dtype.str, array.shape, data)
        if key not in self._constants:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data, np.uint8)
            self._buffers.append(buffer)
            self._constants[key] = self._add(name, array.shape, array.dtype, len(self._buffers) - 1)
        return self._constants[key]

    def operator(
        self,
        code: str,
        inputs: Sequence[Tensor],
        output: Tensor,
        options: Mapping[str, Any] | None = None,
        *,
        version: int = 1,
    ) -> Tensor:
        """Add an operator.

        Args:
            code: name in the schema (`FULLY_CONNECTED`).
            inputs: in the order that its kernel wants.
            output: that it fills.
            options: fields of its table of options; None = it has none.
            version: of the kernel.
        """
        number = getattr(schema.BuiltinOperator, code)
        one = schema.OperatorT()
        one.opcodeIndex = self._codes.setdefault((number, version), len(self._codes))
        one.inputs = np.array([tensor.index for tensor in inputs], np.int32)
        one.outputs = np.array([output.index], np.int32)
        if options is not None:
            table = _TABLES[code]
            one.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            one.builtinOptions = getattr(schema, f"{table}T")()
            for name, value in options.items():
                setattr(one.builtinOptions, name, value)
        self._operators.append(one)
        return output

    def bytes(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> bytes:
        """The file.

        Args:
            inputs: names that callers use -> tensors.
            outputs: the same.
        """
        graph = schema.SubGraphT()
        graph.name = b"main"
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs = np.array([tensor.index for tensor in inputs.values()], np.int32)
        graph.outputs = np.array([tensor.index for tensor in outputs.values()], np.int32)
        model = schema.ModelT()
        model.version = 3
        model.description = b"Modelworks"
        model.subgraphs, model.buffers = [graph], self._buffers
        model.operatorCodes = [_code(*code) for code in self._codes]
        model.signatureDefs = [_signature(inputs, outputs)]
        builder = flatbuffers.Builder(sum(_size(b) for b in self._buffers) + 65_536)
        builder.Finish(model.Pack(builder), tflite.IDENTIFIER)
        return bytes(builder.Output())

    def _add(self, name: str, shape: Shape, kind: np.dtype[Any], buffer: int) -> Tensor:
        seen = self._names.get(name, 0)
        self._names[name] = seen + 1
        unique = f"{name}:{seen}" if seen else name
        one = schema.TensorT()
        one.name = unique.encode()
        one.type, one.buffer, one.hasRank = _TYPES[kind], buffer, True
        one.shape = np.array([_ROWS if n is None else n for n in shape], np.int32)
        if None in shape:
            one.shapeSignature = np.array([-1 if n is None else n for n in shape], np.int32)
        self._tensors.append(one)
        return Tensor(len(self._tensors) - 1, unique, shape, kind)


def texts(array: Any) -> bytes:
    """Texts as the interpreter keeps them: their count, where each begins, the last one's end."""
    values = [bytes(value) for value in array.ravel().tolist()]
    start = 4 * (len(values) + 2)
    ends = start + np.cumsum([0, *map(len, values)])
    return np.array([len(values), *ends], "<i4").tobytes() + b"".join(values)


_TABLES: Final = {
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CAST": "CastOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "GELU": "GeluOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
}  # of operators that have options


def type_of(kind: Any) -> int:
    """The schema's number of an element type."""
    return int(_TYPES[np.dtype(kind)])


def _code(number: int, version: int) -> Any:
    one = schema.OperatorCodeT()
    one.builtinCode, one.version = number, version
    one.deprecatedBuiltinCode = min(number, 127)  # of readers from before there were more
    return one


def _signature(inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> Any:
    one = schema.SignatureDefT()
    one.signatureKey = SIGNATURE.encode()
    one.inputs = [_named(name, tensor) for name, tensor in inputs.items()]
    one.outputs = [_named(name, tensor) for name, tensor in outputs.items()]
    return one


def _named(name: str, tensor: Tensor) -> Any:
    one = schema.TensorMapT()
    one.name, one.tensorIndex = name.encode(), tensor.index
    return one


def _size(buffer: Any) -> int:
    return 0 if buffer.data is None else len(buffer.data) + 64
