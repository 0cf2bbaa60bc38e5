"""Operators of ONNX that are several of LiteRT's."""

from typing import Any, Final

import numpy as np
import onnx

from modelworks.ext.formats.tflite_write import Shape, Tensor
from modelworks.ext.passes.litert.making import Making
from modelworks.ext.passes.litert.plain import floats
from modelworks.ext.passes.litert.source import attributes

_EPSILON: Final = 1e-5


def layer_norm(making: Making, node: onnx.NodeProto) -> None:
    """LayerNormalization: over the last axes, each row by itself."""
    name, out = node.input[0], node.output[0]
    given = attributes(node)
    floats(making, node, name)
    shape = making.shape(name)
    first = given.get("axis", -1) % len(shape)
    weights = [making.constant(one) for one in node.input[1:3]]
    if first == 0 or any(one is None for one in weights):
        making.refuse(node, "it goes over the rows, or its weights are computed")
    if any(node.output[1:]):
        making.refuse(node, "it gives means besides values")
    axes = making.graph.constant(f"{out}/axes", np.arange(first, len(shape), dtype=np.int32))
    short = (*shape[:first], *(1,) * (len(shape) - first))
    epsilon = _number(making, f"{out}/epsilon", given.get("epsilon", _EPSILON))
    apart = making.between(
        "SUB", [making.own(name), _mean(making, making.own(name), axes, short)], shape, {}
    )
    square = making.between("MUL", [apart, apart], shape, {})
    spread = making.between("ADD", [_mean(making, square, axes, short), epsilon], short, {})
    scaled = making.between("MUL", [apart, making.between("RSQRT", [spread], short)], shape, {})
    parts = [making.graph.constant(f"{out}/{place}", one) for place, one in enumerate(weights)]
    if len(parts) == 1:
        making.emit("MUL", [scaled, parts[0]], out, {})
    else:
        weighted = making.between("MUL", [scaled, parts[0]], shape, {})
        making.emit("ADD", [weighted, parts[1]], out, {})


def hard_sigmoid(making: Making, node: onnx.NodeProto) -> None:
    """HardSigmoid: a straight line between 0 and 1."""
    name, out = node.input[0], node.output[0]
    given = attributes(node)
    floats(making, node, name)
    last = making.images(name)
    tensor = making.last(name) if last else making.own(name)
    for code, value in (
        ("MUL", given.get("alpha", 0.2)),
        ("ADD", given.get("beta", 0.5)),
        ("MAXIMUM", 0.0),
    ):
        number = _number(making, f"{out}/{code.lower()}", value)
        tensor = making.between(code, [tensor, number], tensor.shape)
    making.emit("MINIMUM", [tensor, _number(making, f"{out}/one", 1.0)], out, last=last)
    making.positive.add(out)


def reciprocal(making: Making, node: onnx.NodeProto) -> None:
    """Reciprocal."""
    name, out = node.input[0], node.output[0]
    floats(making, node, name)
    last = making.images(name)
    tensor = making.last(name) if last else making.own(name)
    making.emit("DIV", [_number(making, f"{out}/one", 1.0), tensor], out, {}, last=last)


def power(making: Making, node: onnx.NodeProto) -> None:
    """Pow by one constant: a square, or a root."""
    name, out = node.input[0], node.output[0]
    floats(making, node, name)
    exponent = making.constant(node.input[1])
    if exponent is None or exponent.size != 1 or float(exponent.item()) not in {2.0, 0.5}:
        making.refuse(node, "its exponent is not 2 or 0.5")
    last = making.images(name)
    tensor = making.last(name) if last else making.own(name)
    if float(exponent.item()) == 2:
        making.emit("MUL", [tensor, tensor], out, {}, last=last)
    else:
        making.emit("SQRT", [tensor], out, last=last)
    making.positive.add(out)


def _mean(making: Making, tensor: Tensor, axes: Tensor, shape: Shape) -> Tensor:
    return making.between("MEAN", [tensor, axes], shape, {"keepDims": True})


def _number(making: Making, name: str, value: Any) -> Tensor:
    return making.graph.constant(name, np.array([value], np.float32))
