"""ONNX artifacts as passes read and write them: the whole graph in memory, every weight in it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob
from modelworks.ext.formats.onnx_model import short
from modelworks.ext.passes.onnx_parts import begin, end


class Graph:
    """A model's graph, and quick ways to look things up in it.

    Attributes:
        model: as it was read; constants that were nodes are initializers, inner shapes are gone.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        _settle_constants(model)
        del model.graph.value_info[:]  # speaks of shapes that will change
        self._weights = {one.name: one for one in model.graph.initializer}
        self._makers = {name: node for node in model.graph.node for name in node.output}

    @property
    def nodes(self) -> list[Any]:
        """In the order of the file, which is one they can be run in."""
        return list(self.model.graph.node)

    def weight(self, name: str) -> Any | None:
        """A constant as an array; None = it is none."""
        found = self._weights.get(name)
        return None if found is None else numpy_helper.to_array(found)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a constant; empty where it is none, or a scalar."""
        found = self._weights.get(name)
        return () if found is None else tuple(found.dims)

    def maker(self, name: str) -> Any | None:
        """The node that writes a tensor."""
        return self._makers.get(name)

    def readers(self, name: str) -> list[Any]:
        """The nodes that read a tensor."""
        return [node for node in self.model.graph.node if name in node.input]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives."""
        return tuple(value.name for value in self.model.graph.output)

    def put(self, name: str, value: Any) -> None:
        """Write a constant, new or in the place of another."""
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        if name in self._weights:
            self._weights[name].CopyFrom(tensor)
        else:
            self.model.graph.initializer.append(tensor)
            self._weights[name] = self.model.graph.initializer[-1]

    def insert_before(self, node: Any, new: Any) -> None:
        """Add an operator, in front of another one."""
        nodes = self.model.graph.node
        place = next(i for i, each in enumerate(nodes) if each.output[0] == node.output[0])
        nodes.insert(place, new)
        self._makers.update(dict.fromkeys(new.output, new))

    def drop_unread(self) -> None:
        """Leave out constants that nothing reads any more."""
        read = {name for node in self.nodes for name in node.input} | set(self.outputs)
        kept = [one for one in self.model.graph.initializer if one.name in read]
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(kept)
        self._weights = {one.name: one for one in self.model.graph.initializer}


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes; texts as `str`."""
    found = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()}


def named(node: Any) -> str:
    """What a node is called: its own name, or that of its first output."""
    return str(node.name or node.output[0])


def read_graph(facts: PassFacts, job: PassJob) -> Graph:
    """The source's graph with its weights.

    Raises:
        InvalidError: the job or its model is none that the pass can take.
    """
    return Graph(begin(facts, job))


def write_graph(
    graph: Graph,
    job: PassJob,
    operators: Sequence[str] = (),
    notes: Sequence[str] = (),
    figures: dict[str, float] | None = None,
) -> Applied:
    """Write a changed graph and what lies beside it.

    Raises:
        UnsupportedError: it is no valid ONNX any more.
    """
    graph.drop_unread()
    try:
        onnx.checker.check_model(graph.model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise UnsupportedError(f"the changed graph is not valid: {short(error)}") from error
    return end(job, graph.model, operators, notes, figures)


def _settle_constants(model: onnx.ModelProto) -> None:
    """Nodes of the kind `Constant` become initializers, so that there is one place to look at."""
    kept = []
    for node in model.graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and node.domain == "" and value is not None:
            tensor = model.graph.initializer.add()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
        else:
            kept.append(node)
    if len(kept) != len(model.graph.node):
        kept = [_copied(node) for node in kept]
        del model.graph.node[:]
        model.graph.node.extend(kept)


def _copied(node: Any) -> Any:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
