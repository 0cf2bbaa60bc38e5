"""Puts steps before a model: into its ONNX graph, or where that cannot be as one of their own."""

from pathlib import Path
from typing import Any, ClassVar

import onnx
from onnx import GraphProto, ModelProto, helper

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.outer import Plan
from modelworks.core.stepped import FRONT, MADE, Stepped, write_stepped
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.ext.formats.onnx_types import ELEMENTS
from modelworks.ext.importers import samples
from modelworks.ext.steps.nodes import Nodes

_OPSET, _IR = 21, 10
_LEAST, _LEAST_TEXT = 13, 19  # IsNaN of float64; Equal of strings
_ML, _ML_VERSION = "ai.onnx.ml", 3
MODEL = "model.onnx"


class OnnxComposer:
    """Writes `steps.json`, and changes `model.onnx` or writes `steps.onnx`."""

    name: ClassVar[str] = "graph"
    extra: ClassVar[str] = "platform"
    experimental: ClassVar[bool] = False

    def compose(self, plan: Plan, model: Signature, folder: Path, kind: str) -> Stepped:
        """Put the steps of a plan before the model in a folder.

        Args:
            plan: what is to be done.
            model: signature of the bare model.
            folder: of the artifact.
            kind: its format.

        Raises:
            UnsupportedError: a datatype that no graph computes with.
        """
        _computable(plan)
        graph = bool(plan.targets)
        inside = graph and kind == "onnx" and _joined(plan, folder / MODEL)
        if graph and not inside:
            _write(_front(plan), folder / FRONT)
        stepped = Stepped(
            plan.outer, _inner(plan, model) if inside else model, graph and not inside
        )
        write_stepped(folder, stepped)
        return stepped

    def sample(self, path: Path, outer: Signature) -> dict[str, Any]:
        """The rows of a sample file, as callers send them.

        Raises:
            InvalidError: it cannot be read, or does not fit.
        """
        return samples.tensors(samples.read(path), outer)


def _computable(plan: Plan) -> None:
    sources = {source for t in plan.targets for part in t.parts for source in part.sources}
    specs = [s for s in plan.outer.inputs if s.name in sources]
    for spec in (*specs, *(target.spec for target in plan.targets)):
        if spec.datatype not in ELEMENTS:
            raise UnsupportedError(
                f"'{spec.name}' is {spec.datatype}: steps cannot compute with it"
            )


def _inner(plan: Plan, model: Signature) -> Signature:
    """What the model file takes when the graph's steps are part of it."""
    if not plan.apart:
        return plan.outer
    made = {target.spec.name for target in plan.targets}
    sources = {source for t in plan.targets for part in t.parts for source in part.sources}
    bare = [spec for spec in model.inputs if spec.name not in made]
    sent = [spec for spec in plan.outer.inputs if spec.name in sources]
    return Signature((*bare, *sent), model.outputs, classes=model.classes)


def _joined(plan: Plan, file: Path) -> bool:
    """Change the model's graph; False where its operators are too old, or its names in the way."""
    model = onnx.load(file, load_external_data=False)
    opset = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0)
    text = any(t.spec.datatype is Datatype.BYTES for t in plan.targets)
    if opset < (_LEAST_TEXT if text else _LEAST):
        return False
    graph = model.graph
    made = {target.spec.name for target in plan.targets}
    missing = made - {value.name for value in graph.input}
    if missing:
        raise InvalidError(f"the model's graph has no input '{min(missing)}'", field="steps")
    sent = {value.name for value in _infos(plan, "")}
    if sent & _taken(graph) or made & {value.name for value in graph.output}:
        return False
    nodes = _nodes(plan)
    _rename(graph, {name: f"{MADE}{name}" for name in made})
    for target in plan.targets:
        nodes.target(target)
    axis = _batch(graph)
    kept = [value for value in graph.input if value.name not in made]
    fresh = _infos(plan, axis)
    new = [value for value in fresh if value.name not in {k.name for k in kept}]
    del graph.input[:]
    graph.input.extend([*kept, *new])
    old = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes.nodes, *old])
    graph.initializer.extend(nodes.constants)
    if all(o.domain != _ML for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_ML, _ML_VERSION))
    _write(model, file)
    return True


def _front(plan: Plan) -> ModelProto:
    """A graph of its own that makes the model's inputs."""
    nodes = _nodes(plan)
    for target in plan.targets:
        nodes.target(target)
    given = _infos(plan, "batch")
    outputs = [_info(target.spec, "batch", MADE) for target in plan.targets]
    graph = helper.make_graph(nodes.nodes, "steps", given, outputs, nodes.constants)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_ML, _ML_VERSION)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR)


def _nodes(plan: Plan) -> Nodes:
    return Nodes({spec.name: spec.datatype for spec in plan.outer.inputs})


def _infos(plan: Plan, axis: str) -> list[Any]:
    """What callers send, of all that the graph works on."""
    sources = {source for t in plan.targets for part in t.parts for source in part.sources}
    wanted = [spec for spec in plan.outer.inputs if spec.name in sources]
    return [_info(spec, axis) for spec in wanted]


def _info(spec: TensorSpec, axis: str, prefix: str = "") -> Any:
    shape = [
        (axis if place == 0 else f"{spec.name}_{place}") if size is None else size
        for place, size in enumerate(spec.shape)
    ]
    return helper.make_tensor_value_info(prefix + spec.name, ELEMENTS[spec.datatype], shape)


def _batch(graph: GraphProto) -> str:
    """The name that the model gave to its batch axis."""
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_param:
            return str(dims[0].dim_param)
    return "batch"


def _taken(graph: GraphProto) -> set[str]:
    """Names of everything that the graph, and those within it, compute or hold."""
    names = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        names.update(node.output)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                names |= _taken(inner) | {value.name for value in inner.input}
    return names


def _rename(graph: GraphProto, names: dict[str, str]) -> None:
    """Let every node, those of inner graphs too, read an input by its new name."""
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in names:
                node.input[place] = names[name]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, names)


def _write(model: ModelProto, file: Path) -> None:
    """Beside, then in its place: the old file may be mapped by a session that still runs."""
    new = file.with_suffix(".new")
    new.write_bytes(model.SerializeToString(deterministic=True))
    new.replace(file)
