"""A conversion under way: which tensors there are already, and in which order of their axes.

ONNX keeps images as [rows, channels, height, width], LiteRT as [rows, height, width, channels]. A
tensor may exist in both orders; the other one is made when somebody first asks for it, so that
transposes stand only where the orders really meet.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import numpy as np
import onnx

from modelworks.core.errors import UnsupportedError
from modelworks.ext.formats.tflite_write import Graph, Shape, Tensor
from modelworks.ext.passes.litert.source import Source, key

TO_LAST: Final = (0, 2, 3, 1)
TO_FIRST: Final = (0, 3, 1, 2)
AXES: Final = {0: 0, 1: 3, 2: 1, 3: 2}
"""Where an axis of ONNX's order stands in LiteRT's."""
_LONGEST: Final = 60


class Making:
    """See the module.

    Attributes:
        source: what is converted.
        graph: what is made of it.
        positive: names of tensors with no value below zero.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.graph = source, Graph()
        self.positive: set[str] = set()
        self._own: dict[str, Tensor] = {}
        self._last: dict[str, Tensor] = {}
        self._flat: dict[str, tuple[str, Tensor]] = {}
        self._taken: set[str] = set()
        uses = [name for node in source.nodes for name in node.input]
        self._uses = Counter([*uses, *source.outputs])
        self._readers = {name: node for node in source.nodes for name in node.input}
        for name in source.inputs:
            self._own[name] = self.graph.tensor(name, self.shape(name), source.kinds[name])

    def refuse(self, node: onnx.NodeProto, why: str) -> NoReturn:
        """End the conversion.

        Raises:
            UnsupportedError: always.
        """
        name = (node.name or next(iter(node.output), ""))[:_LONGEST]
        raise UnsupportedError(f"{key(node)} '{name}': {why}")

    def shape(self, name: str) -> Shape:
        """Of a tensor, in ONNX's order.

        Raises:
            UnsupportedError: its first axis is not the rows.
        """
        found = self.source.constants.get(name)
        if found is not None:
            return tuple(found.shape)
        if name not in self.source.shapes:
            raise UnsupportedError(
                f"tensor '{name[:_LONGEST]}' mixes rows, or its shape is not known: every row must "
                "be answered by itself"
            )
        return self.source.shapes[name]

    def constant(self, name: str) -> Any:
        """The array; None where it is computed from the inputs, or nothing at all."""
        return self.source.constants.get(name)

    def sole(self, name: str) -> onnx.NodeProto | None:
        """The one node that reads a tensor; None where there are more, or callers see it."""
        return self._readers.get(name) if self._uses[name] == 1 else None

    def take(self, node: onnx.NodeProto) -> None:
        """A node is part of what another one made."""
        self._taken.add(node.output[0])

    def taken(self, node: onnx.NodeProto) -> bool:
        """Whether `take` was called."""
        return node.output[0] in self._taken

    def images(self, *names: str) -> bool:
        """Whether these are best read in LiteRT's order: images, of which one is there in it."""
        ranks = {len(self.shape(name)) for name in names}
        return ranks == {4} and any(name in self._last for name in names)

    def own(self, name: str) -> Tensor:
        """A tensor in ONNX's order of axes, a constant too."""
        constant = self.constant(name)
        if constant is not None:
            return self.graph.constant(name, constant)
        if name not in self._own and name in self._flat:
            image, _ = self._flat[name]
            self._own[name] = self.reshape(self.own(image), name, self.shape(name))
        if name not in self._own:
            self._own[name] = self._turned(self._last[name], name, TO_FIRST)
        return self._own[name]

    def last(self, name: str) -> Tensor:
        """A tensor of four axes with its channels last."""
        if name not in self._last:
            self._last[name] = self._turned(self.own(name), name, TO_LAST)
        return self._last[name]

    def known(self, name: str, tensor: Tensor, *, last: bool = False) -> None:
        """A tensor is there already, under another name or in another order."""
        (self._last if last else self._own)[name] = tensor

    def flatten(self, image: str, name: str) -> None:
        """`name` is an image in one row of numbers; in which order is decided by who asks."""
        last = self.last(image)
        wide = int(np.prod([size or 1 for size in last.shape[1:]]))
        self._flat[name] = (image, self.reshape(last, name, (last.shape[0], wide)))

    def flat(self, name: str) -> tuple[Tensor, Shape] | None:
        """A flattened image with its channels last, and the image's shape in ONNX's order."""
        if name not in self._flat:
            return None
        image, tensor = self._flat[name]
        return tensor, self.shape(image)

    def emit(
        self,
        code: str,
        inputs: Sequence[Tensor],
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        last: bool = False,
        version: int = 1,
    ) -> Tensor:
        """Add an operator that makes the tensor `name`."""
        shape = self.shape(name)
        if last:
            shape = tuple(shape[axis] for axis in TO_LAST)
        output = self.graph.tensor(name, shape, self.source.kinds[name])
        self.known(name, output, last=last)
        return self.graph.operator(code, inputs, output, options, version=version)

    def between(
        self, code: str, inputs: Sequence[Tensor], shape: Shape, options: Any = None
    ) -> Tensor:
        """Add an operator whose result only the next one sees."""
        output = self.graph.tensor(f"{inputs[0].name}/{code.lower()}", shape, inputs[0].kind)
        return self.graph.operator(code, inputs, output, options)

    def reshape(self, tensor: Tensor, name: str, shape: Shape) -> Tensor:
        """The same values in another shape."""
        lengths = np.array([-1 if size is None else size for size in shape], np.int32)
        output = self.graph.tensor(name, shape, tensor.kind)
        wanted = self.graph.constant(f"{name}/shape", lengths)
        return self.graph.operator("RESHAPE", [tensor, wanted], output, {"newShape": lengths})

    def transpose(self, tensor: Tensor, name: str, order: Sequence[int]) -> Tensor:
        """The same values with their axes in another order."""
        output = self.graph.tensor(name, tuple(tensor.shape[axis] for axis in order), tensor.kind)
        wanted = self.graph.constant(f"{name}/order", np.array(order, np.int32))
        return self.graph.operator("TRANSPOSE", [tensor, wanted], output)

    def _turned(self, tensor: Tensor, name: str, order: tuple[int, ...]) -> Tensor:
        moved = [axis for axis in order if tensor.shape[axis] != 1]
        if moved == sorted(moved):  # axes of length one change places: no value does
            return self.reshape(tensor, name, tuple(tensor.shape[axis] for axis in order))
        return self.transpose(tensor, name, order)
