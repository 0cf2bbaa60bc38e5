"""Which requests fit into one call: by their shapes, by their lengths, by their texts' lengths."""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from modelworks.core.ragged import Ragged
from modelworks.core.steps import Padding
from modelworks.core.tensor import Datatype, Signature, Tensors, TensorSpec
from modelworks.serving.batcher import Call, Member, deliver
from modelworks.serving.execute import joined

ShapeOf: TypeAlias = Callable[[Tensors], Hashable]
MOST_GROWTH: Final = 2.0
"""Filling up may at most double what is computed."""
_SHORT: Final = 16  # bytes; below, texts differ by their special tokens alone
_SPAN: Final = slice(None)


def shape_of(inputs: Tensors) -> Hashable:
    """What the inputs of members have to have in common to share a batch."""
    return tuple([array.shape[1:] for array in inputs.values()])


def bucket(length: int, growth: float) -> int:
    """Lengths of one bucket differ by less than the factor `growth`.

    Args:
        length: 0 counts as 1.
        growth: over 1.
    """
    return int(math.log(max(1, length)) / math.log(growth) + 1e-9)


class TextLengths:
    """Groups texts that the server tokenizes: a short one is not filled up to a long one.

    Args:
        names: inputs that are tokenized and filled up to the longest of the batch.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)

    def shape_of(self, inputs: Tensors) -> Hashable:
        """By the bytes of the longest text; tokens are about in proportion."""
        longest = _SHORT
        for name in self._names:
            texts = inputs[name].ravel().tolist()
            longest = max(longest, *(len(text) for text in texts)) if texts else longest
        return (bucket(longest, MOST_GROWTH), shape_of(inputs))


def text_inputs(signature: Signature) -> tuple[str, ...]:
    """Inputs whose texts become as long as the longest of their batch."""
    names: list[str] = []
    for item in signature.steps:
        if item.tokenize is not None and item.tokenize.padding is Padding.LONGEST:
            names += [item.name, *([item.tokenize.pair] if item.tokenize.pair else [])]
    return tuple(names)


class Padder:
    """Requests of different lengths in one call: filled up before, cut back afterwards.

    Args:
        signature: of the model.
        ragged: the declared axis; `problem_of` must have nothing against it.
        cuts: of each output the axes that are as long as the inputs.
        growth: lengths that differ by less than this factor share calls.
    """

    def __init__(
        self,
        signature: Signature,
        ragged: Ragged,
        cuts: Sequence[tuple[int, ...]],
        growth: float = MOST_GROWTH,
    ) -> None:
        given = dict(ragged.values)
        self._axis = ragged.axis
        self._mask = ragged.mask
        self._values = {
            spec.name: 0.0 if spec.name == ragged.mask else given.get(spec.name, 0.0)
            for spec in padded_inputs(signature, ragged)
        }
        self._cuts = tuple(cuts)
        self.growth = growth

    def shape_of(self, inputs: Tensors) -> Hashable:
        """Equal for those that may share a call."""
        axis = self._axis
        lengths = {inputs[name].shape[axis] for name in self._values}
        if len(lengths) > 1:
            return shape_of(inputs)  # it contradicts itself: the model has its say, alone
        rest = [
            array.shape[1:axis] + array.shape[axis + 1 :]
            if name in self._values
            else array.shape[1:]
            for name, array in inputs.items()
        ]
        return ("ragged", bucket(lengths.pop(), self.growth), tuple(rest))

    def lengths(self, members: Sequence[Member]) -> list[int]:
        """Of each member."""
        axis = self._axis
        return [member.inputs[self._mask].shape[axis] for member in members]

    def gather(self, members: list[Member]) -> Tensors:
        """One set of inputs, the shorter ones filled up."""
        if len(members) == 1:
            return members[0].inputs
        lengths = self.lengths(members)
        longest = max(lengths)
        if min(lengths) == longest:
            return joined(members)
        made: dict[str, Any] = {}
        for name in members[0].inputs:
            arrays = [member.inputs[name] for member in members]
            value = self._values.get(name)
            made[name] = (
                np.concatenate(arrays)
                if value is None
                else _filled(arrays, self._axis, longest, value)
            )
        return made

    def answer(self, call: Call, plain: Callable[[Call], None]) -> None:
        """Give every member its rows, as long as its inputs were.

        Args:
            call: that went well.
            plain: answers those that need no cutting.
        """
        lengths = self.lengths(call.members)
        if min(lengths) == max(lengths) or not any(self._cuts):
            plain(call)
            return
        for (member, outputs), length in zip(call.each(), lengths, strict=True):
            deliver(member, self.cut(outputs, length))

    def cut(self, outputs: Sequence[Any], length: int) -> list[Any]:
        """The outputs as they are for inputs of `length`."""
        return [
            array[tuple(slice(length) if at in axes else _SPAN for at in range(array.ndim))]
            if axes
            else array
            for array, axes in zip(outputs, self._cuts, strict=True)
        ]


def _filled(arrays: Sequence[Any], axis: int, length: int, value: float) -> Any:
    shape = list(arrays[0].shape)
    shape[0] = sum([len(array) for array in arrays])
    shape[axis] = length
    whole = np.full(shape, value, arrays[0].dtype)
    start = 0
    between = (_SPAN,) * (axis - 1)
    for array in arrays:
        end = start + len(array)
        whole[(slice(start, end), *between, slice(array.shape[axis]))] = array
        start = end
    return whole


def padded_inputs(signature: Signature, ragged: Ragged) -> list[TensorSpec]:
    """The inputs that are filled up."""
    axis = ragged.axis
    return [s for s in signature.inputs if len(s.shape) > axis and s.shape[axis] is None]


def problem_of(signature: Signature, ragged: Ragged) -> str:
    """Why a declared axis does not fit the signature; empty = it does."""
    padded = {spec.name: spec for spec in padded_inputs(signature, ragged)}
    names = {spec.name for spec in signature.inputs}
    for name in (ragged.mask, *(name for name, _ in ragged.values)):
        if name not in names:
            return f"the declared input '{name}' is none of {', '.join(sorted(names))}"
        if name not in padded:
            return f"axis {ragged.axis} of input '{name}' is not dynamic"
    for spec in padded.values():
        if spec.datatype in {Datatype.BYTES, Datatype.BF16}:
            return f"input '{spec.name}' is {spec.datatype}, which is not filled up"
    return ""
