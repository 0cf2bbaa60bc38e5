"""LiteRT (TensorFlow Lite) files: what they say, checked before the interpreter in C++ reads them.

The interpreter trusts a file's offsets, the inside of its text constants and the options of custom
operators. So the file is read here first, whole; what is refused here never reaches it.
"""

import mmap
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.ext.formats.flatbuffer import unpack

IDENTIFIER: Final = b"TFL3"
_READER: Final = "ai_edge_litert.schema_py_generated"
_CUSTOM: Final = 32  # tflite.BuiltinOperator.CUSTOM
_STRING: Final = 5
_TYPES: Final = {
    0: Datatype.FP32,
    1: Datatype.FP16,
    2: Datatype.INT32,
    3: Datatype.UINT8,
    4: Datatype.INT64,
    _STRING: Datatype.BYTES,
    6: Datatype.BOOL,
    7: Datatype.INT16,
    9: Datatype.INT8,
    10: Datatype.FP64,
    12: Datatype.UINT64,
    15: Datatype.UINT32,
    16: Datatype.UINT16,
}
_WIDTHS: Final = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8} | {
    11: 16,
    12: 8,
    15: 4,
    16: 2,
    18: 2,
}  # fmt: skip - bytes an element; those of less than a byte, of text and of handles are not there
# Operators with inputs that may be left out: kernels of the others read them without a look.
_OPTIONAL: Final = {
    3,  # CONV_2D
    4,  # DEPTHWISE_CONV_2D
    9,  # FULLY_CONNECTED
    16,  # LSTM
    24,  # RNN
    27,  # SVDF
    35,  # UNIDIRECTIONAL_SEQUENCE_RNN
    44,  # UNIDIRECTIONAL_SEQUENCE_LSTM
    46,  # BIDIRECTIONAL_SEQUENCE_RNN
    52,  # BIDIRECTIONAL_SEQUENCE_LSTM
    67,  # TRANSPOSE_CONV
    132,  # CONV_3D
    141,  # CONV_3D_TRANSPOSE
}
_SILENT: Final = {129, 138, 144}  # CALL_ONCE, HASHTABLE_IMPORT, ASSIGN_VARIABLE have no output
_LARGEST_TENSOR: Final = 2 << 30
_LONGEST_NAME: Final = 1024
_MOST_SIGNATURES_TOLD: Final = 5


@dataclass(frozen=True, slots=True)
class Port:
    """A tensor that callers see.

    Attributes:
        spec: name, datatype and shape, as the file declares them.
        index: in its subgraph.
        shape: the file's own fixed shape, to begin with; dynamic axes are most often 1 there.
        scale: real value of one step of an integer tensor; 0 = not quantized, or by channel.
        zero: the integer that stands for 0.
    """

    spec: TensorSpec
    index: int
    shape: tuple[int, ...]
    scale: float = 0.0
    zero: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file says of itself.

    Attributes:
        inputs: in the order of the subgraph.
        outputs: in the order of the subgraph.
        signature: key of the signature that is served; "" where the file has none.
        signatures: keys of all.
        subgraph: that the signature runs.
        stateful: whether tensors keep their values from one run to the next.
        description: of its writer.
        runtime: least version of TensorFlow Lite that runs it, as the file says; "" = unknown.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    signature: str
    signatures: tuple[str, ...]
    subgraph: int
    stateful: bool
    description: str
    runtime: str


def read(file: Path) -> Facts:
    """Check a file.

    Raises:
        InvalidError: damaged, or it contradicts itself.
        RefusedError: it needs code that is not part of the interpreter.
        UnsupportedError: it has tensors that cannot be served.
    """
    with file.open("rb") as stream:
        if stream.seek(0, 2) < 16:
            raise InvalidError(f"{file.name} is too short for a LiteRT file", field="file")
        # Never closed by hand: views of it live as long as the last error that knows of them.
        data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    if data[4:8] != IDENTIFIER:
        raise InvalidError(f"{file.name} is no LiteRT file: the mark TFL3 is missing", field="file")
    try:
        return _facts(data)
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise InvalidError(
            f"{file.name} is damaged: {type(error).__name__} in its tables", field="file"
        ) from error
    except (InvalidError, UnsupportedError) as error:
        kind = type(error)
        raise kind(f"{file.name}: {error.message}", field="file") from error


