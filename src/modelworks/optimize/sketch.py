"""What kind of network an artifact holds, by its operators alone: no library, no weights.

The wire format of protocol buffers is read just far enough to find the names of the nodes
(https://protobuf.dev/programming-guides/encoding; fields of onnx.proto: ModelProto.graph = 7,
GraphProto.node = 1, NodeProto.op_type = 4).
"""

import mmap
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

_GRAPH, _NODE, _OPERATOR = 7, 1, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LAYER: Final = re.compile(rb'<layer [^>]*type="(\w+)"')
_LARGEST_XML: Final = 64 << 20


class Kind(StrEnum):
    """Families of models that the same passes help."""

    TREES = "trees"
    DENSE = "dense"
    CONV = "conv"
    ATTENTION = "attention"
    RECURRENT = "recurrent"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Sketch:
    """A model's outline.

    Attributes:
        kind: family.
        operators: how often each occurs.
    """

    kind: Kind = Kind.OTHER
    operators: Mapping[str, int] = field(default_factory=dict)


def sketch(folder: Path, format_: str) -> Sketch:
    """The outline of an artifact; of a format that is not known, or of a damaged file: OTHER."""
    try:
        if format_ == "onnx":
            counted = _onnx(_file(folder, ".onnx"))
        elif format_ == "openvino-ir":
            data = _file(folder, ".xml").read_bytes()[:_LARGEST_XML]
            counted = Counter(name.decode() for name in _LAYER.findall(data))
        else:
            return Sketch()
    except (OSError, ValueError, IndexError):
        return Sketch()
    return Sketch(kind_of(counted), dict(counted))


def kind_of(operators: Mapping[str, int]) -> Kind:
    """The family that operators belong to."""
    many = Counter(operators)
    if any(name.startswith("TreeEnsemble") for name in many):
        return Kind.TREES
    if many["LSTM"] + many["GRU"] + many["RNN"] + many["LSTMSequence"] + many["GRUSequence"]:
        return Kind.RECURRENT
    products = many["MatMul"] + many["Gemm"] + many["FullyConnected"]
    attended = many["Attention"] + many["MultiHeadAttention"] + many["ScaledDotProductAttention"]
    if attended or (many["Softmax"] and many["Transpose"] >= 2 and many["MatMul"] >= 4):
        return Kind.ATTENTION
    if many["Conv"] + many["Convolution"] + many["GroupConvolution"]:
        return Kind.CONV
    return Kind.DENSE if products else Kind.OTHER


def _file(folder: Path, suffix: str) -> Path:
    """The model file; `steps.onnx` is what runs before it."""
    if folder.is_file():
        return folder
    found = [one for one in sorted(folder.glob(f"*{suffix}")) if one.name != f"steps{suffix}"]
    if not found:
        raise FileNotFoundError(folder)
    return next((one for one in found if one.stem == "model"), found[0])


def _onnx(path: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for graph in _fields(data, 0, len(data), _GRAPH):
            for node in _fields(data, *graph, _NODE):
                for begin, end in _fields(data, *node, _OPERATOR):
                    counted[data[begin:end].decode()] += 1
    return counted


def _fields(data: mmap.mmap, at: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Where the values of a field of a message lie.

    Raises:
        ValueError: this is no message.
    """
    while at < end:
        key, at = _number(data, at)
        kind = key & 7
        if kind == _BYTES:
            length, at = _number(data, at)
            if at + length > end:
                raise ValueError
            if key >> 3 == wanted:
                yield at, at + length
            at += length
        elif kind == _VARINT:
            _, at = _number(data, at)
        elif kind in {_FIXED64, _FIXED32}:
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError


def _number(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError
