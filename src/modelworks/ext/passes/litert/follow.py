"""What comes right after a layer and can be part of it: scales, shifts and simple activations."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx

from modelworks.ext.passes.litert.making import Making
from modelworks.ext.passes.litert.source import attributes

_NONE, _RELU, _RELU_N1_TO_1, _RELU6 = 0, 1, 2, 3  # tflite.ActivationFunctionType
_CLIPS: Final = {(0.0, np.inf): _RELU, (-1.0, 1.0): _RELU_N1_TO_1, (0.0, 6.0): _RELU6}
ALONE: Final = {_RELU: "RELU", _RELU_N1_TO_1: "RELU_N1_TO_1", _RELU6: "RELU6"}
"""Operators of the same activations where there is no layer before them."""


@dataclass(frozen=True, slots=True)
class After:
    """What a layer does to its own result.

    Attributes:
        scale: of each channel, float64.
        shift: of each channel, after the scale.
        activation: number in the schema.
        name: of the tensor that it ends with.
    """

    scale: Any
    shift: Any
    activation: int
    name: str


def after(making: Making, name: str, axis: int, channels: int) -> After:
    """Take the nodes that can be part of the layer which makes `name`.

    Args:
        making: the conversion.
        name: what the layer gives by itself.
        axis: of its channels.
        channels: how many there are.
    """
    scale, shift = np.ones(channels), np.zeros(channels)
    while (node := making.sole(name)) is not None:
        step = _affine(making, node, name, axis, channels)
        if step is None or making.source.shapes.get(node.output[0]) != making.shape(name):
            break
        scale, shift = scale * step[0], shift * step[0] + step[1]
        making.take(node)
        name = node.output[0]
    found = None if node is None else activation(making, node)
    if node is None or found is None:
        return After(scale, shift, _NONE, name)
    making.take(node)
    name = node.output[0]
    if found != _RELU_N1_TO_1:
        making.positive.add(name)
    return After(scale, shift, found, name)


def activation(making: Making, node: onnx.NodeProto) -> int | None:
    """The activation that a node is, where operators can have it inside of them."""
    if node.op_type == "Relu":
        return _RELU
    return _CLIPS.get(bounds(making, node) or (0.0, 0.0)) if node.op_type == "Clip" else None


def bounds(making: Making, node: onnx.NodeProto) -> tuple[float, float] | None:
    """Between what a Clip keeps its values; None where that is computed."""
    given = attributes(node)  # before opset 11 they are attributes
    found = [given.get("min", -np.inf), given.get("max", np.inf)]
    for place, name in enumerate(node.input[1:3]):
        if name:
            constant = making.constant(name)
            if constant is None:
                return None
            found[place] = float(constant.item())
    largest = float(np.finfo(np.float32).max)
    low, high = (np.inf * np.sign(x) if abs(x) >= largest else float(x) for x in found)
    return float(low), float(high)


def _affine(
    making: Making, node: onnx.NodeProto, name: str, axis: int, channels: int
) -> tuple[Any, Any] | None:
    """What a node multiplies with and adds, of each channel; None where it is something else."""
    if node.op_type == "BatchNormalization" and node.input[0] == name:
        return normalization(making, node)
    if node.op_type not in {"Add", "Sub", "Mul", "Div"}:
        return None
    first = node.input[0] == name
    other = making.constant(node.input[1] if first else node.input[0])
    if other is None:
        return None
    values = _channels(other, len(making.shape(name)), axis, channels)
    if values is None:
        return None
    one, zero = np.ones(channels), np.zeros(channels)
    found: dict[str, tuple[Any, Any] | None] = {
        "Add": (one, values),
        "Sub": (one, -values) if first else (-one, values),
        "Mul": (values, zero),
        "Div": (1 / values, zero) if first and values.all() else None,
    }
    return found[node.op_type]


def normalization(making: Making, node: onnx.NodeProto) -> tuple[Any, Any] | None:
    """Scale and shift of a BatchNormalization; None where it learns, or has computed weights."""
    given = attributes(node)
    weights = [making.constant(name) for name in node.input[1:5]]
    if given.get("training_mode", 0) or any(one is None for one in weights):
        return None
    gamma, beta, mean, variance = (one.astype(np.float64) for one in weights)
    scale = gamma / np.sqrt(variance + given.get("epsilon", 1e-5))
    return scale, beta - mean * scale


def _channels(array: Any, rank: int, axis: int, channels: int) -> Any:
    """A constant as one number a channel; None where it differs along another axis."""
    if array.dtype.kind != "f" or array.ndim > rank:
        return None
    if array.size == 1:
        return np.full(channels, float(array.item()))
    shape = (1,) * (rank - array.ndim) + array.shape
    axis %= rank
    if shape[axis] != channels or array.size != channels:
        return None
    return array.ravel().astype(np.float64)
