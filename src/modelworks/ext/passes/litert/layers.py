"""Layers with weights: dense ones and convolutions."""

from typing import Any, Final

import numpy as np
import onnx

from modelworks.ext.formats.tflite_write import Tensor
from modelworks.ext.passes.litert import padding
from modelworks.ext.passes.litert.follow import After, after
from modelworks.ext.passes.litert.making import Making
from modelworks.ext.passes.litert.plain import floats
from modelworks.ext.passes.litert.source import attributes

_COMPUTED: Final = "its weights are computed by the model itself"


def gemm(making: Making, node: onnx.NodeProto) -> None:
    """Gemm: `alpha * x @ w + beta * c`."""
    given = attributes(node)
    weights = making.constant(node.input[1])
    if weights is None:
        making.refuse(node, _COMPUTED)
    if given.get("transA", 0):
        making.refuse(node, "it takes its input transposed")
    weights = weights.astype(np.float64) if given.get("transB", 0) else weights.T.astype(np.float64)
    bias: Any = np.zeros(len(weights))
    if len(node.input) > 2 and node.input[2]:
        added = making.constant(node.input[2])
        if added is None or not (added.size == 1 or added.shape[-1] == added.size == len(weights)):
            making.refuse(node, "what it adds is computed, or differs by row")
        bias = bias + given.get("beta", 1.0) * added.ravel().astype(np.float64)
    _dense(making, node, weights * given.get("alpha", 1.0), bias)


def matmul(making: Making, node: onnx.NodeProto) -> None:
    """MatMul with constant weights on the right."""
    weights = making.constant(node.input[1])
    if weights is None:
        left = making.constant(node.input[0]) is not None
        making.refuse(node, "its weights stand on the left" if left else _COMPUTED)
    if weights.ndim != 2:
        making.refuse(node, f"its weights have {weights.ndim} axes; two are wanted")
    _dense(making, node, weights.T.astype(np.float64), np.zeros(weights.shape[1]))


def _dense(making: Making, node: onnx.NodeProto, weights: Any, bias: Any) -> None:
    """A FULLY_CONNECTED: `weights` are [outputs, inputs]."""
    name = node.input[0]
    floats(making, node, name)
    rank = len(making.shape(name))
    if rank < 2:
        making.refuse(node, "its input has no rows")
    found = after(making, node.output[0], rank - 1, len(weights))
    flat = making.flat(name)
    if flat is not None:
        given, (_, *image) = flat
        columns = np.arange(weights.shape[1]).reshape([size or 1 for size in image])
        weights = weights[:, columns.transpose(1, 2, 0).ravel()]
    else:
        given = making.own(name)
    inputs = [given, *_constants(making, found, weights, bias)]
    options = {"fusedActivationFunction": found.activation, "keepNumDims": rank > 2}
    version = 5 if rank > 2 else 1
    making.emit("FULLY_CONNECTED", inputs, found.name, options, version=version)


def conv(making: Making, node: onnx.NodeProto) -> None:
    """Conv of images; by all channels, or each by itself."""
    weights = making.constant(node.input[1])
    if weights is None:
        making.refuse(node, _COMPUTED)
    name = node.input[0]
    floats(making, node, name)
    if weights.ndim != 4:
        making.refuse(node, f"it has {weights.ndim - 2} axes beside its channels; two are wanted")
    given = attributes(node)
    groups, channels = given.get("group", 1), int(making.shape(name)[1] or 0)
    if groups not in {1, channels}:
        making.refuse(node, f"{groups} groups of {channels} channels; one, or one a channel")
    bias = np.zeros(len(weights))
    if len(node.input) > 2 and node.input[2]:
        added = making.constant(node.input[2])
        if added is None:
            making.refuse(node, _COMPUTED)
        bias = added.astype(np.float64)
    window = padding.window(making, node, weights.shape[2:])
    found = after(making, node.output[0], 1, len(weights))
    image = padding.padded(making, window, making.last(name), 0.0)
    options = {
        "padding": window.mode,
        "strideH": window.strides[0],
        "strideW": window.strides[1],
        "dilationHFactor": window.dilations[0],
        "dilationWFactor": window.dilations[1],
        "fusedActivationFunction": found.activation,
    }
    deep = groups > 1
    if deep:
        options["depthMultiplier"] = len(weights) // channels
    order = (1, 2, 3, 0) if deep else (0, 2, 3, 1)
    inputs = [image, *_constants(making, found, weights.astype(np.float64), bias, order)]
    code = "DEPTHWISE_CONV_2D" if deep else "CONV_2D"
    making.emit(code, inputs, found.name, options, last=True)


def _constants(
    making: Making, found: After, weights: Any, bias: Any, order: tuple[int, ...] = (0, 1)
) -> tuple[Tensor, Tensor]:
    """Weights and bias with what comes after them in them; the weights' axes in that order."""
    scale = found.scale.reshape(-1, *(1,) * (weights.ndim - 1))
    whole = (weights * scale).astype(np.float32).transpose(order)
    shifted = (bias * found.scale + found.shift).astype(np.float32)
    return (
        making.graph.constant(f"{found.name}/weights", whole),
        making.graph.constant(f"{found.name}/bias", shifted),
    )
