"""Operators that work element by element, and those over the last axis."""

from typing import Any, Final

import numpy as np
import onnx

from modelworks.ext.formats.tflite_write import Tensor
from modelworks.ext.passes.litert.follow import ALONE, activation, bounds, normalization
from modelworks.ext.passes.litert.making import TO_LAST, Making
from modelworks.ext.passes.litert.source import attributes

_FLOAT: Final = np.dtype(np.float32)
_UNARY: Final = {
    "Abs": "ABS",
    "Elu": "ELU",
    "Exp": "EXP",
    "HardSwish": "HARD_SWISH",
    "Log": "LOG",
    "Neg": "NEG",
    "Sigmoid": "LOGISTIC",
    "Sqrt": "SQRT",
    "Tanh": "TANH",
}
_BINARY: Final = {
    "Add": "ADD",
    "Div": "DIV",
    "Max": "MAXIMUM",
    "Min": "MINIMUM",
    "Mul": "MUL",
    "Sub": "SUB",
}
_WITH_OPTIONS: Final = {"ADD", "DIV", "MUL", "SUB"}
_POSITIVE: Final = {"Sigmoid", "Exp", "Abs", "Sqrt"}
_MOST_AXES: Final = 5


def unary(making: Making, node: onnx.NodeProto) -> None:
    """One value in, one out."""
    if node.op_type == "Elu" and attributes(node).get("alpha", 1.0) != 1.0:
        making.refuse(node, "its alpha is not 1")
    _emit(making, node, _UNARY[node.op_type])
    if node.op_type in _POSITIVE:
        making.positive.add(node.output[0])


def leaky(making: Making, node: onnx.NodeProto) -> None:
    """LeakyRelu."""
    _emit(making, node, "LEAKY_RELU", {"alpha": attributes(node).get("alpha", 0.01)})


def gelu(making: Making, node: onnx.NodeProto) -> None:
    """Gelu, as it is or by tanh."""
    near = attributes(node).get("approximate", "none") == "tanh"
    _emit(making, node, "GELU", {"approximate": near})


def clip(making: Making, node: onnx.NodeProto) -> None:
    """Relu and Clip."""
    found = activation(making, node)
    if found is not None:
        _emit(making, node, ALONE[found])
        if ALONE[found] != "RELU_N1_TO_1":
            making.positive.add(node.output[0])
        return
    limits = bounds(making, node)
    if limits is None:
        making.refuse(node, "its bounds are computed")
    low, high = limits
    steps = [(code, value) for code, value in (("MAXIMUM", low), ("MINIMUM", high))
             if np.isfinite(value)]  # fmt: skip
    name, out = node.input[0], node.output[0]
    last = making.images(name)
    tensor = making.last(name) if last else making.own(name)
    if not steps:
        making.known(out, tensor, last=last)
    for place, (code, value) in enumerate(steps):
        limit = making.graph.constant(f"{out}/limit", np.array([value], np.float32))
        if place == len(steps) - 1:
            making.emit(code, [tensor, limit], out, last=last)
        else:
            tensor = making.between(code, [tensor, limit], tensor.shape)


def binary(making: Making, node: onnx.NodeProto) -> None:
    """Two values in, one out; shapes are stretched as numpy does it."""
    if len(node.input) != 2:
        making.refuse(node, f"it has {len(node.input)} inputs; two are wanted")
    code = _BINARY[node.op_type]
    _pair(making, node, code, *node.input)


def prelu(making: Making, node: onnx.NodeProto) -> None:
    """PRelu."""
    name, slope = node.input
    if making.constant(slope) is None:
        making.refuse(node, "its slope is computed")
    _pair(making, node, "PRELU", name, slope)


def scaler(making: Making, node: onnx.NodeProto) -> None:
    """ai.onnx.ml.Scaler: `(x - offset) * scale`."""
    given = attributes(node)
    offset, scale = (np.array(given[name], np.float32) for name in ("offset", "scale"))
    _scaled(making, node, [("SUB", offset), ("MUL", scale)])


def normalize(making: Making, node: onnx.NodeProto) -> None:
    """BatchNormalization that no layer before it could take in."""
    found = normalization(making, node)
    if found is None:
        making.refuse(node, "it learns while it runs, or its weights are computed")
    scale, shift = (one.astype(np.float32) for one in found)
    _scaled(making, node, [("MUL", scale), ("ADD", shift)])


def softmax(making: Making, node: onnx.NodeProto) -> None:
    """Softmax and LogSoftmax over the last axis, or over the channels of an image."""
    name, out = node.input[0], node.output[0]
    shape = making.shape(name)
    rank, new = len(shape), making.source.opset >= 13
    axis = attributes(node).get("axis", -1 if new else 1) % rank
    floats(making, node, name)
    last = rank == 4 and axis == 1 and new
    if axis == 0 or (not last and axis != rank - 1):
        making.refuse(node, f"it goes over axis {axis} of {rank}; the last one is wanted")
    tensor = making.last(name) if last else making.own(name)
    if node.op_type == "Softmax":
        making.emit("SOFTMAX", [tensor], out, {"beta": 1.0}, last=last)
    else:
        making.emit("LOG_SOFTMAX", [tensor], out, last=last)


def _emit(making: Making, node: onnx.NodeProto, code: str, options: Any = None) -> None:
    name = node.input[0]
    floats(making, node, name)
    last = making.images(name)
    tensor = making.last(name) if last else making.own(name)
    making.emit(code, [tensor], node.output[0], options, last=last)


def _scaled(making: Making, node: onnx.NodeProto, steps: list[tuple[str, Any]]) -> None:
    """Two operators with one number each a channel (the second axis)."""
    name, out = node.input[0], node.output[0]
    floats(making, node, name)
    last = making.images(name)
    tensor = making.last(name) if last else making.own(name)
    rank = len(tensor.shape)
    shape = (-1,) if last or rank == 2 else (-1, *(1,) * (rank - 2))
    (first, one), (second, other) = (
        (code, making.graph.constant(f"{out}/{code.lower()}", array.reshape(shape)))
        for code, array in steps
    )
    tensor = making.between(first, [tensor, one], tensor.shape, {})
    making.emit(second, [tensor, other], out, {}, last=last)


def _pair(making: Making, node: onnx.NodeProto, code: str, one: str, other: str) -> None:
    out = node.output[0]
    given = [name for name in (one, other) if making.constant(name) is None]
    for name in given:
        floats(making, node, name)
    if len(making.shape(out)) > _MOST_AXES:
        making.refuse(node, f"it works on more than {_MOST_AXES} axes")
    if any(making.shape(name)[:1] != making.shape(out)[:1] or
           len(making.shape(name)) != len(making.shape(out)) for name in given):  # fmt: skip
        making.refuse(node, "its inputs have different numbers of axes, or of rows")
    last = making.images(*given)
    tensors = [
        making.last(name) if last and name in given
        else making.own(name) if name in given
        else _stretched(making, name, last=last)
        for name in (one, other)
    ]  # fmt: skip
    making.emit(code, tensors, out, {} if code in _WITH_OPTIONS else None, last=last)


def _stretched(making: Making, name: str, *, last: bool) -> Tensor:
    """A constant; beside images with its axes in LiteRT's order."""
    array = making.constant(name)
    if array.ndim == 0:
        array = array.reshape(1)
    if last:
        array = array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(TO_LAST)
    return making.graph.constant(name, array)


def floats(making: Making, node: onnx.NodeProto, name: str) -> None:
    """Refuse what is not float32."""
    kind = making.source.kinds.get(name)
    if kind != _FLOAT:
        making.refuse(node, f"it computes in {kind}; float32 is wanted")
