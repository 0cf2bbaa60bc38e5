"""ONNX operators without weights as torch functions; an operator that is not here is refused."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import torch
from onnx import TensorProto
from torch.nn import functional

from modelworks.core.errors import UnsupportedError
from modelworks.ext.passes.training.graphs import Graph, attributes, named

Operator: TypeAlias = Callable[..., torch.Tensor]
"""Tensors in the order of the node's inputs, constants left out where they became settings."""

_FLOATS: Final = {TensorProto.FLOAT}
_WINDOWS: Final = {1: functional.max_pool1d, 2: functional.max_pool2d}
_MEANS: Final = {1: functional.avg_pool1d, 2: functional.avg_pool2d}


def refuse(node: Any, why: str) -> UnsupportedError:
    """The error of an operator that is not translated."""
    return UnsupportedError(f"{named(node)}: {node.op_type} {why} cannot be trained further")


def operator(node: Any, graph: Graph) -> tuple[Operator, tuple[str, ...]]:
    """A node as a function, and the tensors that it is called with.

    Raises:
        UnsupportedError: it is none of those known here.
    """
    if node.op_type in _ALIKE:
        return _ALIKE[node.op_type], tuple(node.input)
    make = _MADE.get((node.domain if node.domain == "ai.onnx.ml" else "") + node.op_type)
    if make is None:
        raise refuse(node, "is an operator that")
    return make(node, graph), (node.input[0],)


def _activation(function: Callable[..., Any], **names: tuple[str, float]) -> Any:
    def make(node: Any, _: Graph) -> Operator:
        own = attributes(node)
        settings = {key: own.get(name, default) for key, (name, default) in names.items()}
        return lambda x: function(x, **settings)

    return make


def _softmax(function: Callable[..., Any]) -> Any:
    def make(node: Any, graph: Graph) -> Operator:
        axis = attributes(node).get("axis", -1 if _opset(graph) >= 13 else 1)
        return lambda x: function(x, dim=axis)

    return make


def _opset(graph: Graph) -> int:
    return max((one.version for one in graph.model.opset_import if one.domain == ""), default=1)


def _hard_sigmoid(node: Any, _: Graph) -> Operator:
    own = attributes(node)
    alpha, beta = own.get("alpha", 0.2), own.get("beta", 0.5)
    return lambda x: torch.clamp(alpha * x + beta, 0.0, 1.0)


def _gelu(node: Any, _: Graph) -> Operator:
    way = attributes(node).get("approximate", "none")
    return lambda x: functional.gelu(x, approximate=way)


def _clip(node: Any, graph: Graph) -> Operator:
    own = attributes(node)
    bounds = [own.get("min"), own.get("max")]
    for place, name in enumerate(node.input[1:3]):
        if name:
            value = graph.weight(name)
            if value is None:
                raise refuse(node, "with computed bounds")
            bounds[place] = float(value)
    if bounds == [None, None]:
        return lambda x: x
    return lambda x: torch.clamp(x, bounds[0], bounds[1])


def _pool(windows: dict[int, Any], *, mean: bool) -> Any:
    def make(node: Any, _: Graph) -> Operator:
        own = attributes(node)
        kernel = own["kernel_shape"]
        axes = len(kernel)
        pads = own.get("pads", [0] * 2 * axes)
        strides = own.get("strides", [1] * axes)
        plain = own.get("auto_pad", "NOTSET") in {"NOTSET", "VALID"} and len(node.output) == 1
        if axes not in windows or not plain or pads[:axes] != pads[axes:]:
            raise refuse(node, "with such windows")
        settings: dict[str, Any] = {"padding": pads[:axes], "ceil_mode": bool(own.get("ceil_mode"))}
        if mean:
            settings["count_include_pad"] = bool(own.get("count_include_pad"))
        elif any(size != 1 for size in own.get("dilations", [1])):
            settings["dilation"] = own["dilations"]
        return lambda x: windows[axes](x, kernel, strides, **settings)

    return make


def _everything(node: Any, _: Graph) -> Operator:
    del node
    return lambda x: x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


def _reduce_mean(node: Any, graph: Graph) -> Operator:
    own = attributes(node)
    axes = own.get("axes")
    if axes is None and len(node.input) > 1:
        value = graph.weight(node.input[1])
        axes = None if value is None else value.tolist()
    if not axes:
        raise refuse(node, "over all axes")
    keep = bool(own.get("keepdims", 1))
    return lambda x: x.mean(dim=tuple(axes), keepdim=keep)


def _flatten(node: Any, _: Graph) -> Operator:
    if attributes(node).get("axis", 1) != 1:
        raise refuse(node, "of the rows' axis")
    return lambda x: torch.flatten(x, 1)


def _reshape(node: Any, graph: Graph) -> Operator:
    shape = graph.weight(node.input[1])
    if shape is None or shape.size != 2 or shape[0] not in {-1, 0}:
        raise refuse(node, "to anything but a row of numbers")
    return lambda x: torch.flatten(x, 1)


def _same(node: Any, _: Graph) -> Operator:
    del node
    return lambda x: x


def _cast(node: Any, _: Graph) -> Operator:
    if attributes(node)["to"] not in _FLOATS:
        raise refuse(node, "to a type other than FP32")
    return lambda x: x.to(torch.float32)


def _scaler(node: Any, _: Graph) -> Operator:
    own = attributes(node)
    offset, scale = (torch.tensor(own[name], dtype=torch.float32) for name in ("offset", "scale"))
    return lambda x: (x.to(torch.float32) - offset) * scale


def _concat(*parts: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.cat(parts, dim=axis)


def concatenation(node: Any) -> Operator:
    """`Concat`, which takes any number of tensors."""
    axis = attributes(node)["axis"]
    return lambda *parts: _concat(*parts, axis=axis)


ELEMENTWISE: Final[dict[str, Operator]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
}
"""Of two tensors, one of which may be a constant."""

_ALIKE: Final[dict[str, Operator]] = {
    "Relu": functional.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Softplus": functional.softplus,
    "Erf": torch.erf,
    "Sqrt": torch.sqrt,
    "Neg": torch.neg,
    "HardSwish": functional.hardswish,
}
_MADE: Final[dict[str, Callable[[Any, Graph], Operator]]] = {
    "LeakyRelu": _activation(functional.leaky_relu, negative_slope=("alpha", 0.01)),
    "Elu": _activation(functional.elu, alpha=("alpha", 1.0)),
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Clip": _clip,
    "Softmax": _softmax(functional.softmax),
    "LogSoftmax": _softmax(functional.log_softmax),
    "MaxPool": _pool(_WINDOWS, mean=False),
    "AveragePool": _pool(_MEANS, mean=True),
    "GlobalAveragePool": _everything,
    "ReduceMean": _reduce_mean,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Identity": _same,
    "Dropout": _same,
    "Cast": _cast,
    "ai.onnx.mlScaler": _scaler,
}


def constants(names: Sequence[str], graph: Graph) -> list[torch.Tensor | None]:
    """The constants among a node's inputs, as tensors."""
    found = [graph.weight(name) for name in names]
    return [None if each is None else torch.from_numpy(each.copy()) for each in found]
