"""Products, convolutions and pools."""

from collections.abc import Sequence
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax

from modelworks.ext.passes.jax.elementwise import Rule
from modelworks.ext.passes.jax.node import Node, Value, traced

Pairs = list[tuple[int, int]]
_LETTERS: Final = {1: "H", 2: "HW", 3: "DHW"}


def gemm(node: Node, one: Value, other: Value, bias: Value = None) -> Value:
    """Gemm: `alpha * a @ b + beta * c`, each matrix turned round where it is asked for."""
    left, right = traced(one), traced(other)
    left = left.T if node.given.get("transA", 0) else left
    right = right.T if node.given.get("transB", 0) else right
    found = left @ right
    alpha, beta = node.given.get("alpha", 1.0), node.given.get("beta", 1.0)
    found = found if alpha == 1.0 else found * alpha
    if bias is None or beta == 0.0:
        return found
    return found + (traced(bias) if beta == 1.0 else traced(bias) * beta)


def matmul(_: Node, one: Value, other: Value) -> Value:
    """MatMul."""
    return traced(one) @ traced(other)


def einsum(node: Node, *values: Value) -> Value:
    """Einsum."""
    return jnp.einsum(node.given["equation"], *map(traced, values))


def conv(node: Node, image: Value, kernel: Value, bias: Value = None) -> Value:
    """Conv over one to three axes behind those of rows and channels."""
    image, kernel = traced(image), traced(kernel)
    letters = _letters(node, image)
    found = lax.conv_general_dilated(
        image,
        kernel,
        _each(node, "strides", letters),
        _around(node, image.shape[2:], kernel.shape[2:]),
        rhs_dilation=_each(node, "dilations", letters),
        dimension_numbers=(f"NC{letters}", f"OI{letters}", f"NC{letters}"),
        feature_group_count=node.given.get("group", 1),
    )
    if bias is None:
        return found
    return found + traced(bias).reshape(1, -1, *(1 for _ in letters))


def max_pool(node: Node, image: Value) -> Value:
    """MaxPool."""
    image = traced(image)
    if node.outputs > 1:
        node.refuse("it gives places besides values")
    lowest = -np.inf if image.dtype.kind == "f" else np.iinfo(image.dtype).min
    return _slid(node, image, np.asarray(lowest, image.dtype), lax.max)


def average_pool(node: Node, image: Value) -> Value:
    """AveragePool; what lies around the image counts only where it is asked for."""
    image = traced(image)
    if node.given.get("ceil_mode", 0):
        node.refuse("ceil_mode of an average")
    zero = np.zeros((), image.dtype)
    sums = _slid(node, image, zero, lax.add)
    if node.given.get("count_include_pad", 0):
        return sums / np.asarray(np.prod(node.given["kernel_shape"]), image.dtype)
    return sums / _slid(node, jnp.ones_like(image), zero, lax.add)


def whole(function: Any) -> Rule:
    """A pool over the whole image: each channel becomes one number."""

    def rule(_: Node, image: Value) -> Value:
        image = traced(image)
        return function(image, axis=tuple(range(2, image.ndim)), keepdims=True)

    return rule


def _slid(node: Node, image: Value, start: Any, function: Any) -> Value:
    letters = _letters(node, image)
    size = tuple(int(one) for one in node.given["kernel_shape"])
    around = _around(node, image.shape[2:], size)
    if node.given.get("ceil_mode", 0):
        around = _more(node, image.shape[2:], size, around)
    return lax.reduce_window(
        image,
        start,
        function,
        (1, 1, *size),
        (1, 1, *_each(node, "strides", letters)),
        [(0, 0), (0, 0), *around],
        window_dilation=(1, 1, *_each(node, "dilations", letters)),
    )


def _letters(node: Node, image: Value) -> str:
    found = _LETTERS.get(image.ndim - 2)
    if found is None:
        node.refuse(f"it works on {image.ndim} axes; rows, channels and one to three more")
    return found


def _each(node: Node, name: str, letters: str) -> tuple[int, ...]:
    return tuple(int(one) for one in node.given.get(name, (1,) * len(letters)))


def _spans(node: Node, size: Sequence[int]) -> list[int]:
    """Lengths that a window reaches over, its gaps with it."""
    gaps = node.given.get("dilations", (1,) * len(size))
    return [(int(n) - 1) * int(d) + 1 for n, d in zip(size, gaps, strict=True)]


def _around(node: Node, lengths: Sequence[Any], size: Sequence[int]) -> Pairs:
    """What is added before and after each axis."""
    mode, count = node.given.get("auto_pad", "NOTSET"), len(size)
    if mode == "NOTSET":
        pads = [int(one) for one in node.given.get("pads", (0,) * 2 * count)]
        return list(zip(pads[:count], pads[count:], strict=True))
    if mode == "VALID":
        return [(0, 0)] * count
    found = []
    strides = node.given.get("strides", (1,) * count)
    for length, span, stride in zip(lengths, _spans(node, size), strides, strict=True):
        if not isinstance(length, int):
            node.refuse(f"auto_pad {mode} over an axis of any length")
        total = max((-(-length // stride) - 1) * stride + span - length, 0)
        less, more = total // 2, total - total // 2
        found.append((less, more) if mode == "SAME_UPPER" else (more, less))
    return found


def _more(node: Node, lengths: Sequence[Any], size: Sequence[int], around: Pairs) -> Pairs:
    """What `ceil_mode` adds behind, so that a last window is whole; it begins inside of the image.

    ONNX, operator MaxPool: output = ceil((length + pads - span) / stride) + 1.
    """
    found = []
    strides = node.given.get("strides", (1,) * len(size))
    spans = _spans(node, size)
    for length, (before, after), span, stride in zip(lengths, around, spans, strides, strict=True):
        if not isinstance(length, int):
            node.refuse("ceil_mode over an axis of any length")
        count = -(-(length + before + after - span) // stride) + 1
        if (count - 1) * stride >= length + before:
            count -= 1
        needed = (count - 1) * stride + span - (length + before + after)
        found.append((before, after + max(needed, 0)))
    return found


OPERATORS: Final[dict[str, Rule]] = {
    "AveragePool": average_pool,
    "Conv": conv,
    "Einsum": einsum,
    "Gemm": gemm,
    "GlobalAveragePool": whole(jnp.mean),
    "GlobalMaxPool": whole(jnp.max),
    "MatMul": matmul,
    "MaxPool": max_pool,
}
