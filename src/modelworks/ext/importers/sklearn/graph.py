"""Small surgery on converted graphs: inputs regrouped, outputs picked, named and shaped."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto, helper

from modelworks.core.tensor import TensorSpec
from modelworks.ext.formats.onnx_types import ELEMENTS

_ROWS = "rows"


@dataclass(frozen=True, slots=True)
class Exit:
    """One output as it shall be.

    Attributes:
        tensor: name in the graph now.
        spec: name, datatype and shape that it shall have.
        permutation: axes to be moved; empty = none.
        flatten: made a vector of one value a row.
    """

    tensor: str
    spec: TensorSpec
    permutation: tuple[int, ...] = ()
    flatten: bool = False


def open_sequences(model: onnx.ModelProto, members: int) -> None:
    """Replace each output that is a list of tensors by its members, in place.

    Args:
        model: converted.
        members: of each list.
    """
    graph = model.graph
    kept = []
    for output in list(graph.output):
        if output.type.WhichOneof("value") != "sequence_type":
            kept.append(output)
            continue
        element = output.type.sequence_type.elem_type.tensor_type.elem_type
        for i in range(members):
            name, place = f"{output.name}_{i}", f"{output.name}_place_{i}"
            graph.initializer.append(helper.make_tensor(place, TensorProto.INT64, [], [i]))
            graph.node.append(helper.make_node("SequenceAt", [output.name, place], [name]))
            kept.append(helper.make_tensor_value_info(name, element, None))
    del graph.output[:]
    graph.output.extend(kept)


def set_locale(model: onnx.ModelProto) -> None:
    """Let text be lower-cased by a locale that bare machines have, in place.

    skl2onnx writes en_US.UTF-8, which slim containers lack: the model would not load there.
    """
    for node in _nodes(model.graph):
        if node.op_type == "StringNormalizer":
            kept = [a for a in node.attribute if a.name != "locale"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("locale", "C.UTF-8")])


def finish(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], exits: Sequence[Exit]
) -> onnx.ModelProto:
    """The model with exactly these inputs and outputs.

    Args:
        model: converted; its inputs are either the same, or one matrix for several columns, or
            several columns for one matrix.
        inputs: wanted.
        exits: wanted; tensors that nobody needs any more are cut off.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    _rename(result, _clashes(result, inputs, exits))
    _leave(graph, exits)
    _enter(graph, inputs)
    _prune(graph)
    result.producer_name = "modelworks"
    result.doc_string = ""
    del graph.value_info[:]
    return result


def _clashes(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], exits: Sequence[Exit]
) -> dict[str, str]:
    """Inner names that an input or output wants for itself."""
    wanted = {spec.name for spec in inputs} | {e.spec.name for e in exits}
    entries = {value.name for value in model.graph.input}
    inner = {name for node in _nodes(model.graph) for name in node.output}
    inner |= {tensor.name for tensor in model.graph.initializer}
    clashing = (inner & wanted) - entries
    if len(model.graph.input) != len(inputs):
        clashing |= entries & wanted
    return {name: f"{name}__inner" for name in clashing}


def _leave(graph: onnx.GraphProto, exits: Sequence[Exit]) -> None:
    inner = {value for node in graph.node for value in node.output}
    del graph.output[:]
    for leaving in exits:
        renamed = f"{leaving.tensor}__inner"
        source = renamed if renamed in inner else leaving.tensor
        if leaving.permutation:
            node = helper.make_node(
                "Transpose", [source], [leaving.spec.name], perm=list(leaving.permutation)
            )
        elif leaving.flatten:
            shape = f"{leaving.spec.name}__shape"
            graph.initializer.append(helper.make_tensor(shape, TensorProto.INT64, [1], [-1]))
            node = helper.make_node("Reshape", [source, shape], [leaving.spec.name])
        else:
            node = helper.make_node("Identity", [source], [leaving.spec.name])
        graph.node.append(node)
        graph.output.append(_value(leaving.spec))
    _inline_identities(graph, {leaving.spec.name for leaving in exits})


def _inline_identities(graph: onnx.GraphProto, names: set[str]) -> None:
    """Where an Identity alone makes an output, let the node before it make it."""
    uses: dict[str, int] = {}
    for node in _nodes(graph):
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    makers = {name: node for node in graph.node for name in node.output}
    for node in list(graph.node):
        output = node.output[0] if node.output else ""
        if node.op_type != "Identity" or output not in names:
            continue
        source = node.input[0]
        if uses.get(source) == 1 and source in makers:
            maker = makers[source]
            maker.output[list(maker.output).index(source)] = output
            graph.node.remove(node)


def _enter(graph: onnx.GraphProto, inputs: Sequence[TensorSpec]) -> None:
    old = [value.name for value in graph.input]
    del graph.input[:]
    graph.input.extend(_value(spec) for spec in inputs)
    names = [spec.name for spec in inputs]
    if old == names:
        return
    if len(names) == 1 and len(old) > 1:
        parts = f"{names[0]}__widths"
        graph.initializer.append(
            helper.make_tensor(parts, TensorProto.INT64, [len(old)], [1] * len(old))
        )
        graph.node.insert(0, helper.make_node("Split", [names[0], parts], old, axis=1))
    elif len(old) == 1 and len(names) > 1:
        graph.node.insert(0, helper.make_node("Concat", names, old, axis=1))
    else:
        for was, name in zip(old, names, strict=True):
            if was != name:
                graph.node.insert(0, helper.make_node("Identity", [name], [was]))


def _prune(graph: onnx.GraphProto) -> None:
    """Cut off nodes and constants that no output needs."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(name for inner in _inside(node) for name in inner.input)
            needed.update(node.input)
    kept.reverse()
    del graph.node[:]
    graph.node.extend(kept)
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def observable(model: onnx.ModelProto, inputs: Sequence[TensorSpec]) -> onnx.ModelProto:
    """A copy that takes these inputs and claims nothing of its outputs' shapes."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if [value.name for value in model.graph.input] != [spec.name for spec in inputs]:
        _rename(result, _clashes(result, inputs, ()))
    _enter(result.graph, inputs)
    for value in result.graph.output:
        value.type.tensor_type.ClearField("shape")
    del result.graph.value_info[:]
    return result


def unused_inputs(model: onnx.ModelProto) -> set[str]:
    """Inputs that no node reads."""
    read = {name for node in _nodes(model.graph) for name in node.input}
    return {value.name for value in model.graph.input} - read


def drop_inputs(model: onnx.ModelProto, names: set[str]) -> None:
    """Remove inputs, in place."""
    kept = [value for value in model.graph.input if value.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        yield from _inside(node)


def _inside(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from _nodes(attribute.g)


def _rename(model: onnx.ModelProto, names: dict[str, str]) -> None:
    if not names:
        return
    graph = model.graph
    for node in _nodes(graph):
        for side in (node.input, node.output):
            for i, name in enumerate(side):
                side[i] = names.get(name, name)
    values: list[Any] = [*graph.input, *graph.output, *graph.initializer]
    for value in values:
        value.name = names.get(value.name, value.name)


def _value(spec: TensorSpec) -> Any:
    shape = [_ROWS if size is None and i == 0 else size for i, size in enumerate(spec.shape)]
    return helper.make_tensor_value_info(spec.name, ELEMENTS[spec.datatype], shape)
