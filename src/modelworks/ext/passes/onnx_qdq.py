"""Graphs whose weights and activations are rounded to eight bits, as ONNX Runtime reads them (QDQ).

What `int8_static` and `int8_trained` share: which operators are rounded, by which ranges, and what
became of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import save_and_reload_model_with_shape_infer
from onnxruntime.quantization.quantize import update_opset_version

from modelworks.core.optimizing.passes import Setting
from modelworks.ext.formats.onnx_model import name_nodes
from modelworks.ext.passes.onnx_prepare import apart_outputs, means_as_pools, with_opset
from modelworks.ext.passes.onnx_session import optimized
from modelworks.ext.passes.onnx_shapes import CONVOLUTIONS, DENSE, already, makeup

WEIGHTED: Final = (*CONVOLUTIONS, *DENSE)
OTHERS: Final = ("Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "Softmax", "Sigmoid")
# What only moves or cuts values runs in eight bits where what is before it does.
MOVING: Final = (
    "Clip", "Flatten", "MaxPool", "Relu", "Reshape", "Resize", "Slice", "Split", "Squeeze",
    "Transpose", "Unsqueeze",
)  # fmt: skip
FIRST: Final = Setting(
    "first", 0, "convolutions with few channels that stay in float", (0, 1, 2, 3, 4)
)
_OPSET: Final = 13  # the first whose operators know a scale for each channel
_ROUNDED_IN_LOADING: Final = (*CONVOLUTIONS, "Gemm")
_SMALL: Final = 2048  # bytes of weights below which nothing is won
_STEPS: Final = 255  # of eight bits without a sign

Ranges = Mapping[str, tuple[float, float]]
"""Tensor -> the smallest and the largest value that it keeps."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a graph is rounded.

    Attributes:
        types: of operators that are.
        kept: names of operators that are not.
        per_channel: weights have a scale for each output channel.
        reduce: to seven bits, for CPUs without VNNI.
        symmetric: the form that TensorRT takes.
    """

    types: tuple[str, ...] = (*WEIGHTED, *OTHERS, *MOVING)
    kept: tuple[str, ...] = ()
    per_channel: bool = True
    reduce: bool = False
    symmetric: bool = False


@dataclass(frozen=True, slots=True)
class Rounded:
    """A tensor of a graph that was rounded.

    Attributes:
        tensor: its name in the graph before.
        low: of its range.
        high: of it.
        scale: name of the constant that holds its step; tensors that share it have one range.
    """

    tensor: str
    low: float
    high: float
    scale: str


def little(model: onnx.ModelProto) -> str:
    """Why nothing is won by rounding a graph; empty = something may be."""
    found = makeup(model)
    small = found.convolutions + found.dense < _SMALL
    return already(model) or (
        "the graph has no convolutions or matrices to speak of" if small else ""
    )


def prepared(model: onnx.ModelProto, threads: int) -> onnx.ModelProto:
    """With constants folded and normalisations joined: the quantizer looks for initializers.

    Raises:
        UnsupportedError: ONNX Runtime cannot load it, or its operators are too old to convert.
    """
    name_nodes(model)
    found = with_opset(optimized(model, "basic", threads), _OPSET)
    name_nodes(found)
    means_as_pools(found)
    apart_outputs(found)
    return found


def operators(model: onnx.ModelProto, types: tuple[str, ...]) -> dict[str, str]:
    """Name -> type of the operators that may be rounded, in the graph's order."""
    return {node.name: node.op_type for node in model.graph.node if node.op_type in types}


def first(known: Mapping[str, str], count: int) -> list[str]:
    """Names of so many convolutions, in the graph's order."""
    return [name for name, kind in known.items() if kind == "Conv"][:count]


def tensors(model: onnx.ModelProto, types: tuple[str, ...]) -> tuple[str, ...]:
    """Names of what those operators read and give, constants left out."""
    stored = {one.name for one in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in types]
    names = [name for node in nodes for name in (*node.input, *node.output)]
    return tuple(dict.fromkeys(name for name in names if name and name not in stored))


