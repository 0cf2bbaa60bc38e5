"""Weights and activations in eight bits, by ranges seen on calibration rows (QDQ)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import save_and_reload_model_with_shape_infer
from onnxruntime.quantization.quantize import update_opset_version

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, Need, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import name_nodes, read_graph
from modelworks.ext.passes.onnx_parts import begin, end, refused_keep, told
from modelworks.ext.passes.onnx_prepare import apart_outputs, with_opset
from modelworks.ext.passes.onnx_ranges import METHODS, MOST, clipped, watch
from modelworks.ext.passes.onnx_session import optimized, quiet
from modelworks.ext.passes.onnx_shapes import (
    CONVOLUTIONS,
    DENSE,
    already,
    attention,
    fused,
    makeup,
    masks,
)

_WEIGHTED: Final = (*CONVOLUTIONS, *DENSE)
_OTHERS: Final = ("Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "Softmax", "Sigmoid")
# What only moves or cuts values runs in eight bits where what is before it does.
_MOVING: Final = (
    "Clip", "Flatten", "MaxPool", "Relu", "Reshape", "Resize", "Slice", "Split", "Squeeze",
    "Transpose", "Unsqueeze",
)  # fmt: skip
_OPSET: Final = 13  # the first whose operators know a scale for each channel
_SMALL: Final = 2048  # bytes of weights below which nothing is won


class Int8Static:
    """ONNX Runtime's QDQ quantizer, with ranges of our own."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="int8_static",
        version=1,
        title="int8, static",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        needs=frozenset({Need.ROWS}),
        settings=(
            Setting("first", 0, "convolutions with few channels that stay in float", (0, 1, 2, 4)),
            Setting("method", "minmax", "how ranges are found", METHODS),
            Setting("percentile", 99.99, "of the values that stay", (), 50.0, 100.0),
            Setting("per_channel", default=True, help="a scale for each output channel"),
            Setting("operators", "all", "or those with weights alone", ("all", "weighted")),
            Setting("skip", (), "types of operators that stay in float"),
            Setting("rows", MOST, "of calibration that are looked at, at most", (), 1, 1_000_000),
            Setting("symmetric", default=False, help="the form that TensorRT takes"),
            Setting("reduce", default=False, help="seven bits, for CPUs without VNNI"),
        ),
        keeps=True,
        libraries=("onnx", "onnxruntime"),
        extra="optimize",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """No weights to speak of, or attention whose masks would take the whole range."""
        model = read_graph(job.source)
        why = already(model)
        if why:
            return why
        found = makeup(model)
        if found.convolutions + found.dense < _SMALL:
            return "the graph has no convolutions or matrices to speak of"
        mask = masks(model) if attention(model) else 0.0
        if mask or fused(model):
            adds = f" adds up to {mask:.3g} where nothing is to be seen, and" if mask else ""
            return (
                f"attention{adds} is fed by a few values that are far out: eight bits from ranges "
                "are too coarse (cosines of 0.39 to 0.94 were measured); use nncf_int8 or "
                "int8_dynamic"
            )
        return ""

    def apply(self, job: PassJob) -> Applied:
        """Quantize; see `core.seams.Pass.apply`."""
        model = begin(self.facts, job)
        types = _types(job)
        with told(self.facts), quiet():
            model = _prepared(model, job.threads)
            known = {node.name: node.op_type for node in model.graph.node if node.op_type in types}
            refused_keep(self.facts, job.keep, list(known))
            kept = {*job.keep, *_first(known, job.settings["first"])}
            model = _quantized(model, _ranges(model, types, job), types, sorted(kept), job)
        operators = [name for name, kind in known.items() if kind not in _MOVING]
        changed = [name for name in _changed(model, operators) if name not in kept]
        if not changed and not job.keep:
            raise UnsupportedError("none of the graph's operators in float32 can be quantized")
        count = len(changed)
        notes = (f"{count} of {len(operators)} operators run in eight bits",)
        return end(job, model, changed, notes, {"quantized": count, "operators": len(operators)})


def _types(job: PassJob) -> tuple[str, ...]:
    some = () if job.settings["operators"] == "weighted" else _OTHERS
    skipped = set(job.settings["skip"])
    return tuple(one for one in (*_WEIGHTED, *some, *_MOVING) if one not in skipped)


def _prepared(model: onnx.ModelProto, threads: int) -> onnx.ModelProto:
    """With constants folded and normalisations joined: the quantizer looks for initializers."""
    name_nodes(model)
    found = with_opset(optimized(model, "basic", threads), _OPSET)
    name_nodes(found)
    apart_outputs(found)
    return found


def _ranges(model: onnx.ModelProto, types: tuple[str, ...], job: PassJob) -> TensorsData:
    stored = {one.name for one in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in types]
    names = dict.fromkeys(
        name
        for node in nodes
        for name in (*node.input, *node.output)
        if name and name not in stored
    )
    assert job.calibration is not None  # noqa: S101 - checked before
    seen = watch(model, job.calibration, tuple(names), job.threads, job.settings["rows"])
    cut = clipped(seen, job.settings["method"], job.settings["percentile"])
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in cut.items()
    }
    return TensorsData(CalibrationMethod.MinMax, data)


def _quantized(
    model: onnx.ModelProto,
    ranges: TensorsData,
    types: tuple[str, ...],
    kept: list[str],
    job: PassJob,
) -> onnx.ModelProto:
    even = job.settings["symmetric"]
    kind = QuantType.QInt8 if even else QuantType.QUInt8
    extra: dict[str, Any] = {"WeightSymmetric": True, "ActivationSymmetric": even}
    if even:
        extra |= {"QuantizeBias": False, "DedicatedQDQPair": True}
    model = save_and_reload_model_with_shape_infer(model)
    _flatten_biases(model)
    model = update_opset_version(model, QuantType.QInt8, kind)
    quantizer = QDQQuantizer(
        model,
        job.settings["per_channel"],
        job.settings["reduce"],
        QuantType.QInt8,
        kind,
        ranges,
        [],
        kept,
        list(types),
        extra,
    )
    quantizer.quantize_model()
    found: onnx.ModelProto = quantizer.model.model
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


def _first(known: Mapping[str, str], count: int) -> list[str]:
    """Names of so many convolutions, in the graph's order."""
    return [name for name, kind in known.items() if kind == "Conv"][:count]


def _changed(model: onnx.ModelProto, operators: list[str]) -> list[str]:
    """Of the operators, those that take what was in eight bits."""
    wide = {name for n in model.graph.node if n.op_type == "DequantizeLinear" for name in n.output}
    found = {node.name for node in model.graph.node if wide.intersection(node.input)}
    return [name for name in operators if name in found]