def _facts(data: mmap.mmap) -> Facts:
    model = unpack(_READER, "Model", data)
    if model.version != 3:
        raise InvalidError(f"schema version {model.version}; known is 3")
    if not model.subgraphs:
        raise InvalidError("it has no graph")
    _codes(model)
    buffers = [_buffer(buffer, data) for buffer in model.buffers or []]
    for graph in model.subgraphs:
        _graph(graph, model, buffers)
    chosen = _chosen(model)
    number = chosen.subgraphIndex if chosen is not None else 0
    if not 0 <= number < len(model.subgraphs):
        raise InvalidError("its signature names a graph that is not there")
    graph = model.subgraphs[number]
    return Facts(
        inputs=_ports(graph, graph.inputs, chosen.inputs if chosen else None, "input"),
        outputs=_ports(graph, graph.outputs, chosen.outputs if chosen else None, "output"),
        signature=_text(chosen.signatureKey) if chosen else "",
        signatures=tuple(_text(item.signatureKey) for item in model.signatureDefs or []),
        subgraph=number,
        stateful=any(t.isVariable for g in model.subgraphs for t in g.tensors or []),
        description=_text(model.description),
        runtime=_runtime(model, data),
    )


def _codes(model: Any) -> None:
    """Refuse operators that are not the interpreter's own."""
    for code in model.operatorCodes or []:
        if _code(code) != _CUSTOM:
            continue
        name = _text(code.customCode) or "without a name"
        if name.startswith("Flex"):
            raise RefusedError(
                f"it needs TensorFlow for the operator {name.removeprefix('Flex')} (Select TF "
                "ops); convert it again with LiteRT's built-in operators only"
            )
        raise RefusedError(
            f"it needs the custom operator {name}, which is code outside of the file; convert it "
            "again with built-in operators only"
        )


