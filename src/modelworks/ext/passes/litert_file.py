"""A LiteRT file as passes see it: layers, what feeds what, and a signature that may need repair."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from modelworks.core.errors import InvalidError
from modelworks.ext.formats import tflite

MODEL: Final = "model.tflite"
DENSE: Final = frozenset({schema.BuiltinOperator.FULLY_CONNECTED})
WEIGHTY: Final = DENSE | {
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
}
_FLOAT: Final = schema.TensorType.FLOAT32
_LEAST: Final = 1024  # weights; below, a call costs more than what it computes
_SHARE: Final = 0.1  # of the work, that must be done by what is rounded


class LiteRtFile:
    """A LiteRT file: its first graph's operators by the names of what they make."""

    def __init__(self, folder: Path) -> None:
        file = folder / MODEL
        if not file.is_file():
            raise InvalidError(f"the artifact has no {MODEL}", field="source")
        self.facts = tflite.read(file)
        self.data = file.read_bytes()
        self._model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(self.data))

    def fits(self, codes: frozenset[int] = WEIGHTY) -> str:
        """Why there is nothing to gain by rounding such operators; empty = there may be."""
        if len(self._model.subgraphs) > 1 or len(self.facts.signatures) != 1:
            return "it has several graphs, or no signature: files of one graph are rounded"
        layers = list(self._layers())
        if not layers:
            return "it has no layers with float32 weights: nothing is left to round"
        chosen = [one for one in layers if one[0] in codes]
        weights = sum(count for _, count, _ in chosen)
        if weights < _LEAST:
            return f"its layers have {weights} weights to round: a call costs more than they do"
        share = sum(work for *_, work in chosen) / sum(work for *_, work in layers)
        if share < _SHARE:
            return (
                f"{1 - share:.0%} of its work are convolutions, which take twice as long when "
                "what they get is rounded as it comes; ranges from rows make them faster"
            )
        return ""

    def operators(self) -> dict[str, Any]:
        """Name of the first output -> operator."""
        graph = self._model.subgraphs[0]
        return {
            graph.tensors[one.outputs[0]].name.decode(): one
            for one in graph.operators
            if one.outputs is not None and len(one.outputs)
        }

    def tail(self) -> list[str]:
        """Operators after the last layer with weights, by name."""
        feeding: set[int] = set()
        found = []
        for name, one in reversed(self.operators().items()):
            if self.code(one) in WEIGHTY or feeding.intersection(map(int, one.outputs)):
                feeding.update(map(int, one.inputs))
            else:
                found.append(name)
        return found

    def kinds(self, one: Any) -> tuple[int, ...]:
        """Types of what an operator makes and of its constants with weights."""
        tensors = self._model.subgraphs[0].tensors
        numbers = [one.outputs[0]]
        if self.code(one) in WEIGHTY:
            numbers.append(one.inputs[1])
        return tuple(int(tensors[number].type) for number in numbers)

    def code(self, one: Any) -> int:
        """What an operator is."""
        found = self._model.operatorCodes[one.opcodeIndex]
        return max(int(found.builtinCode), int(found.deprecatedBuiltinCode))

    def _layers(self) -> Iterator[tuple[int, int, int]]:
        """Of layers with float weights: the operator, its weights, its products for a row."""
        tensors, buffers = self._model.subgraphs[0].tensors, self._model.buffers
        for one in self.operators().values():
            code = self.code(one)
            if code in WEIGHTY:
                tensor = tensors[one.inputs[1]]
                if tensor.type == _FLOAT and buffers[tensor.buffer].data is not None:
                    places = tensors[one.outputs[0]].shape[1:-1]
                    yield code, math.prod(tensor.shape), math.prod([*tensor.shape, *places])


def repaired(data: bytes, source: bytes) -> bytes:
    """The library's file with a signature that names its graph's own ends.

    It forgets the signature where a tensor that callers see is read inside of the graph as well.
    """
    one, other = (schema.ModelT.InitFromObj(schema.Model.GetRootAs(x)) for x in (data, source))
    graph, before = one.subgraphs[0], other.subgraphs[0]
    changed = False
    for side in ("inputs", "outputs"):
        places = [int(number) for number in getattr(before, side)]
        new = getattr(graph, side)
        for told, was in zip(
            getattr(one.signatureDefs[0], side),
            getattr(other.signatureDefs[0], side),
            strict=True,
        ):
            number = int(new[places.index(int(was.tensorIndex))])
            changed = changed or number != int(told.tensorIndex)
            told.tensorIndex = number
    if not changed:
        return data
    builder = flatbuffers.Builder(len(data))
    builder.Finish(one.Pack(builder), tflite.IDENTIFIER)
    return bytes(builder.Output())
