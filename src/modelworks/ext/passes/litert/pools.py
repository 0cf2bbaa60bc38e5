"""Pools over images, means over axes."""

from typing import Any

import numpy as np
import onnx

from modelworks.ext.passes.litert import padding
from modelworks.ext.passes.litert.making import AXES, Making
from modelworks.ext.passes.litert.source import attributes

_LOWEST = float(np.finfo(np.float32).min)
_REDUCERS = {
    "ReduceMean": "MEAN",
    "ReduceMax": "REDUCE_MAX",
    "ReduceMin": "REDUCE_MIN",
    "ReduceSum": "SUM",
    "GlobalAveragePool": "MEAN",
    "GlobalMaxPool": "REDUCE_MAX",
}


def pool(making: Making, node: onnx.NodeProto) -> None:
    """MaxPool and AveragePool."""
    given = attributes(node)
    largest = node.op_type == "MaxPool"
    if len([name for name in node.output if name]) > 1:
        making.refuse(node, "it gives places besides values")
    found = padding.window(making, node, given["kernel_shape"])
    if found.dilations != (1, 1):
        making.refuse(node, "its window has gaps")
    beyond = any(any(pair) for pair in found.around)
    if not largest:
        counted = bool(given.get("count_include_pad", 0))
        around = any(given.get("pads", ())) or given.get("auto_pad", "NOTSET").startswith("SAME")
        if given.get("ceil_mode", 0) and (beyond or counted):
            making.refuse(node, "ceil_mode of an average")
        if beyond and not counted:
            making.refuse(node, "it leaves out padding that is not LiteRT's own")
        if counted and around and not beyond:  # LiteRT's own padding is never counted
            found = padding.explicit(making, node, found)
    name, out = node.input[0], node.output[0]
    filling = 0.0 if name in making.positive or not largest else _LOWEST
    image = padding.padded(making, found, making.last(name), filling)
    options = {
        "padding": found.mode,
        "strideH": found.strides[0],
        "strideW": found.strides[1],
        "filterHeight": found.size[0],
        "filterWidth": found.size[1],
    }
    if name in making.positive:
        making.positive.add(out)
    code = "MAX_POOL_2D" if largest else "AVERAGE_POOL_2D"
    making.emit(code, [image], out, options, last=True)


def reduce(making: Making, node: onnx.NodeProto) -> None:
    """Means, sums and extremes over axes of a row."""
    name, out = node.input[0], node.output[0]
    given = attributes(node)
    rank = len(making.shape(name))
    axes, keep = _axes(making, node, rank), bool(given.get("keepdims", 1))
    if node.op_type.startswith("Global"):
        axes, keep = list(range(2, rank)), True
    making.shape(out)
    spatial = making.images(name) and (keep or axes == [2, 3])
    if spatial:
        axes = sorted(AXES[axis] for axis in axes)
    tensor = making.last(name) if spatial else making.own(name)
    over = making.graph.constant(f"{out}/axes", np.array(axes, np.int32))
    code = _REDUCERS[node.op_type]
    making.emit(code, [tensor, over], out, {"keepDims": keep}, last=spatial and keep)


def _axes(making: Making, node: onnx.NodeProto, rank: int) -> list[int]:
    given: Any = attributes(node).get("axes")
    if given is None and len(node.input) > 1 and node.input[1]:
        given = making.constant(node.input[1])
        if given is None:
            making.refuse(node, "its axes are computed")
    if node.op_type.startswith("Global"):
        return []
    if given is None or not len(given):
        making.refuse(node, "it goes over all axes, the rows too")
    return sorted(int(axis) % rank for axis in given)
