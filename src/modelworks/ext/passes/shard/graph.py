"""An ONNX graph as it is cut: which tensors are alive between two of its nodes, and what they are.

Nodes that depend on no input (constants, what unpacks stored weights) are in no order here: each
stage gets those that it needs. What a sub-graph (`If`, `Loop`, `Scan`) reads of the graph around it
is read by its node.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import onnx
from onnx import external_data_helper, helper, shape_inference

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.ext.formats.onnx_model import name_nodes, reads_of, short, sort_nodes
from modelworks.ext.formats.onnx_types import ELEMENTS

_DATATYPES: Final = {number: datatype for datatype, number in ELEMENTS.items()} | {
    onnx.TensorProto.BFLOAT16: Datatype.BF16
}
_RANDOM: Final = {
    *("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"),
    *("Multinomial", "Bernoulli"),
}


class Graph:
    """What cutting needs to know.

    Args:
        model: its weights may lie elsewhere; its nodes are sorted and named here.

    Attributes:
        model: as given.
        inputs: names, those with a stored default left out.
        outputs: names.
        work: places of the nodes that depend on an input, in the order in which they run.

    Raises:
        UnsupportedError: it has what no cut can carry, by name.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        _refuse(model)
        sort_nodes(model)
        name_nodes(model)
        self.model = model
        graph = model.graph
        self.stored = {one.name: one for one in graph.initializer}
        self.inputs = [one.name for one in graph.input if one.name not in self.stored]
        self.outputs = [one.name for one in graph.output]
        known = {*self.stored, *self.inputs}
        constant = set(self.stored)
        self._free: dict[str, int] = {}  # constant name -> the node that makes it
        self._reads: list[tuple[str, ...]] = []
        self.work: list[int] = []
        for place, node in enumerate(graph.node):
            reads = tuple(sorted(name for name in reads_of(node) if name in known))
            self._reads.append(reads)
            made = [name for name in node.output if name]
            known.update(made)
            if constant.issuperset(reads) and not _random(node):
                constant.update(made)
                self._free.update(dict.fromkeys(made, place))
            else:
                self.work.append(place)
        self._constant = constant
        self._names = known
        self._types = _types(model)
        self._last = self._last_uses()

    def reads(self, step: int) -> list[str]:
        """What a node of `work` reads that is no constant."""
        return [name for name in self._reads[self.work[step]] if name not in self._constant]

    def readers(self, step: int, name: str) -> list[str]:
        """Kinds of the nodes from `step` on that read a tensor."""
        nodes = self.model.graph.node
        later = range(step, min(self._last[name] + 1, len(self.work)))
        return [nodes[self.work[s]].op_type for s in later if name in self._reads[self.work[s]]]

    def alive(self) -> list[list[str]]:
        """For every place between two steps: the tensors that the steps after it still need.

        Place p lies before step p; place 0 has the inputs, all of them.
        """
        found = [list(self.inputs)]
        now = [name for name in self.inputs if name in self._last]
        for step in range(len(self.work)):
            node = self.model.graph.node[self.work[step]]
            made = [name for name in node.output if name in self._last]
            now = [name for name in (*now, *made) if self._last[name] > step]
            found.append(now)
        return found

    def spec(self, name: str) -> TensorSpec | None:
        """What a tensor is; None where that is not known, or it is no plain tensor."""
        kind = self._types.get(name)
        if kind is None or not kind.HasField("tensor_type"):
            return None
        tensor = kind.tensor_type
        datatype = _DATATYPES.get(tensor.elem_type)
        if datatype is None or not tensor.HasField("shape"):
            return None
        axes = (d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
        return TensorSpec(name, datatype, tuple(axes))

    def knows(self, name: str) -> bool:
        """Whether some tensor has this name."""
        return name in self._names

    def kind(self, name: str) -> onnx.TypeProto:
        """Of a tensor of which `spec` knows what it is."""
        return self._types[name]

    def constants(self, names: Iterable[str]) -> tuple[list[int], list[str]]:
        """What makes some constants: places of nodes, and names of stored tensors; both sorted."""
        nodes: set[int] = set()
        stored: set[str] = set()
        left = [name for name in names if name in self._constant]
        while left:
            name = left.pop()
            place = self._free.get(name)
            if place is None:
                stored.add(name)
            elif place not in nodes:
                nodes.add(place)
                left += self._reads[place]
        return sorted(nodes), sorted(stored)

    def constants_of(
        self, places: Sequence[int], names: Iterable[str]
    ) -> tuple[list[int], list[str]]:
        """The same for all that some nodes read, and some names more."""
        return self.constants([*names, *(n for place in places for n in self._reads[place])])

    def weights(self) -> list[int]:
        """Bytes that each step is the first to need."""
        seen: set[str] = set()
        found = []
        for place in self.work:
            _, names = self.constants_of([place], ())
            fresh = set(names) - seen
            seen |= fresh
            found.append(sum(size_of(self.stored[name]) for name in fresh))
        return found

    def _last_uses(self) -> dict[str, int]:
        """The last step that reads a tensor; behind all steps where it is an output."""
        found: dict[str, int] = {}
        for step, place in enumerate(self.work):
            found.update(dict.fromkeys(self._reads[place], step))
        found.update(dict.fromkeys(self.outputs, len(self.work)))
        return {name: step for name, step in found.items() if name not in self._constant}


def size_of(tensor: onnx.TensorProto) -> int:
    """Bytes of a stored tensor, wherever its values lie."""
    if external_data_helper.uses_external_data(tensor):
        told = {one.key: one.value for one in tensor.external_data}
        if told.get("length", "").isdecimal():
            return int(told["length"])
    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(map(len, tensor.string_data))
    count = int(np.prod(tensor.dims, dtype=np.int64))
    return count * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _refuse(model: onnx.ModelProto) -> None:
    if model.graph.sparse_initializer:
        name = model.graph.sparse_initializer[0].values.name
        raise UnsupportedError(
            f"the weight '{name[:80]}' is stored sparse, and no stage can be given it: save the "
            "model with dense weights"
        )
    stored = {one.name for one in model.graph.initializer}
    for tensor in external_data_helper._get_all_tensors(model):  # noqa: SLF001 - the only walk
        if external_data_helper.uses_external_data(tensor) and tensor.name not in stored:
            raise UnsupportedError(
                f"the constant '{tensor.name[:80]}' lies in another file and within a node, and no "
                "stage can be given it: save it as a weight of the graph"
            )
    if twice := {one.name for one in model.graph.output} & {one.name for one in model.graph.input}:
        raise UnsupportedError(
            f"'{min(twice)[:80]}' is both input and output: there is nothing to compute"
        )


def _types(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # onnx raises several, with no base of their own
        raise InvalidError(f"the graph's shapes contradict it: {short(error)}") from error
    graph = inferred.graph
    return {one.name: one.type for one in (*graph.value_info, *graph.input, *graph.output)}


def _random(node: onnx.NodeProto) -> bool:
    if node.op_type in _RANDOM:
        return True
    inner = [
        one for a in node.attribute for one in (*a.graphs, *([a.g] if a.HasField("g") else []))
    ]
    return any(_random(one) for graph in inner for one in graph.node)