def _code(code: Any) -> int:
    """Which operator: old files have the number in eight bits, new ones in both places."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _buffer(buffer: Any, data: mmap.mmap) -> Any:
    """The bytes of a constant; None where the buffer is empty."""
    if buffer.offset > 1:  # a large file keeps its weights behind the flatbuffer
        if buffer.offset + buffer.size > len(data):
            raise InvalidError("a weight lies outside of the file: it is cut short")
        return np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
    return buffer.data if buffer.data is not None and len(buffer.data) else None


def _graph(graph: Any, model: Any, buffers: list[Any]) -> None:
    tensors = graph.tensors or []
    for tensor in tensors:
        _tensor(tensor, buffers)
    _indices(graph.inputs, len(tensors))
    _indices(graph.outputs, len(tensors))
    for operator in graph.operators or []:
        if not 0 <= operator.opcodeIndex < len(model.operatorCodes or []):
            raise InvalidError("an operator has no code")
        if operator.largeCustomOptionsSize or operator.largeCustomOptionsOffset:
            raise RefusedError("an operator keeps options outside of the tables")
        code = _code(model.operatorCodes[operator.opcodeIndex])
        _indices(operator.inputs, len(tensors), least=-1 if code in _OPTIONAL else 0)
        _indices(operator.outputs, len(tensors))
        _indices(operator.intermediates, len(tensors), least=-1)
        if code not in _SILENT and (operator.outputs is None or not len(operator.outputs)):
            raise InvalidError("an operator has no output")


def _indices(indices: Any, count: int, least: int = 0) -> None:
    """Numbers of tensors; -1 is an input that is left out."""
    if indices is None or not len(indices):
        return
    if int(np.min(indices)) < least or int(np.max(indices)) >= count:
        raise InvalidError("an operator names a tensor that is not there")


def _tensor(tensor: Any, buffers: list[Any]) -> None:
    name = _text(tensor.name)
    if not 0 <= tensor.buffer < max(len(buffers), 1):
        raise InvalidError(f"tensor '{name}' has no buffer")
    if tensor.sparsity is not None:
        raise UnsupportedError(
            f"tensor '{name}' is stored sparse; convert the model again with dense weights"
        )
    total = _bytes(tensor, name)
    data = buffers[tensor.buffer] if buffers else None
    if data is None:
        return
    if tensor.type == _STRING:
        _strings(data, name)
    elif tensor.type in _WIDTHS and len(data) != total:
        raise InvalidError(f"tensor '{name}' needs {total} bytes and has {len(data)}")


def _bytes(tensor: Any, name: str) -> int:
    """What the tensor needs at its declared shape, dynamic axes aside."""
    shape = [int(n) for n in tensor.shape] if tensor.shape is not None else []
    if any(n < -1 for n in shape):
        raise InvalidError(f"tensor '{name}' has the shape {shape[:8]}")
    signature = tensor.shapeSignature
    if signature is not None and len(signature):
        pairs = zip(shape, signature, strict=True) if len(signature) == len(shape) else ((0, 1),)
        if any(free not in {-1, fixed} for fixed, free in pairs):
            raise InvalidError(f"tensor '{name}' has two shapes that contradict each other")
    total = _WIDTHS.get(tensor.type, 1)
    for length in shape:
        total *= max(length, 0)
    if total > _LARGEST_TENSOR:
        raise RefusedError(f"tensor '{name}' of shape {shape[:8]} needs {total} bytes")
    return total


def _strings(data: Any, name: str) -> None:
    """A text constant: its count, where each text begins and where the last one ends."""
    words = np.frombuffer(bytes(data[: len(data) // 4 * 4]), "<i4")
    count = int(words[0]) if len(words) else -1
    offsets = words[1 : count + 2] if 0 <= count < len(words) - 1 else words[:0]
    if len(offsets) != count + 1 or (np.diff(offsets.astype(np.int64)) < 0).any():
        raise InvalidError(f"tensor '{name}': its texts are damaged")
    if int(offsets[0]) < 4 * (count + 2) or int(offsets[-1]) > len(data):
        raise InvalidError(f"tensor '{name}': its texts are damaged")


def _chosen(model: Any) -> Any:
    """The signature that is served: `serving_default`, else the first; None without any."""
    found = model.signatureDefs or []
    named = [item for item in found if _text(item.signatureKey) == "serving_default"]
    return (named or found or [None])[0]


def _ports(graph: Any, order: Any, named: Any, side: str) -> tuple[Port, ...]:
    indices = [int(i) for i in order] if order is not None else []
    names: dict[int, list[str]] = {}
    for item in named or []:
        names.setdefault(int(item.tensorIndex), []).append(_name(item.name))
    if named is not None and set(names) != set(indices):
        raise InvalidError(f"the signature's {side}s are not those of the graph")
    ports = []
    for place, index in enumerate(indices):
        own = _text(graph.tensors[index].name) or f"{side}_{place}"
        name = names[index].pop(0) if names.get(index) else own
        ports.append(_port(graph.tensors[index], index, name))
    told = [port.spec.name for port in ports]
    if len(set(told)) == len(told):
        return tuple(ports)
    if side == "input" and len(set(indices)) < len(indices):
        raise InvalidError("the graph takes one tensor twice")
    return tuple(
        Port(
            TensorSpec(f"{side}_{place}", port.spec.datatype, port.spec.shape),
            port.index, port.shape, port.scale, port.zero,
        )
        for place, port in enumerate(ports)
    )  # fmt: skip


def _name(value: Any) -> str:
    """A name that callers use: as it stands in the file, or not at all."""
    name = bytes(value or b"").decode("utf-8", "replace")
    if not name or not name.isprintable() or len(name) > _LONGEST_NAME or "\ufffd" in name:
        raise InvalidError("a name in its signature is damaged")
    return name


def _port(tensor: Any, index: int, name: str) -> Port:
    datatype = _TYPES.get(tensor.type)
    if datatype is None:
        raise UnsupportedError(
            f"tensor '{name}' has elements of LiteRT's type {tensor.type}, which no datatype of "
            "the Open Inference Protocol stands for"
        )
    shape = tuple(int(n) for n in tensor.shape) if tensor.shape is not None else ()
    declared = tensor.shapeSignature
    free = shape if declared is None or not len(declared) else tuple(int(n) for n in declared)
    spec = TensorSpec(name, datatype, tuple(None if n < 0 else n for n in free))
    steps = tensor.quantization
    scales = steps.scale if steps is not None and steps.scale is not None else []
    zeros = steps.zeroPoint if steps is not None and steps.zeroPoint is not None else []
    plain = tuple(max(n, 1) if free[axis] < 0 else n for axis, n in enumerate(shape))
    if len(scales) != 1 or len(zeros) != 1:
        return Port(spec, index, plain)
    return Port(spec, index, plain, float(scales[0]), int(zeros[0]))


def _runtime(model: Any, data: mmap.mmap) -> str:
    for item in model.metadata or []:
        if _text(item.name) == "min_runtime_version" and item.buffer < len(model.buffers or []):
            content = _buffer(model.buffers[item.buffer], data)
            if content is not None:
                text = bytes(content[:16]).partition(b"\0")[0].decode("ascii", "replace")
                return text if text.replace(".", "").isdecimal() else ""
    return ""


def _text(value: Any) -> str:
    """A text of the file in one line."""
    if not value:
        return ""
    return " ".join(bytes(value[:4096]).decode("utf-8", "replace").split())


def told(names: tuple[str, ...]) -> str:
    """Some signature keys."""
    shown = ", ".join(f"'{name}'" for name in names[:_MOST_SIGNATURES_TOLD])
    return f"{shown}, ..." if len(names) > _MOST_SIGNATURES_TOLD else shown


if sys.byteorder != "little":  # pragma: no cover - LiteRT has no such build
    raise ModuleNotFoundError("LiteRT runs on little-endian machines only", name="ai_edge_litert")
