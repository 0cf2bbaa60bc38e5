"""Graphs made ready for quantizers that take some things for granted."""

import onnx
from onnx import helper, numpy_helper, shape_inference, version_converter

from modelworks.core.errors import UnsupportedError
from modelworks.ext.formats.onnx_model import short


def with_opset(model: onnx.ModelProto, least: int) -> onnx.ModelProto:
    """The same graph in a set of operators that is new enough.

    Raises:
        UnsupportedError: it has operators that cannot be converted.
    """
    now = next((one.version for one in model.opset_import if one.domain in {"", "ai.onnx"}), least)
    if now >= least:
        return model
    try:
        return version_converter.convert_version(model, least)
    except RuntimeError as error:
        raise UnsupportedError(
            f"the graph is of operator set {now}, {least} is needed, and it cannot be converted "
            f"({short(error, 100)}): export the model again"
        ) from error


def apart_outputs(model: onnx.ModelProto) -> None:
    """Give outputs that an activation reads a node of their own, in place.

    ONNX Runtime's quantizer takes the range after `Relu` and `Clip` for what goes into them where
    nothing else reads that, and forgets that an output of the graph is read too: it would be cut.
    """
    nodes = model.graph.node
    given = {value.name for value in model.graph.output}
    cut = {n.input[0] for n in nodes if n.op_type in {"Relu", "Clip"} and n.input[0] in given}
    inner = {name: f"{name}_whole" for name in sorted(cut)}
    for node in nodes:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = inner.get(name, name)
    for name, whole in inner.items():
        nodes.append(helper.make_node("Identity", [whole], [name], f"{name}_given"))


def means_as_pools(model: onnx.ModelProto) -> None:
    """Write means over whole pictures as the pooling that they are, in place.

    ONNX Runtime has that pooling in eight bits and `ReduceMean` in floats alone: the widest tensor
    of many a network would be rounded back for its last but one operator.
    """
    graph = model.graph
    pictures = {
        value.name
        for value in shape_inference.infer_shapes(model).graph.value_info
        if len(value.type.tensor_type.shape.dim) == 4
    }
    constants = {one.name: one for one in graph.initializer}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        whole = node.op_type == "ReduceMean" and node.input[0] in pictures
        graph.node.extend(_pool(node, constants) if whole else [node])


def _pool(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> list[onnx.NodeProto]:
    """The same mean as a pooling; the node itself where it is over other axes."""
    said = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    axes = list(said.get("axes", []))
    if len(node.input) > 1 and node.input[1] in constants:
        axes = numpy_helper.to_array(constants[node.input[1]]).ravel().tolist()
    if sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        return [node]
    given, name = node.output[0], node.name
    if said.get("keepdims", 1):
        return [helper.make_node("GlobalAveragePool", [node.input[0]], [given], name)]
    inner = f"{given}_pooled"
    return [
        helper.make_node("GlobalAveragePool", [node.input[0]], [inner], name),
        helper.make_node("Flatten", [inner], [given], f"{name}_flat", axis=1),
    ]
