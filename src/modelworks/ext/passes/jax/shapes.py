"""Operators that move elements and change none."""

from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from onnx import numpy_helper

from modelworks.ext.passes.jax.elementwise import Rule
from modelworks.ext.passes.jax.node import (
    Node,
    Value,
    array_of,
    axes_of,
    axis_within,
    known,
    lengths,
    symbolic,
    traced,
)

_MODES: Final = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def constant(node: Node) -> Value:
    """Constant."""
    kinds = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32,
             "value_floats": np.float32}  # fmt: skip
    [(name, value)] = node.given.items()
    if name != "value" and name not in kinds:
        node.refuse(f"it holds a {name}")
    return numpy_helper.to_array(value) if name == "value" else np.asarray(value, kinds[name])


def shape(node: Node, value: Value) -> Value:
    """Shape: known, with symbols for free axes."""
    found = array_of(tuple(value.shape))
    return found[node.given.get("start", 0) : node.given.get("end")]


def size(_: Node, value: Value) -> Value:
    """Size."""
    found: Any = 1
    for one in value.shape:
        found = found * one
    return array_of((found,)).reshape(())


def reshape(node: Node, value: Value, wanted: Value) -> Value:
    """Reshape; 0 = as long as before."""
    asked = lengths(node, wanted)
    if not node.given.get("allowzero", 0):
        asked = tuple(
            value.shape[place] if isinstance(one, int) and one == 0 else one
            for place, one in enumerate(asked)
        )
    return value.reshape(asked)


def flatten(node: Node, value: Value) -> Value:
    """Flatten."""
    axis = axis_within(node.given.get("axis", 1), value.ndim)
    first: Any = 1
    for one in value.shape[:axis]:
        first = first * one
    rest: Any = 1
    for one in value.shape[axis:]:
        rest = rest * one
    return value.reshape((first, rest))


def transpose(node: Node, value: Value) -> Value:
    """Transpose."""
    return value.transpose(node.given.get("perm", tuple(range(value.ndim))[::-1]))


def squeeze(node: Node, value: Value, given: Value = None) -> Value:
    """Squeeze."""
    return value.squeeze(axes_of(node, given, 13))


def unsqueeze(node: Node, value: Value, given: Value = None) -> Value:
    """Unsqueeze: the axes are those of the result."""
    axes = axes_of(node, given, 13) or ()
    rank = value.ndim + len(axes)
    new = {axis_within(axis, rank) for axis in axes}
    left = iter(value.shape)
    return value.reshape(tuple(1 if place in new else next(left) for place in range(rank)))


def concat(node: Node, *values: Value) -> Value:
    """Concat."""
    axis = node.given["axis"]
    if known(*values):
        return np.concatenate(values, axis)
    return jnp.concatenate([traced(one) for one in values], axis)


