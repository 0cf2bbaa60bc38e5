"""Follows an ONNX graph as a function of JAX arrays."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import onnx
from onnx import inliner, numpy_helper

from modelworks.core.errors import ModelworksError, UnsupportedError
from modelworks.ext.formats.onnx_model import short
from modelworks.ext.passes.jax import elementwise, layers, norms, shapes
from modelworks.ext.passes.jax.node import Node, traced

Function = Callable[..., tuple[Any, ...]]

OPERATORS: Final = {
    **elementwise.OPERATORS,
    **layers.OPERATORS,
    **norms.OPERATORS,
    **shapes.OPERATORS,
}
_ONNX: Final = {"", "ai.onnx"}
_OLDEST: Final = 7  # operator set; before it, broadcasting was another


def missing(model: onnx.ModelProto) -> list[str]:
    """Operators of a graph that are not known here, sorted; its weights need not be loaded."""
    return sorted({_key(node) for node in _inlined(model).graph.node} - OPERATORS.keys())


def refused(model: onnx.ModelProto) -> str:
    """Why a graph cannot be followed, as far as it is known beforehand; empty = it may be."""
    unknown = missing(model)
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        return f"no JAX form of {shown} is known here"
    if _opset(model) < _OLDEST:
        return f"its operator set is {_opset(model)}; {_OLDEST} and later are known here"
    return ""


def function_of(model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> Function:
    """The graph as a function of its inputs, in that order, to its outputs, in that order.

    Args:
        model: with its weights.
        inputs: names.
        outputs: names.

    Raises:
        UnsupportedError: (when it is traced) an operator used in a way that is not known here.
    """
    model = _inlined(model)
    graph, opset = model.graph, _opset(model)
    weights = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    read = {name for node in graph.node for name in node.input} | set(outputs)

    def function(*given: Any) -> tuple[Any, ...]:
        values: dict[str, Any] = {"": None, **weights, **dict(zip(inputs, given, strict=True))}
        for node in graph.node:
            made = _computed(node, opset, [values[name] for name in node.input], read)
            values.update(zip(node.output, made, strict=False))
            values[""] = None  # outputs that nobody wants have this name too
        return tuple(traced(values[name]) for name in outputs)

    return function


def _computed(
    node: onnx.NodeProto, opset: int, given: list[Any], read: set[str]
) -> tuple[Any, ...]:
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    told = Node(
        _key(node),
        node.name or node.output[0],
        {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()},
        opset,
        sum(bool(name) and name in read for name in node.output),
    )
    try:
        found = OPERATORS[told.kind](told, *given)
    except (ModelworksError, MemoryError):
        raise
    except Exception as error:  # JAX raises what it likes, of shapes that do not fit
        raise UnsupportedError(
            f"jax_export: {told.kind} '{told.name[:60]}' cannot be traced: {short(error)}"
        ) from error
    return found if isinstance(found, tuple) else (found,)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    return inliner.inline_local_functions(model) if model.functions else model


def _key(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in _ONNX else f"{node.domain}.{node.op_type}"


def _opset(model: onnx.ModelProto) -> int:
    return max((one.version for one in model.opset_import if one.domain in _ONNX), default=1)
