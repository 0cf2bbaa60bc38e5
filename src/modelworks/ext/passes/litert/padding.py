"""Windows that slide over images, convolutions and pools, and what is added around the image."""

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import onnx

from modelworks.ext.formats.tflite_write import Tensor
from modelworks.ext.passes.litert.making import Making
from modelworks.ext.passes.litert.source import attributes

_SAME, _VALID = 0, 1  # tflite.Padding
Pair = tuple[int, int]
_NOTHING: Final = ((0, 0), (0, 0))


@dataclass(frozen=True, slots=True)
class Window:
    """A window; pairs are of height and width.

    Attributes:
        mode: number of the padding in the schema.
        around: elements before and after that must be added first, of height and of width.
        size: of the window.
        strides: of it.
        dilations: of it.
    """

    mode: int
    around: tuple[Pair, Pair]
    size: Pair
    strides: Pair
    dilations: Pair


def window(making: Making, node: onnx.NodeProto, size: Any) -> Window:
    """The window of a Conv or a pool over images."""
    given = attributes(node)
    image, out = (making.shape(name) for name in (node.input[0], node.output[0]))
    if len(image) != 4 or len(size) != 2:
        making.refuse(node, f"it works on {len(image)} axes; rows, channels, height and width")
    size = (int(size[0]), int(size[1]))
    strides, dilations = (
        (int(pair[0]), int(pair[1]))
        for pair in (given.get("strides", (1, 1)), given.get("dilations", (1, 1)))
    )
    lengths, outs = [n or 0 for n in image[2:]], [n or 0 for n in out[2:]]
    spans = [(n - 1) * d + 1 for n, d in zip(size, dilations, strict=True)]
    same = [_same(*one) for one in zip(lengths, spans, strides, strict=True)]
    mode = given.get("auto_pad", "NOTSET")
    if mode == "SAME_LOWER":
        around = [(after, before) for before, after in same]
    elif mode == "SAME_UPPER":
        around = same
    else:
        pads = given.get("pads", (0, 0, 0, 0)) if mode == "NOTSET" else (0, 0, 0, 0)
        around = [(int(pads[0]), int(pads[2])), (int(pads[1]), int(pads[3]))]
    if around == same and [math.ceil(n / s) for n, s in zip(lengths, strides, strict=True)] == outs:
        return Window(_SAME, _NOTHING, size, strides, dilations)
    needed = []  # a last window that begins inside of the image may end outside of it (ceil_mode)
    for length, (before, after), span, stride, count in zip(
        lengths, around, spans, strides, outs, strict=True
    ):
        more = (count - 1) * stride + span - (length + before + after)
        needed.append((before, after + max(more, 0)))
    return Window(_VALID, (needed[0], needed[1]), size, strides, dilations)


def explicit(making: Making, node: onnx.NodeProto, found: Window) -> Window:
    """The same window with LiteRT's own padding made part of the image."""
    image = making.shape(node.input[0])[2:]
    before = [
        _same(length or 0, span, stride)
        for length, span, stride in zip(image, found.size, found.strides, strict=True)
    ]
    return replace(found, mode=_VALID, around=(before[0], before[1]))


def padded(making: Making, found: Window, image: Tensor, value: float) -> Tensor:
    """The image, channels last, with what the window needs around it."""
    if found.around == _NOTHING:
        return image
    around = ((0, 0), *found.around, (0, 0))
    shape = tuple(
        None if size is None else size + sum(pair)
        for size, pair in zip(image.shape, around, strict=True)
    )
    pads = making.graph.constant(f"{image.name}/pads", np.array(around, np.int32))
    if value == 0:
        return making.between("PAD", [image, pads], shape, {})
    filling = making.graph.constant(f"{image.name}/filling", np.array([value], np.float32))
    return making.between("PADV2", [image, pads, filling], shape, {})


def _same(length: int, span: int, stride: int) -> Pair:
    """What LiteRT's padding SAME adds before and after."""
    total = max((math.ceil(length / stride) - 1) * stride + span - length, 0)
    return total // 2, total - total // 2