def in_eight_bits(model: onnx.ModelProto, ranges: Ranges, manner: Manner) -> onnx.ModelProto:
    """The rounded graph.

    Args:
        model: as `prepared` made it; it may be changed.
        ranges: of the tensors that `tensors` named, as far as they are floats.
        manner: how.
    """
    even = manner.symmetric
    kind = QuantType.QInt8 if even else QuantType.QUInt8
    extra: dict[str, Any] = {"WeightSymmetric": True, "ActivationSymmetric": even}
    if even:
        extra |= {"QuantizeBias": False, "DedicatedQDQPair": True}
    model = save_and_reload_model_with_shape_infer(model)
    _flatten_biases(model)
    model = update_opset_version(model, QuantType.QInt8, kind)
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    quantizer = QDQQuantizer(
        model,
        manner.per_channel,
        manner.reduce,
        QuantType.QInt8,
        kind,
        TensorsData(CalibrationMethod.MinMax, data),
        [],
        sorted(manner.kept),
        list(manner.types),
        extra,
    )
    quantizer.quantize_model()
    found: onnx.ModelProto = quantizer.model.model
    _hold(found, manner.kept)
    return found


def _hold(model: onnx.ModelProto, kept: tuple[str, ...]) -> None:
    """Operators that stay in float do so when the graph is loaded, too.

    ONNX Runtime rounds the weights of a `Gemm` or convolution by itself, a whole matrix by one
    scale, where it stands between rounded values (`WeightBiasQuantization`, at any level of
    optimization). A sum of one term in front of it, which nothing takes out, is no rounded value.
    """
    wide = {name for n in model.graph.node if n.op_type == "DequantizeLinear" for name in n.output}
    for place, node in reversed(list(enumerate(model.graph.node))):
        if node.name in kept and node.op_type in _ROUNDED_IN_LOADING and node.input[0] in wide:
            held = f"{node.name}_held"
            before = helper.make_node("Sum", [node.input[0]], [held], f"{node.name}_hold")
            node.input[0] = held
            model.graph.node.insert(place, before)


def changed(model: onnx.ModelProto, known: Mapping[str, str]) -> list[str]:
    """Of the operators that `operators` named, those that compute in eight bits now."""
    wide = {name for n in model.graph.node if n.op_type == "DequantizeLinear" for name in n.output}
    found = {node.name for node in model.graph.node if wide.intersection(node.input)}
    return [name for name, kind in known.items() if name in found and kind not in MOVING]


def rounded(model: onnx.ModelProto) -> list[Rounded]:
    """The activations of a graph without `symmetric` that are rounded, in the graph's order."""
    stored = {one.name: one for one in model.graph.initializer}
    given = {value.name for value in model.graph.output}
    wide = {n.input[0]: n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    found = []
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        outer = wide.get(node.output[0], "")
        step, zero = (float(numpy_helper.to_array(stored[name])) for name in node.input[1:3])
        ends = -zero * step, (_STEPS - zero) * step
        found.append(Rounded(outer if outer in given else node.input[0], *ends, node.input[1]))
    return found


def rounded_weights(model: onnx.ModelProto) -> dict[str, bool]:
    """Name of an operator whose weights are rounded -> whether by a scale for each channel."""
    stored = {one.name: one for one in model.graph.initializer}
    made = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    found = {}
    for node in model.graph.node:
        weight = made.get(node.input[1]) if node.op_type in WEIGHTED else None
        if weight is not None and weight.input[0] in stored:
            found[node.name] = bool(stored[weight.input[1]].dims)
    return found


def _flatten_biases(model: onnx.ModelProto) -> None:
    """Biases of `Gemm` with an axis of one before them lose it: the quantizer takes one axis only.

    The networks of scikit-learn have them; `Gemm` adds both forms alike.
    """
    stored = {one.name: one for one in model.graph.initializer}
    users = [name for node in model.graph.node for name in node.input]
    for node in model.graph.node:
        bias = stored.get(node.input[2]) if node.op_type == "Gemm" and len(node.input) > 2 else None
        if bias is None or users.count(bias.name) != 1:
            continue
        if len(bias.dims) == 2 and bias.dims[0] == 1:
            del bias.dims[0]
