"""What a graph is made of: where its weights are used, and whether it has attention."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx

from modelworks.ext.formats.onnx_model import weights_of

CONVOLUTIONS: Final = ("Conv", "ConvTranspose")
DENSE: Final = ("MatMul", "Gemm")
_QUANTIZED: Final = {
    "DynamicQuantizeLinear", "GatherBlockQuantized", "MatMulNBits", "QAttention", "QGemm",
    "QLinearConv", "QLinearMatMul", "QuantizeLinear",
}  # fmt: skip
_NEAR: Final = 8  # operators between a product and the softmax after it
_MASK: Final = 1e3  # what a mask adds where nothing is to be seen


@dataclass(frozen=True, slots=True)
class Makeup:
    """Bytes of float weights by what reads them.

    Attributes:
        convolutions: of `Conv` and the like.
        dense: of products with a constant matrix.
        tables: that rows are gathered from, and nothing else reads.
        recurrent: of LSTM, GRU and RNN.
    """

    convolutions: int
    dense: int
    tables: int
    recurrent: int

    @property
    def all(self) -> int:
        """Of them together."""
        return self.convolutions + self.dense + self.tables + self.recurrent


def makeup(model: onnx.ModelProto) -> Makeup:
    """Of a graph, read with its weights or without."""
    sizes = {
        one.name: 4 * int(np.prod(one.dims, dtype=np.int64))
        for one in model.graph.initializer
        if one.data_type == onnx.TensorProto.FLOAT
    }
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            held = node.attribute[0].t
            if held.data_type == onnx.TensorProto.FLOAT:
                sizes[node.output[0]] = 4 * int(np.prod(held.dims, dtype=np.int64))
    kinds: dict[str, str] = {}
    for node in model.graph.node:
        kind = _KINDS.get(node.op_type)
        for name in node.input if kind else ():
            if kind and name in sizes and kinds.get(name, "tables") == "tables":
                kinds[name] = kind
    found = dict.fromkeys(("convolutions", "dense", "tables", "recurrent"), 0)
    for name, kind in kinds.items():
        found[kind] += sizes[name]
    return Makeup(**found)


_KINDS: Final = {
    **dict.fromkeys(CONVOLUTIONS, "convolutions"),
    **dict.fromkeys((*DENSE, "FusedMatMul", "Attention"), "dense"),
    "Gather": "tables",
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "recurrent"),
}


def already(model: onnx.ModelProto) -> str:
    """Why a graph is not to be quantized: it is; empty = it is in floats."""
    found = next((node.op_type for node in model.graph.node if node.op_type in _QUANTIZED), "")
    return f"the graph is in few bits already ({found})" if found else ""


def attention(model: onnx.ModelProto) -> list[str]:
    """Names of the softmaxes between two products: those of attention."""
    made = {name: node for node in model.graph.node for name in node.output}
    read: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            read.setdefault(name, []).append(node)
    found = []
    for node in model.graph.node:
        if node.op_type != "Softmax":
            continue
        before = _reaches([made[n] for n in node.input if n in made], made, up=True)
        after = _reaches(read.get(node.output[0], []), read, up=False)
        if before and after:
            found.append(node.name or node.output[0])
    return found


def fused(model: onnx.ModelProto) -> bool:
    """Whether attention is one operator of ONNX Runtime's own."""
    return any(node.op_type in {"Attention", "MultiHeadAttention"} for node in model.graph.node)


def _reaches(
    start: Iterable[onnx.NodeProto],
    links: dict[str, onnx.NodeProto] | dict[str, list[onnx.NodeProto]],
    *,
    up: bool,
) -> bool:
    """Whether a product is near, along what flows in or out."""
    edge = list(start)
    for _ in range(_NEAR):
        if any(node.op_type in {"MatMul", "FusedMatMul"} for node in edge):
            return True
        names = [name for node in edge for name in (node.input if up else node.output)]
        found = [links[name] for name in names if name in links]
        edge = [n for one in found for n in (one if isinstance(one, list) else [one])][:64]
    return False


def heads(model: onnx.ModelProto) -> tuple[int, int]:
    """How many heads attention has, and how wide all of them are together; zeros = unknown.

    Read from how what is compared is cut into heads: `[.., .., heads, size]`.
    """
    constants = weights_of(model)
    made = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:  # so are equal weights written that an exporter keeps once
        if node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[0] not in made:
            continue
        before = made[node.input[0]]
        wide = next((constants[n].size for n in before.input if n in constants), 0)
        parts = _parts(node.input[1], made, constants)
        if before.op_type == "Add" and len(parts) == 4 and wide:
            size = parts[3] if parts[3] > 0 else (wide // parts[2] if parts[2] > 0 else 0)
            if size and wide % size == 0:
                return wide // size, wide
    return 0, 0


def _parts(name: str, made: dict[str, onnx.NodeProto], constants: dict[str, Any]) -> list[int]:
    """Numbers of a shape; 0 where they are computed."""
    if name in constants:
        return [int(one) for one in constants[name].ravel()]
    node = made.get(name)
    if node is None or node.op_type != "Concat":
        return []
    return [int(constants[n].ravel()[0]) if n in constants else 0 for n in node.input]


def masks(model: onnx.ModelProto) -> float:
    """The largest size of a constant that a mask could add; 0 = there is none."""
    found = 0.0
    for values in weights_of(model).values():
        if values.dtype == np.float32 and 0 < values.size <= 4096:
            largest = float(np.abs(values).max())
            if largest >= _MASK:
                found = max(found, largest)
    return found
