"""Turns a graph into a LiteRT file, operator by operator."""

from collections.abc import Callable
from typing import Final

import onnx

from modelworks.core.errors import UnsupportedError
from modelworks.core.tensor import Signature
from modelworks.ext.formats.tflite_write import Tensor
from modelworks.ext.passes.litert import composed, labels, layers, plain, pools, shapes
from modelworks.ext.passes.litert.making import Making
from modelworks.ext.passes.litert.source import computed, inlined, key, read

OPERATORS: Final[dict[str, Callable[[Making, onnx.NodeProto], None]]] = {
    "Abs": plain.unary,
    "Add": plain.binary,
    "ArgMax": labels.argmax,
    "AveragePool": pools.pool,
    "BatchNormalization": plain.normalize,
    "Cast": shapes.cast,
    "Clip": plain.clip,
    "Concat": shapes.concat,
    "Conv": layers.conv,
    "Div": plain.binary,
    "Dropout": shapes.same,
    "Elu": plain.unary,
    "Exp": plain.unary,
    "Flatten": shapes.reshape,
    "Gather": labels.gather,
    "Gelu": plain.gelu,
    "Gemm": layers.gemm,
    "GlobalAveragePool": pools.reduce,
    "GlobalMaxPool": pools.reduce,
    "HardSigmoid": composed.hard_sigmoid,
    "HardSwish": plain.unary,
    "Identity": shapes.same,
    "LayerNormalization": composed.layer_norm,
    "LeakyRelu": plain.leaky,
    "Log": plain.unary,
    "LogSoftmax": plain.softmax,
    "MatMul": layers.matmul,
    "Max": plain.binary,
    "MaxPool": pools.pool,
    "Min": plain.binary,
    "Mul": plain.binary,
    "Neg": plain.unary,
    "PRelu": plain.prelu,
    "Pad": shapes.pad,
    "Pow": composed.power,
    "Reciprocal": composed.reciprocal,
    "ReduceMax": pools.reduce,
    "ReduceMean": pools.reduce,
    "ReduceMin": pools.reduce,
    "ReduceSum": pools.reduce,
    "Relu": plain.clip,
    "Reshape": shapes.reshape,
    "Sigmoid": plain.unary,
    "Softmax": plain.softmax,
    "Sqrt": plain.unary,
    "Squeeze": shapes.reshape,
    "Sub": plain.binary,
    "Tanh": plain.unary,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.reshape,
    "ai.onnx.ml.ArrayFeatureExtractor": labels.extract,
    "ai.onnx.ml.Scaler": plain.scaler,
    "com.microsoft.Gelu": plain.gelu,
}


def missing(model: onnx.ModelProto) -> list[str]:
    """Operators of a graph that are not known here, sorted; its weights need not be loaded."""
    nodes = computed(inlined(model).graph)
    return sorted({key(node) for node in nodes} - OPERATORS.keys())


def convert(model: onnx.ModelProto, signature: Signature, threads: int) -> bytes:
    """The file.

    Args:
        model: with its weights.
        signature: its own.
        threads: to run it with.

    Raises:
        UnsupportedError: an operator, or a way to use one, that is not known here.
        CrashedError: ONNX Runtime cannot run the model.
    """
    unknown = missing(model)
    if unknown:
        raise UnsupportedError(unknown_said(unknown))
    source = read(model, signature, threads)
    making = Making(source)
    for node in source.nodes:
        if not making.taken(node):
            OPERATORS[key(node)](making, node)
    inputs = {name: making.own(name) for name in source.inputs}
    outputs = {name: _output(making, name) for name in source.outputs}
    return making.graph.bytes(inputs, outputs)


def unknown_said(names: list[str]) -> str:
    """One sentence."""
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"no LiteRT form of {shown}: only dense networks and small convolutional ones are known"


def _output(making: Making, name: str) -> Tensor:
    if making.constant(name) is not None:
        raise UnsupportedError(f"output '{name}' does not depend on the input")
    return making.own(name)
