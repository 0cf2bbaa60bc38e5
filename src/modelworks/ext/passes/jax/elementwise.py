"""Operators that work on each element by itself."""

from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, nn
from jax.scipy import special
from onnx import helper

from modelworks.ext.passes.jax.node import Node, Value, known, symbolic, traced

Rule = Callable[..., Any]
_COUNTING: Final = {"add", "subtract", "multiply", "equal"}  # of lengths too
_STRINGS: Final = 8  # TensorProto.STRING


def either(name: str) -> Rule:
    """A function that NumPy and JAX call the same: NumPy's where all is known."""
    ours, theirs = getattr(np, name), getattr(jnp, name)

    def rule(node: Node, *values: Value) -> Value:
        del node
        free = any(map(symbolic, values))
        if known(*values) and (not free or name in _COUNTING):
            with np.errstate(all="ignore"):
                return np.asarray(ours(*values))
        return theirs(*map(traced, values))

    return rule


def folded(name: str) -> Rule:
    """The same for any number of inputs, one after the other."""
    pair = either(name)

    def rule(node: Node, first: Value, *others: Value) -> Value:
        for one in others:
            first = pair(node, first, one)
        return first

    return rule


def alone(function: Callable[[Any], Any]) -> Rule:
    """A function of JAX of one input."""
    return lambda _, value: function(traced(value))


def divide(node: Node, one: Value, other: Value) -> Value:
    """Div: of integers what is left is cut off, toward zero."""
    if known(one, other) and (symbolic(one) or symbolic(other)):
        return one // other
    if known(one, other):
        with np.errstate(all="ignore"):
            if one.dtype.kind == "f":
                return np.asarray(one / other)
            return np.asarray(np.trunc(one / other).astype(one.dtype))
    left, right = jnp.broadcast_arrays(traced(one), traced(other))
    del node
    return lax.div(left, right)


def power(_: Node, base: Value, exponent: Value) -> Value:
    """Pow: the result has the type of the base."""
    if known(base, exponent) and not symbolic(base):
        return np.asarray(np.power(base, exponent)).astype(base.dtype)
    left, right = traced(base), traced(exponent)
    if known(exponent) and exponent.size == 1 and exponent.ravel()[0] == 2:  # exact, and fast
        return left * left
    return jnp.power(left, right.astype(left.dtype)).astype(left.dtype)


def modulo(node: Node, one: Value, other: Value) -> Value:
    """Mod: the sign of the divisor, with `fmod` that of the dividend."""
    return either("fmod" if node.given.get("fmod", 0) else "mod")(node, one, other)


def clip(node: Node, value: Value, low: Value = None, high: Value = None) -> Value:
    """Clip and its bounds, attributes before operator set 11."""
    kind = value.dtype
    if node.opset < 11:
        low, high = (
            None if one is None else np.asarray(one, kind)
            for one in (node.given.get("min"), node.given.get("max"))
        )
    value = traced(value)
    value = value if low is None else jnp.maximum(value, traced(low))
    return value if high is None else jnp.minimum(value, traced(high))


def leaky(node: Node, value: Value) -> Value:
    """LeakyRelu."""
    value = traced(value)
    return jnp.where(value >= 0, value, value * node.given.get("alpha", 0.01))


def prelu(_: Node, value: Value, slope: Value) -> Value:
    """PRelu."""
    value = traced(value)
    return jnp.where(value >= 0, value, value * traced(slope))


def elu(node: Node, value: Value) -> Value:
    """Elu."""
    return nn.elu(traced(value), node.given.get("alpha", 1.0))


def selu(node: Node, value: Value) -> Value:
    """Selu; the constants are ONNX's."""
    alpha = node.given.get("alpha", 1.67326319217681884765625)
    gamma = node.given.get("gamma", 1.05070102214813232421875)
    value = traced(value)
    return gamma * jnp.where(value > 0, value, alpha * jnp.expm1(jnp.minimum(value, 0)))


def hard_sigmoid(node: Node, value: Value) -> Value:
    """HardSigmoid."""
    alpha, beta = node.given.get("alpha", 0.2), node.given.get("beta", 0.5)
    return jnp.clip(traced(value) * alpha + beta, 0, 1)


def hard_swish(_: Node, value: Value) -> Value:
    """HardSwish."""
    value = traced(value)
    return value * jnp.clip(value / 6 + 0.5, 0, 1)


def gelu(node: Node, value: Value) -> Value:
    """Gelu; by tanh where the operator says so."""
    return nn.gelu(traced(value), approximate=node.given.get("approximate", "none") == "tanh")


def cast(node: Node, value: Value) -> Value:
    """Cast; lengths stay lengths as long as they are whole numbers."""
    to = node.given["to"]
    if to == _STRINGS or (known(value) and value.dtype.kind in "SU"):
        node.refuse("texts have no form in JAX")
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(to))
    if symbolic(value):
        return value if kind.kind in "iu" else traced(value).astype(kind)
    if known(value):
        return value.astype(kind)
    return value.astype(kind)


def where(node: Node, condition: Value, one: Value, other: Value) -> Value:
    """Where."""
    if known(condition, one, other) and not symbolic(condition):
        return np.where(condition, one, other)
    return either("where")(node, condition, one, other)


def same(_: Node, value: Value, *others: Value) -> Value:
    """Identity, and Dropout, which only learns."""
    del others
    return value


OPERATORS: Final[dict[str, Rule]] = {
    "Abs": either("abs"),
    "Add": either("add"),
    "And": either("logical_and"),
    "Cast": cast,
    "Ceil": either("ceil"),
    "Clip": clip,
    "Cos": either("cos"),
    "Div": divide,
    "Dropout": same,
    "Elu": elu,
    "Equal": either("equal"),
    "Erf": alone(special.erf),
    "Exp": either("exp"),
    "Floor": either("floor"),
    "Gelu": gelu,
    "Greater": either("greater"),
    "GreaterOrEqual": either("greater_equal"),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Identity": same,
    "IsNaN": either("isnan"),
    "LeakyRelu": leaky,
    "Less": either("less"),
    "LessOrEqual": either("less_equal"),
    "Log": either("log"),
    "Max": folded("maximum"),
    "Min": folded("minimum"),
    "Mish": alone(lambda x: x * jnp.tanh(nn.softplus(x))),
    "Mod": modulo,
    "Mul": either("multiply"),
    "Neg": either("negative"),
    "Not": either("logical_not"),
    "Or": either("logical_or"),
    "PRelu": prelu,
    "Pow": power,
    "Reciprocal": alone(lambda x: 1 / x),
    "Relu": alone(lambda x: jnp.maximum(x, 0)),
    "Round": either("round"),
    "Selu": selu,
    "Sigmoid": alone(jax.nn.sigmoid),
    "Sign": either("sign"),
    "Sin": either("sin"),
    "Softplus": alone(nn.softplus),
    "Softsign": alone(nn.soft_sign),
    "Sqrt": either("sqrt"),
    "Sub": either("subtract"),
    "Sum": folded("add"),
    "Tanh": either("tanh"),
    "Where": where,
    "Xor": either("logical_xor"),
    "com.microsoft.Gelu": gelu,
}
