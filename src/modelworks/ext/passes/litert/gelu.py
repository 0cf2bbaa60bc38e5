"""Finds a Gelu that an exporter wrote as `0.5 * x * (1 + erf(x / sqrt(2)))`."""

import math
from typing import Final

import onnx
from onnx import helper, numpy_helper

_DOMAIN: Final = "com.microsoft"  # ONNX's own is of opset 20, the graph may be older
_NEAR: Final = 1e-4


def fused(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with each such Gelu as one node; the model itself where there is none."""
    found = _found(model.graph)
    if not found:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    gone = set().union(*(inside for _, inside in found.values()))
    for node in model.graph.node:
        out = node.output[0] if node.output else ""
        if out in found:
            given, _ = found[out]
            result.graph.node.append(helper.make_node("Gelu", [given], [out], domain=_DOMAIN))
        elif out not in gone:
            result.graph.node.append(node)
    if all(one.domain != _DOMAIN for one in result.opset_import):
        result.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return result


def _found(graph: onnx.GraphProto) -> dict[str, tuple[str, set[str]]]:
    """Result of each -> its input, and the tensors between them, which nobody else sees."""
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    values, seen = _numbers(graph), {one.name for one in graph.output}
    found = {}
    for node in graph.node:
        match = _match(node, makers, readers, values) if node.op_type == "Erf" else None
        if match is not None and not match[2] & seen:
            found[match[0]] = match[1:]
    return found


def _match(
    erf: onnx.NodeProto,
    makers: dict[str, onnx.NodeProto],
    readers: dict[str, list[onnx.NodeProto]],
    values: dict[str, float],
) -> tuple[str, str, set[str]] | None:
    """Result, input, and the tensors between them; None where it is something else."""
    inner = makers.get(erf.input[0])
    if inner is None or len(readers.get(erf.input[0], ())) != 1:
        return None
    scaled = _other(inner, values, "Div", math.sqrt(2)) or _other(
        inner, values, "Mul", math.sqrt(0.5)
    )
    if not scaled:
        return None
    inside = {erf.input[0], erf.output[0]}
    name, steps = erf.output[0], ["plus", "times", "half"]
    while steps:
        after = readers.get(name, [])
        if len(after) != 1:
            return None
        node = after[0]
        if steps[0] == "plus" and _other(node, values, "Add", 1.0):
            steps.remove("plus")
        elif "half" in steps and steps[0] != "plus" and _other(node, values, "Mul", 0.5):
            steps.remove("half")
        elif (
            steps[0] == "times"
            and node.op_type == "Mul"
            and sorted(node.input) == sorted((name, scaled))
        ):
            steps.remove("times")
        else:
            return None
        inside.add(name)
        name = node.output[0]
    return name, scaled, inside


def _other(node: onnx.NodeProto, values: dict[str, float], kind: str, value: float) -> str:
    """The input of a node that is not that constant; empty where the node is another one."""
    if node.op_type != kind or len(node.input) != 2:
        return ""
    for place in (1,) if kind == "Div" else (0, 1):
        known = values.get(node.input[place])
        if known is not None and abs(known - value) <= _NEAR:
            return str(node.input[1 - place])
    return ""


def _numbers(graph: onnx.GraphProto) -> dict[str, float]:
    """Constants of one float each."""
    tensors = {one.name: one for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    small = (onnx.TensorProto.FLOAT,)
    return {
        name: float(numpy_helper.to_array(one).item())
        for name, one in tensors.items()
        if one.data_type in small and not one.external_data and math.prod(one.dims) == 1
    }
