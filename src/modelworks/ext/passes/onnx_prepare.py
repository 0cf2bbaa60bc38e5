"""Graphs made ready for quantizers that take some things for granted."""

import onnx
from onnx import helper, version_converter

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
