"""A part of an ONNX graph as a torch module that learns, and its weights back into that graph.

The graph itself stays as it is: operators, names and the tail that makes labels of numbers. So
nothing is exported anew, what was right stays right, and the same weights give the same bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from modelworks.core.errors import UnsupportedError
from modelworks.ext.passes.training.graphs import Graph
from modelworks.ext.passes.training.layers import Layer, layer
from modelworks.ext.passes.training.operators import (
    ELEMENTWISE,
    concatenation,
    constants,
    operator,
    refuse,
)


@dataclass(frozen=True, slots=True)
class _Step:
    """One call.

    Attributes:
        call: of the tensors that it reads.
        reads: their names.
        writes: the name of what it gives.
    """

    call: Callable[..., torch.Tensor]
    reads: tuple[str, ...]
    writes: str


class Net(nn.Module):
    """What leads to some tensors of a graph.

    Args:
        graph: with its weights.
        inputs: names of the tensors that are given, in the order of the arguments; what makes
            them is no part of this.
        wanted: names of the tensors that are given back, in this order.
        apart: names of further tensors that something is done with: see `between`.

    Attributes:
        layers: with weights, in the order of the graph.

    Raises:
        UnsupportedError: an operator on the way is not translated, or two share their weights.
    """

    def __init__(
        self, graph: Graph, inputs: Sequence[str], wanted: Sequence[str], apart: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self._graph, self._inputs, self._wanted = graph, tuple(inputs), tuple(wanted)
        self._apart = frozenset((*wanted, *apart, *graph.outputs))
        self._between: dict[str, nn.Module] = {}
        self._vectors: dict[str, nn.Parameter] = {}
        self.layers: list[Layer] = []
        self._steps: list[_Step] = []
        self._reshapes: list[Any] = []
        self._taken: set[str] = set()  # nodes that a layer has drawn in, by their output
        self._build()
        self._modules_ = nn.ModuleList(one.module for one in self.layers)
        self._parameters_ = nn.ParameterList(self._vectors.values())
        self._refuse_shared()

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The wanted tensors for some rows."""
        known = {
            name: self._passed(name, each) for name, each in zip(self._inputs, given, strict=True)
        }
        for step in self._steps:
            made = step.call(*(known[name] for name in step.reads))
            known[step.writes] = self._passed(step.writes, made)
        return tuple(known[name] for name in self._wanted)

    def between(self, modules: Mapping[str, nn.Module]) -> None:
        """Tensors that go through a module before anything reads them; it learns as well."""
        self._between = dict(modules)
        self._betweens_ = nn.ModuleList(dict.fromkeys(modules.values()))

    def _passed(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        module = self._between.get(name)
        made: torch.Tensor = tensor if module is None else module(tensor)
        return made

    def store(self) -> None:
        """Put all weights back into the graph, of whatever size they have become."""
        for one in self.layers:
            one.store()
        for name, parameter in self._vectors.items():
            self._graph.put(name, parameter.detach().numpy())
        for node in self._reshapes:
            _count_again(node, self._graph)

    def heads(self) -> list[nn.Module]:
        """The layers that nothing learns behind: as wide as their width is what is answered."""
        outer = {tensor for node in self._others() for tensor in node.input}
        found = set(self._wanted) | outer | set(self._graph.outputs)
        return [one.module for one in self.layers if self._leads(one.writes, found)]

    def _others(self) -> list[Any]:
        """Nodes of the graph that are no part of this."""
        mine = {step.writes for step in self._steps} | self._taken
        return [node for node in self._graph.nodes if node.output[0] not in mine]

    def _leads(self, tensor: str, found: set[str]) -> bool:
        """Whether one of the tensors follows without another layer between."""
        layers = {one.writes for one in self.layers}
        front, seen = {tensor}, set()
        while front:
            if front & found:
                return True
            seen |= front
            front = {
                step.writes
                for step in self._steps
                if set(step.reads) & front and step.writes not in layers | seen
            }
        return False

    def _build(self) -> None:
        needed = self._ancestors()
        for node in self._graph.nodes:
            if node.output[0] not in needed or node.output[0] in self._taken:
                continue
            found = layer(node, self._graph, self._apart)
            if found is not None:
                self.layers.append(found)
                self._steps.append(_Step(found.module, (found.reads,), found.writes))
                self._taken |= {node.output[0], found.writes}
            elif node.op_type in ELEMENTWISE:
                self._elementwise(node)
            else:
                self._plain(node)
        for name in self._wanted:
            if name not in {step.writes for step in self._steps}:
                raise UnsupportedError(f"nothing in the graph makes '{name}'")

    def _ancestors(self) -> set[str]:
        needed = set(self._wanted)
        for node in reversed(self._graph.nodes):
            if needed & set(node.output) - set(self._inputs):
                needed |= {name for name in node.input if name}
        return needed - set(self._inputs)

    def _plain(self, node: Any) -> None:
        if node.op_type == "Concat":
            if any(self._graph.weight(name) is not None for name in node.input):
                raise refuse(node, "of constants")
            self._steps.append(_Step(concatenation(node), tuple(node.input), node.output[0]))
            return
        call, reads = operator(node, self._graph)
        if node.op_type == "Reshape":
            self._reshapes.append(node)
        self._steps.append(_Step(call, reads, node.output[0]))

    def _elementwise(self, node: Any) -> None:
        function = ELEMENTWISE[node.op_type]
        left, right = constants(node.input, self._graph)
        if left is None and right is None:
            self._steps.append(_Step(function, tuple(node.input), node.output[0]))
            return
        place = 0 if left is not None else 1
        constant = left if left is not None else right
        if constant is None or not constant.dtype.is_floating_point:
            raise refuse(node, "of whole numbers")
        if constant.numel() > 1:  # it may have a number a channel, and lose some
            constant = nn.Parameter(constant)
            self._vectors[node.input[place]] = constant
        call = _beside(function, constant, first=place == 0)
        self._steps.append(_Step(call, (node.input[1 - place],), node.output[0]))

    def _refuse_shared(self) -> None:
        held = [name for one in self.layers for name in one.weights] + list(self._vectors)
        read = [name for node in self._graph.nodes for name in node.input]
        for name in held:
            if held.count(name) > 1 or read.count(name) > 1:
                raise UnsupportedError(
                    f"the weights '{name}' are shared by two operators: they cannot be trained "
                    "one by one"
                )


def _beside(
    function: Callable[..., torch.Tensor], constant: torch.Tensor, *, first: bool
) -> Callable[[torch.Tensor], torch.Tensor]:
    if first:
        return lambda x: function(constant, x)
    return lambda x: function(x, constant)


def _count_again(node: Any, graph: Graph) -> None:
    """As many rows as there are and all that is in them: a number of channels may have stood there.

    The shape gets a constant of its own: others may read the old one.
    """
    name = f"{node.output[0]}_shape"
    graph.put(name, np.array([0, -1], np.int64))
    node.input[1] = name
    for attribute in node.attribute:
        if attribute.name == "allowzero":
            attribute.i = 0