def split(node: Node, value: Value, given: Value = None) -> Value:
    """Split into parts of given lengths, or of equal ones."""
    axis = axis_within(node.given.get("axis", 0), value.ndim)
    sizes = axes_of(node, given, 13, "split")
    whole = value.shape[axis]
    if sizes is None:
        parts = node.given.get("num_outputs", node.outputs)
        if not isinstance(whole, int):
            node.refuse("it cuts an axis of any length")
        each = -(-whole // parts)
        sizes = tuple(min(each, whole - each * place) for place in range(parts))
    ends = np.cumsum(sizes)[:-1].tolist()
    return tuple((np if known(value) else jnp).split(value, ends, axis))


def cut(node: Node, value: Value, *given: Value) -> Value:
    """Slice."""
    if node.opset < 10:
        begins, ends = node.given["starts"], node.given["ends"]
        axes, steps = node.given.get("axes"), None
    else:
        rest = (*given, None, None)[:4]
        begins, ends, axes, steps = (
            None if one is None else lengths(node, one, "its range") for one in rest
        )
    axes = range(len(begins)) if axes is None else axes
    steps = (1,) * len(begins) if steps is None else steps
    found = [slice(None)] * value.ndim
    for begin, end, axis, step in zip(begins, ends, axes, steps, strict=True):
        length = value.shape[axis]
        if isinstance(end, int) or end == length:
            found[axis] = _part(begin, None if end == length else end, step, length)
        else:  # up to a length that only a call knows: what is not there is no number
            value = jnp.take(traced(value), jnp.arange(begin, end, step), axis)
    return value[tuple(found)]


def _part(begin: Any, end: Any, step: Any, length: Any) -> slice:
    """A range with the numbers that ONNX writes for 'to the end' left out."""
    whole = int(np.iinfo(np.int32).max)
    far = end is None or end >= whole or (step < 0 and end <= -whole)
    if isinstance(length, int) and not far:
        far = step > 0 and end >= length
    near = isinstance(begin, int) and ((step > 0 and begin == 0) or (step < 0 and begin >= whole))
    return slice(None if near else begin, None if far else end, step)


def gather(node: Node, value: Value, places: Value) -> Value:
    """Gather; a place that is not there gives what is no number, where ONNX Runtime refuses."""
    axis = axis_within(node.given.get("axis", 0), value.ndim)
    if known(value, places):
        return np.asarray(np.take(value, places.astype(np.int64), axis), value.dtype)
    return jnp.take(traced(value), traced(places), axis)


def gather_elements(node: Node, value: Value, places: Value) -> Value:
    """GatherElements."""
    axis = axis_within(node.given.get("axis", 0), value.ndim)
    return jnp.take_along_axis(traced(value), traced(places), axis)


def expand(node: Node, value: Value, wanted: Value) -> Value:
    """Expand: an axis of one is repeated; one that is asked for as 1 stays as it is."""
    asked = lengths(node, wanted)
    rank = max(value.ndim, len(asked))
    own = (*(1,) * (rank - value.ndim), *value.shape)
    asked = (*(1,) * (rank - len(asked)), *asked)
    return jnp.broadcast_to(
        traced(value),
        tuple(
            mine if isinstance(one, int) and one == 1 else one
            for mine, one in zip(own, asked, strict=True)
        ),
    )


def tile(node: Node, value: Value, times: Value) -> Value:
    """Tile."""
    return jnp.tile(traced(value), lengths(node, times, "how often it repeats"))


def filled(node: Node, wanted: Value) -> Value:
    """ConstantOfShape."""
    held = node.given.get("value")
    held = np.zeros(1, np.float32) if held is None else numpy_helper.to_array(held)
    asked = lengths(node, wanted)
    if all(isinstance(one, int) for one in asked):
        return np.full(asked, held.ravel()[0], held.dtype)
    return jnp.full(asked, held.ravel()[0], held.dtype)


def counted(node: Node, begin: Value, end: Value, step: Value) -> Value:
    """Range."""
    if not known(begin, end, step):
        node.refuse("its range depends on the data")
    kind = np.result_type(*(one.dtype for one in (begin, end, step) if not symbolic(one)))
    found = [one for value in (begin, end, step) for one in lengths(node, value)] if (
        kind.kind in "iu") else [value.item() for value in (begin, end, step)]  # fmt: skip
    if all(isinstance(one, int | float) for one in found):
        return np.arange(*found, dtype=kind)
    return jnp.arange(*found, dtype=kind)


def pad(node: Node, value: Value, *given: Value) -> Value:
    """Pad: before all axes, then behind all axes."""
    mode = _MODES.get(node.given.get("mode", "constant"))
    if mode is None:
        node.refuse(f"mode {node.given['mode']}")
    pads, fill, axes = (*given, None, None, None)[:3]
    asked = node.given["pads"] if node.opset < 11 else lengths(node, pads, "what it adds")
    over = range(value.ndim) if axes is None else [
        axis_within(axis, value.ndim) for axis in lengths(node, axes, "its axes")
    ]  # fmt: skip
    count = len(asked) // 2
    widths = [(0, 0)] * value.ndim
    for place, axis in enumerate(over):
        widths[axis] = (asked[place], asked[place + count])
    if any(isinstance(one, int) and one < 0 for pair in widths for one in pair):
        node.refuse("it takes away, by numbers below zero")
    if mode != "constant":
        return jnp.pad(traced(value), widths, mode)
    held = node.given.get("value", 0.0) if fill is None else traced(fill).reshape(())
    return jnp.pad(traced(value), widths, constant_values=held)


OPERATORS: Final[dict[str, Rule]] = {
    "Concat": concat,
    "Constant": constant,
    "ConstantOfShape": filled,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": gather_elements,
    "Pad": pad,
    "Range": counted,
    "Reshape": reshape,
    "Shape": shape,
    "Size": size,
    "Slice": cut,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
