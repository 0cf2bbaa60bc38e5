"""From scores to labels: the best column, and what it stands for."""

from typing import Any

import numpy as np
import onnx

from modelworks.ext.formats.tflite_write import Tensor, type_of
from modelworks.ext.passes.litert.making import Making
from modelworks.ext.passes.litert.source import attributes


def argmax(making: Making, node: onnx.NodeProto) -> None:
    """ArgMax over an axis of a row; the first one wins, as in ONNX."""
    name, out = node.input[0], node.output[0]
    given = attributes(node)
    if given.get("select_last_index", 0):
        making.refuse(node, "it takes the last one of equals")
    shape = making.shape(name)
    axis = given.get("axis", 0) % len(shape)
    if axis == 0:
        making.refuse(node, "it goes over the rows")
    over = making.graph.constant(f"{out}/axis", np.array([axis], np.int32))
    short = (*shape[:axis], *shape[axis + 1 :])
    found = making.graph.tensor(f"{out}/best", short, np.int64)
    options = {"outputType": type_of(np.int64)}
    making.graph.operator("ARG_MAX", [making.own(name), over], found, options)
    kept = bool(given.get("keepdims", 1))
    making.known(out, making.reshape(found, out, making.shape(out)) if kept else found)


def extract(making: Making, node: onnx.NodeProto) -> None:
    """ai.onnx.ml.ArrayFeatureExtractor that looks labels up, with the Reshape after it."""
    table, places = node.input
    reader = making.sole(node.output[0])
    labels = making.constant(table)
    if labels is None or labels.ndim != 1 or reader is None or reader.op_type != "Reshape":
        making.refuse(node, "it does more than to look up one label a row")
    out = reader.output[0]
    shape = making.shape(out)
    if shape not in {(None,), (None, 1)}:
        making.refuse(node, "it does more than to look up one label a row")
    index = making.reshape(making.own(places), f"{out}/places", (None,))
    found = _looked_up(making, out, labels, index, (None,))
    making.take(reader)
    making.known(out, found if len(shape) == 1 else making.reshape(found, out, shape))


def gather(making: Making, node: onnx.NodeProto) -> None:
    """Gather from a list of constants."""
    table, places = node.input
    labels, out = making.constant(table), node.output[0]
    if labels is None or labels.ndim != 1:
        making.refuse(node, "it takes from something else than a list of constants")
    shape = making.shape(places)
    making.known(out, _looked_up(making, out, labels, making.own(places), shape))


def _looked_up(making: Making, out: str, labels: Any, index: Tensor, shape: Any) -> Tensor:
    if labels.dtype.kind in "OSU":
        texts = [one if isinstance(one, bytes) else str(one).encode() for one in labels.tolist()]
        labels = np.empty(len(texts), object)
        labels[:] = texts
    values = making.graph.constant(f"{out}/labels", labels)
    found = making.graph.tensor(out, shape, labels.dtype)
    return making.graph.operator("GATHER", [values, index], found, {"axis": 0})
