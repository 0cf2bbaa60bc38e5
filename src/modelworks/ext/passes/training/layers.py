"""ONNX operators with weights as torch modules, and their weights back into the graph."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from modelworks.ext.passes.training.graphs import Graph, attributes
from modelworks.ext.passes.training.operators import refuse

_CONVOLUTIONS: Final = {1: nn.Conv1d, 2: nn.Conv2d}


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator with weights.

    Attributes:
        node: of the graph.
        module: that learns.
        reads: the tensor that it takes.
        writes: the tensor that it gives.
        store: puts the module's weights back into the graph, of whatever size they are.
        weights: names of the constants that it holds.
    """

    node: Any
    module: nn.Module
    reads: str
    writes: str
    store: Callable[[], None]
    weights: tuple[str, ...]


def layer(node: Any, graph: Graph, wanted: frozenset[str]) -> Layer | None:
    """The node as a layer; None = it has no weights.

    Args:
        node: of the graph.
        graph: with its weights.
        wanted: tensors that somebody asks for: no addition behind them is drawn in.

    Raises:
        UnsupportedError: it has weights of a kind that is not translated.
    """
    make = {
        "Conv": _conv,
        "Gemm": _gemm,
        "BatchNormalization": _norm,
    }.get(node.op_type)
    product = node.op_type == "MatMul" and len(graph.shape(node.input[1])) == 2
    if make is None and not product:
        return None
    held = [graph.weight(name) for name in _held(node, graph)]
    if any(each is not None and each.dtype != np.float32 for each in held):
        raise refuse(node, "with weights other than FP32")
    return _matmul(node, graph, wanted) if make is None else make(node, graph)


def _conv(node: Any, graph: Graph) -> Layer:
    own = attributes(node)
    weight = graph.weight(node.input[1])
    bias = graph.weight(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if weight is None or (len(node.input) > 2 and node.input[2] and bias is None):
        raise refuse(node, "with computed weights")
    axes = weight.ndim - 2
    pads = own.get("pads", [0] * 2 * axes)
    plain = own.get("auto_pad", "NOTSET") in {"NOTSET", "VALID"} and pads[:axes] == pads[axes:]
    if axes not in _CONVOLUTIONS or not plain:
        raise refuse(node, "with such padding")
    group = own.get("group", 1)
    kind: Any = _CONVOLUTIONS[axes]
    module = kind(
        weight.shape[1] * group,
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride=tuple(own.get("strides", [1] * axes)),
        padding=tuple(pads[:axes]),
        dilation=tuple(own.get("dilations", [1] * axes)),
        groups=group,
        bias=bias is not None,
    )
    _fill(module.weight, weight)
    if bias is not None:
        _fill(module.bias, bias)

    def store() -> None:
        graph.put(node.input[1], _array(module.weight))
        if module.bias is not None:
            graph.put(node.input[2], _array(module.bias))
        for attribute in node.attribute:
            if attribute.name == "group":
                attribute.i = module.groups

    return Layer(node, module, node.input[0], node.output[0], store, _held(node, graph))


def _gemm(node: Any, graph: Graph) -> Layer:
    own = attributes(node)
    weight = graph.weight(node.input[1])
    has_bias = len(node.input) > 2 and bool(node.input[2])
    bias = graph.weight(node.input[2]) if has_bias else None
    if weight is None or (has_bias and bias is None):
        raise refuse(node, "with computed weights")
    if own.get("transA") or own.get("alpha", 1.0) != 1.0 or own.get("beta", 1.0) != 1.0:
        raise refuse(node, "with factors")
    turned = bool(own.get("transB"))
    module = _linear(weight if turned else weight.T, bias, node)

    def store() -> None:
        found = _array(module.weight)
        graph.put(node.input[1], found if turned else found.T)
        if has_bias:
            graph.put(node.input[2], _array(module.bias))

    return Layer(node, module, node.input[0], node.output[0], store, _held(node, graph))


def _matmul(node: Any, graph: Graph, wanted: frozenset[str]) -> Layer:
    """With the addition behind it, where that is a bias."""
    add, place = None, 0
    readers = graph.readers(node.output[0])
    if len(readers) == 1 and readers[0].op_type == "Add" and node.output[0] not in wanted:
        place = 1 - list(readers[0].input).index(node.output[0])
        width = graph.shape(node.input[1])[1]
        if graph.shape(readers[0].input[place]) in {(width,), (1, width)}:
            add = readers[0]
    weight = graph.weight(node.input[1])
    bias = None if add is None else graph.weight(add.input[place])
    module = _linear(weight.T, bias, node)  # type: ignore[union-attr]  # asked before

    def store() -> None:
        graph.put(node.input[1], _array(module.weight).T)
        if add is not None:
            graph.put(add.input[place], _array(module.bias))

    held = _held(node, graph) + (() if add is None else (str(add.input[place]),))
    writes = node.output[0] if add is None else add.output[0]
    return Layer(node, module, node.input[0], writes, store, held)


def _norm(node: Any, graph: Graph) -> Layer:
    scale, bias, mean, variance = (graph.weight(name) for name in node.input[1:5])
    if scale is None or bias is None or mean is None or variance is None:
        raise refuse(node, "with computed weights")
    module = _Norm(len(scale), eps=attributes(node).get("epsilon", 1e-5))
    _fill(module.weight, scale)
    _fill(module.bias, bias)
    module.running_mean = torch.from_numpy(mean.copy())
    module.running_var = torch.from_numpy(variance.copy())

    def store() -> None:
        found = (module.weight, module.bias, module.running_mean, module.running_var)
        for name, value in zip(node.input[1:5], found, strict=True):
            graph.put(name, _array(value))

    return Layer(node, module, node.input[0], node.output[0], store, _held(node, graph))


class _Norm(nn.BatchNorm2d):
    """Statistics stay as they were learned: rows of calibration are too few for better ones."""

    def train(self, mode: bool = True) -> "_Norm":  # noqa: FBT001, FBT002 - torch's own
        del mode
        return super().train(mode=False)

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002 - torch's own
        """Any number of axes."""


def _linear(weight: Any, bias: Any, node: Any) -> nn.Linear:
    if weight.ndim != 2 or (bias is not None and bias.size != weight.shape[0]):
        raise refuse(node, "with such weights")
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    _fill(module.weight, weight)
    if bias is not None:
        _fill(module.bias, bias.reshape(-1))
    return module


def _held(node: Any, graph: Graph) -> tuple[str, ...]:
    return tuple(name for name in node.input[1:] if name and graph.weight(name) is not None)


def _fill(parameter: torch.Tensor, value: Any) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(value.astype("float32")))


def _array(value: torch.Tensor | None) -> Any:
    assert value is not None  # noqa: S101 - made with it
    return value.detach().numpy().astype("float32")
