"""Small nets made for a signature: dense ones for rows of numbers, convolutions for images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper

from modelworks.core.errors import UnsupportedError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.ext.formats.onnx_types import ELEMENTS
from modelworks.ext.passes.training.rows import Array

SIZES: Final = ("tiny", "small", "medium", "large")
_DENSE: Final = {"tiny": (16,), "small": (48, 32), "medium": (128, 64), "large": (256, 128)}
_CHANNELS: Final = {"tiny": 4, "small": 8, "medium": 16, "large": 32}
_MOST_NUMBERS: Final = 16_384  # of a row, for a dense net
_LARGE_SIDE: Final = 32  # of an image: from it on the first convolution takes every second pixel
_SMALLEST_SIDE: Final = 2
FEATURES: Final = "student_features"
"""The tensor that the learning part begins with."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How inputs become features that a net learns well from.

    Attributes:
        mean: taken off; zeros for images, whose border is filled with zeros.
        spread: divided by afterwards; no zero.
        fill: what stands for NaN, a number a feature; None = the teacher knows no NaN.
    """

    mean: Array
    spread: Array
    fill: Array | None = None


def unfit(signature: Signature) -> str:
    """Why no student can be made for it; empty = one can."""
    for spec in signature.inputs:
        if spec.datatype is Datatype.BYTES or spec.datatype is Datatype.BF16:
            return f"no student is made for an input of {spec.datatype} ('{spec.name}')"
    for spec in (*signature.inputs, *signature.outputs):
        if spec.shape[:1] != (None,):
            return f"'{spec.name}' has no axis of rows: there is no row to learn from"
        if None in spec.shape[1:]:
            return f"'{spec.name}' is not always of one size: no student is made for that"
    if not picture(signature) and features(signature) > _MOST_NUMBERS:
        return f"rows of {features(signature)} numbers: no student is made for over {_MOST_NUMBERS}"
    return ""


def features(signature: Signature) -> int:
    """Numbers of a row."""
    return sum(_size(spec) for spec in signature.inputs)


def picture(signature: Signature) -> bool:
    """Whether a row is an image: one input [rows, channels, height, width], or channels last."""
    if len(signature.inputs) != 1:
        return False
    shape = signature.inputs[0].shape
    return len(shape) == 4 and min(_sides(shape)[1:]) >= 4


def channels_last(signature: Signature) -> bool:
    """Whether the smaller end of the image's axes is the last."""
    _, first, _, last = signature.inputs[0].shape
    return (last or 0) < (first or 0)


def _sides(shape: tuple[int | None, ...]) -> tuple[int, int, int]:
    """Channels, height, width."""
    first, second, third = (size or 0 for size in shape[1:])
    return (third, first, second) if third < first else (first, second, third)


def _size(spec: TensorSpec) -> int:
    return int(np.prod([size or 0 for size in spec.shape[1:]], dtype=np.int64))


def arranged(inputs: Mapping[str, Array], signature: Signature) -> Array:
    """Rows as the learning part gets them, before they are scaled: FP32."""
    if picture(signature):
        [array] = inputs.values()
        array = array.astype(np.float32)
        return array.transpose(0, 3, 1, 2) if channels_last(signature) else array
    parts = [inputs[s.name].astype(np.float32).reshape(-1, _size(s)) for s in signature.inputs]
    return np.concatenate(parts, axis=1)


def scaling(rows: Array, signature: Signature, *, nan: bool) -> Scale:
    """Mean and spread of arranged rows; NaN is passed over."""
    if picture(signature):
        spread = np.float32(max(float(np.nanstd(rows)), 1e-6))
        fill = np.zeros(1, np.float32) if nan else None
        return Scale(np.zeros(1, np.float32), np.full(1, spread, np.float32), fill)
    known = np.isfinite(rows)
    count = np.maximum(known.sum(axis=0), 1)
    mean = (np.where(known, rows, 0).sum(axis=0, dtype=np.float64) / count).astype(np.float32)
    off = np.where(known, rows - mean, 0)
    spread = np.sqrt((off.astype(np.float64) ** 2).sum(axis=0) / count).astype(np.float32)
    return Scale(mean, np.where(spread > 1e-6, spread, 1).astype(np.float32), mean if nan else None)


