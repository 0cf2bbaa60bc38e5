"""Products with a constant matrix in the one form that quantizers know: `MatMul` and a sum."""

from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_PLAIN: Final = {"alpha": 1.0, "beta": 1.0, "transA": 0}


def store_constants(model: onnx.ModelProto) -> None:
    """Turn `Constant` nodes into initializers, in place."""
    kept = []
    for node in model.graph.node:
        held = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and held is not None and node.domain == "":
            one = model.graph.initializer.add()
            one.CopyFrom(held)
            one.name = node.output[0]
        else:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    if len(kept) < len(model.graph.node):
        del model.graph.node[:]
        model.graph.node.extend(kept)


def split_gemms(model: onnx.ModelProto) -> None:
    """Turn each `Gemm` with a constant matrix into a `MatMul` of its name and a sum, in place.

    A matrix that others read too is copied where it must be turned round: quantizers turn it in
    its place, and what else reads it is wrong then.
    """
    stored = {one.name: one for one in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        held = stored.get(node.input[1]) if node.op_type == "Gemm" else None
        if held is None or not _plain(node):
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
            continue
        right = node.input[1]
        if _attributes(node).get("transB", 0):
            right = f"{right}_turned"
            if right not in stored:
                turned = np.ascontiguousarray(numpy_helper.to_array(held).T)
                model.graph.initializer.append(numpy_helper.from_array(turned, right))
                stored[right] = model.graph.initializer[-1]
        biased = len(node.input) > 2 and node.input[2]
        result = f"{node.output[0]}_product" if biased else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], right], [result], node.name))
        if biased:
            ends = [result, node.input[2]], [node.output[0]]
            nodes.append(helper.make_node("Add", *ends, f"{node.name}_bias"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    drop_unread(model)


def drop_unread(model: onnx.ModelProto) -> None:
    """Remove initializers that nothing reads, in place."""
    read = {value.name for value in model.graph.output}
    waiting = list(model.graph.node)
    while waiting:
        node = waiting.pop()
        read.update(node.input)
        for attribute in node.attribute:
            graphs = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            waiting += [inner for graph in graphs for inner in graph.node]
            read |= {value.name for graph in graphs for value in graph.output}
    for place in reversed(range(len(model.graph.initializer))):
        if model.graph.initializer[place].name not in read:
            del model.graph.initializer[place]


def products(model: onnx.ModelProto, types: tuple[str, ...]) -> list[str]:
    """Names of the operators of some types that read a constant matrix or table of floats."""
    stored = {
        one.name
        for one in model.graph.initializer
        if one.data_type == TensorProto.FLOAT and len(one.dims) > 1
    }
    return [
        node.name
        for node in model.graph.node
        if node.op_type in types and stored.intersection(node.input)
    ]


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _plain(node: onnx.NodeProto) -> bool:
    given = _attributes(node)
    return all(given.get(name, value) == value for name, value in _PLAIN.items())
