"""Normalisation, softmax, and what goes over axes."""

from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax, nn

from modelworks.ext.passes.jax.elementwise import Rule
from modelworks.ext.passes.jax.node import (
    Node,
    Value,
    axes_of,
    axis_within,
    known,
    symbolic,
    traced,
)


def batch(node: Node, value: Value, scale: Value, shift: Value, mean: Value, var: Value) -> Value:
    """BatchNormalization over the second axis, with what was learnt."""
    if node.given.get("training_mode", 0) or node.outputs > 1:
        node.refuse("it learns while it runs")
    value = traced(value)
    shape = (1, -1, *(1,) * (value.ndim - 2))
    scale, shift, mean, var = (traced(one).reshape(shape) for one in (scale, shift, mean, var))
    return (value - mean) * lax.rsqrt(var + node.given.get("epsilon", 1e-5)) * scale + shift


def layer(node: Node, value: Value, scale: Value, shift: Value = None) -> Value:
    """LayerNormalization over the last axes."""
    if node.outputs > 1:
        node.refuse("it gives mean and spread besides values")
    value = traced(value)
    first = axis_within(node.given.get("axis", -1), value.ndim)
    found = _standard(value, tuple(range(first, value.ndim)), node.given.get("epsilon", 1e-5))
    found = found * traced(scale)
    return found if shift is None else found + traced(shift)


def instance(node: Node, value: Value, scale: Value, shift: Value) -> Value:
    """InstanceNormalization: each row and channel by itself."""
    value = traced(value)
    shape = (1, -1, *(1,) * (value.ndim - 2))
    found = _standard(value, tuple(range(2, value.ndim)), node.given.get("epsilon", 1e-5))
    return found * traced(scale).reshape(shape) + traced(shift).reshape(shape)


def _standard(value: Value, axes: tuple[int, ...], epsilon: float) -> Value:
    mean = value.mean(axes, keepdims=True)
    far = value - mean
    return far * lax.rsqrt((far * far).mean(axes, keepdims=True) + epsilon)


def soft(function: Any) -> Rule:
    """Softmax and LogSoftmax; before operator set 13 over an axis and all behind it."""

    def rule(node: Node, value: Value) -> Value:
        value = traced(value)
        new = node.opset >= 13
        axis = axis_within(node.given.get("axis", -1 if new else 1), value.ndim)
        return function(value, axis=axis if new else tuple(range(axis, value.ndim)))

    return rule


def over(name: str, since: int) -> Rule:
    """A reduction; its axes are an input from operator set `since` on."""

    def rule(node: Node, value: Value, given: Value = None) -> Value:
        axes = axes_of(node, given, since)
        if not axes:
            if node.given.get("noop_with_empty_axes", 0):
                return value
            axes = None
        keep = bool(node.given.get("keepdims", 1))
        if known(value) and not symbolic(value):
            return np.asarray(getattr(np, name)(value, axis=axes, keepdims=keep), value.dtype)
        if symbolic(value) and name == "prod" and not keep:  # the number of elements
            return np.asarray(np.multiply.reduce(value), object).reshape(())
        value = traced(value)
        return getattr(jnp, name)(value, axis=axes, keepdims=keep).astype(value.dtype)

    return rule


def length_of(node: Node, value: Value, given: Value = None) -> Value:
    """ReduceL2."""
    value = traced(value)
    axes = axes_of(node, given, 18)
    keep = bool(node.given.get("keepdims", 1))
    return jnp.sqrt((value * value).sum(axes, keepdims=keep))


def place(name: str) -> Rule:
    """ArgMax and ArgMin: the first of equal ones."""

    def rule(node: Node, value: Value) -> Value:
        if node.given.get("select_last_index", 0):
            node.refuse("it asks for the last of equal ones")
        axis, keep = node.given.get("axis", 0), bool(node.given.get("keepdims", 1))
        found = getattr(jnp, name)(traced(value), axis=axis, keepdims=keep)
        return found.astype(np.int64)

    return rule


OPERATORS: Final[dict[str, Rule]] = {
    "ArgMax": place("argmax"),
    "ArgMin": place("argmin"),
    "BatchNormalization": batch,
    "InstanceNormalization": instance,
    "LayerNormalization": layer,
    "LogSoftmax": soft(nn.log_softmax),
    "ReduceL2": length_of,
    "ReduceMax": over("max", 18),
    "ReduceMean": over("mean", 18),
    "ReduceMin": over("min", 18),
    "ReduceProd": over("prod", 18),
    "ReduceSum": over("sum", 13),
    "Softmax": soft(nn.softmax),
}