class Body:
    """The nodes of a student from the model's inputs to its last hidden layer.

    Args:
        signature: of the model.
        size: one of `SIZES`.
        scale: of the inputs; only what stands for NaN is part of the graph, the rest is put into
            the first weights when they are learned.
        seed: of the first weights.

    Attributes:
        nodes: so far.
        constants: name -> array.
        first: name of the weights that the features meet.
        hidden: the last tensor, `[rows, wide]`.
        wide: its width.
    """

    def __init__(self, signature: Signature, size: str, scale: Scale, seed: int) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.first = ""
        self._random = np.random.default_rng(seed)
        self._entrance(signature, scale)
        self.hidden, self.wide = FEATURES, features(signature)
        if picture(signature):
            self._convolutions(_sides(signature.inputs[0].shape), _CHANNELS[size])
        else:
            for wide in _DENSE[size]:
                self._dense(wide)

    def node(self, kind: str, reads: list[str], **more: Any) -> str:
        """Add an operator; the name of what it gives."""
        name = f"student_{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, reads, [name], name, **more))
        return name

    def constant(self, name: str, value: Any) -> str:
        """Add a constant."""
        self.constants[name] = value
        return name

    def linear(self, reads: str, into: int, wide: int) -> str:
        """A dense layer without an activation."""
        place = len(self.nodes)
        weight = self._drawn((into, wide), into)
        names = [
            self.constant(f"student_weight_{place}", weight),
            self.constant(f"student_bias_{place}", np.zeros(wide, np.float32)),
        ]
        self.first = self.first or names[0]
        return self.node("Gemm", [reads, *names])

    def _drawn(self, shape: tuple[int, ...], into: int) -> Any:
        """He's initial weights, for ReLU."""
        return (self._random.normal(size=shape) * (2 / into) ** 0.5).astype(np.float32)

    def _dense(self, wide: int) -> None:
        self.hidden = self.node("Relu", [self.linear(self.hidden, self.wide, wide)])
        self.wide = wide

    def _convolutions(self, sides: tuple[int, int, int], wide: int) -> None:
        channels, height, width = sides
        stride = 2 if min(height, width) >= _LARGE_SIDE else 1
        at = self._convolution(FEATURES, channels, wide, stride)
        height, width = -(-height // stride), -(-width // stride)
        channels, most = wide, 8 * wide
        while min(height, width) >= 2 * _SMALLEST_SIDE:
            at = self._convolution(at, channels, min(2 * channels, most))
            channels = min(2 * channels, most)
            at = self.node("MaxPool", [at], kernel_shape=[2, 2], strides=[2, 2])
            height, width = height // 2, width // 2
        self.hidden, self.wide = self.node("Flatten", [at], axis=1), channels * height * width

    def _convolution(self, reads: str, into: int, wide: int, stride: int = 1) -> str:
        place = len(self.nodes)
        names = [
            self.constant(f"student_weight_{place}", self._drawn((wide, into, 3, 3), 9 * into)),
            self.constant(f"student_bias_{place}", np.zeros(wide, np.float32)),
        ]
        self.first = self.first or names[0]
        window: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [stride] * 2}
        return self.node("Relu", [self.node("Conv", [reads, *names], **window)])

    def _entrance(self, signature: Signature, scale: Scale) -> None:
        """From what callers send to features: FP32, one tensor, NaN filled."""
        parts = []
        for spec in signature.inputs:
            at = spec.name
            if spec.datatype is not Datatype.FP32:
                at = self.node("Cast", [at], to=TensorProto.FLOAT)
            if len(spec.shape) == 1:
                column = self.constant("student_column", np.array([-1, 1], np.int64))
                at = self.node("Reshape", [at, column])
            elif len(spec.shape) > 2 and not picture(signature):
                at = self.node("Flatten", [at], axis=1)
            parts.append(at)
        at = parts[0] if len(parts) == 1 else self.node("Concat", parts, axis=1)
        if picture(signature) and channels_last(signature):
            at = self.node("Transpose", [at], perm=[0, 3, 1, 2])
        if scale.fill is not None:
            fill = self.constant("student_fill", scale.fill)
            at = self.node("Where", [self.node("IsNaN", [at]), fill, at])
        self.nodes.append(helper.make_node("Identity", [at], [FEATURES], FEATURES))


def ends(specs: tuple[TensorSpec, ...]) -> list[Any]:
    """A graph's inputs or outputs as a signature has them."""
    found = []
    for spec in specs:
        kind = ELEMENTS.get(spec.datatype)
        if kind is None:
            raise UnsupportedError(f"'{spec.name}' is of {spec.datatype}, which no student gives")
        axes = ["rows" if size is None else size for size in spec.shape]
        found.append(helper.make_tensor_value_info(spec.name, kind, axes))
    return found


def parameters(signature: Signature, size: str, *, multiplied: bool = False) -> int:
    """Weights of a student, or its multiplications a row; the outputs' layers are left out."""
    nothing = np.zeros(1, np.float32)
    body = Body(signature, size, Scale(nothing, nothing + 1), 0)
    if not multiplied:
        return sum(value.size for value in body.constants.values())
    total, pixels = 0, 1
    if picture(signature):
        _, height, width = _sides(signature.inputs[0].shape)
        pixels = height * width // (4 if min(height, width) >= _LARGE_SIDE else 1)
    for node in body.nodes:
        if node.op_type in {"Conv", "Gemm"}:
            total += body.constants[node.input[1]].size * (pixels if node.op_type == "Conv" else 1)
        elif node.op_type == "MaxPool":
            pixels //= 4
    return total
