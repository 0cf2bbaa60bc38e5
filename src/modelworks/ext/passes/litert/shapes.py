"""Operators that move values and compute nothing."""

import numpy as np
import onnx

from modelworks.ext.formats.tflite_write import KINDS, type_of
from modelworks.ext.passes.litert.making import AXES, TO_FIRST, TO_LAST, Making
from modelworks.ext.passes.litert.source import attributes


def same(making: Making, node: onnx.NodeProto) -> None:
    """Identity, and Dropout outside of training."""
    if len(node.output) > 1 and node.output[1]:
        making.refuse(node, "it gives the places that it dropped")
    _same(making, node.input[0], node.output[0])


def reshape(making: Making, node: onnx.NodeProto) -> None:
    """Reshape, Flatten, Squeeze and Unsqueeze: only the new shape counts."""
    name, out = node.input[0], node.output[0]
    old, new = making.shape(name), making.shape(out)
    if old == new:
        _same(making, name, out)
        return
    if making.images(name) and len(new) == 2:
        reader = making.sole(out)
        if reader is not None and reader.op_type in {"Gemm", "MatMul"} and reader.input[0] == out:
            making.flatten(name, out)
            return
    making.known(out, making.reshape(making.own(name), out, new))
    if name in making.positive:
        making.positive.add(out)


def transpose(making: Making, node: onnx.NodeProto) -> None:
    """Transpose of the axes of a row; between ONNX's order and LiteRT's it costs nothing."""
    name, out = node.input[0], node.output[0]
    rank = len(making.shape(name))
    order = tuple(attributes(node).get("perm", range(rank)[::-1]))
    making.shape(out)
    if order[0] != 0:
        making.refuse(node, "it moves the rows")
    if order == TO_LAST:
        making.known(out, making.last(name))
    elif order == TO_FIRST:
        making.known(out, making.own(name), last=True)
    else:
        making.known(out, making.transpose(making.own(name), out, order))


def concat(making: Making, node: onnx.NodeProto) -> None:
    """Concat along an axis of a row."""
    names, out = list(node.input), node.output[0]
    axis = attributes(node)["axis"] % len(making.shape(out))
    if any(making.constant(name) is not None for name in names):
        making.refuse(node, "one of its inputs is a constant")
    if axis == 0:
        making.refuse(node, "it puts rows one behind the other")
    last = making.images(*names)
    tensors = [making.last(name) if last else making.own(name) for name in names]
    options = {"axis": AXES[axis] if last else axis}
    making.emit("CONCATENATION", tensors, out, options, last=last)


def pad(making: Making, node: onnx.NodeProto) -> None:
    """Pad with a constant."""
    name, out = node.input[0], node.output[0]
    given = attributes(node)
    more = {2: "pads", 3: "value"}
    found = [given.get("pads"), given.get("value", 0.0)]  # before opset 11 they are attributes
    for place, asked in enumerate(node.input[1:3]):
        if asked:
            found[place] = making.constant(asked)
            if found[place] is None:
                making.refuse(node, f"its {more[place + 2]} are computed")
    if given.get("mode", "constant") != "constant" or (len(node.input) > 3 and node.input[3]):
        making.refuse(node, "it pads with something else than one value, or by axes")
    rank = len(making.shape(name))
    around = np.array(found[0], np.int32).reshape(2, rank).T
    if around[0].any() or (around < 0).any():
        making.refuse(node, "it adds rows, or cuts")
    last = making.images(name)
    tensor = making.last(name) if last else making.own(name)
    pads = making.graph.constant(f"{out}/pads", around[list(TO_LAST)] if last else around)
    value = float(np.asarray(found[1]).item())
    if value == 0:
        making.emit("PAD", [tensor, pads], out, last=last)
    else:
        filling = making.graph.constant(f"{out}/filling", np.array([value], np.float32))
        making.emit("PADV2", [tensor, pads, filling], out, last=last)


def cast(making: Making, node: onnx.NodeProto) -> None:
    """Cast from one kind of element to another."""
    name, out = node.input[0], node.output[0]
    old, new = making.source.kinds[name], making.source.kinds[out]
    if old == new:
        _same(making, name, out)
        return
    if not {old, new} <= KINDS or np.dtype(object) in {old, new}:
        making.refuse(node, f"from {old} to {new}")
    options = {"inDataType": type_of(old), "outDataType": type_of(new)}
    making.emit("CAST", [making.own(name)], out, options)


def _same(making: Making, name: str, out: str) -> None:
    making.known(out, making.own(name)) if not making.images(name) else making.known(
        out, making.last(name), last=True
    )
    if name in making.positive:
        making.positive.add(out)
