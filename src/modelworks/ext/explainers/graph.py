"""What stands between an ONNX graph's inputs and the node that decides, as numpy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError, MissingExtraError, UnsupportedError

_FILE: Final = "model.onnx"
_CASTS: Final = {1: np.float32, 11: np.float64}
_ARITHMETIC: Final = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
}
_PLAIN: Final = frozenset({"Identity", "Cast", "Scaler", "Imputer", *_ARITHMETIC})
_Act = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Node:
    """The node that decides.

    Attributes:
        kind: its operator.
        attributes: by name; tensors as arrays, texts as `str`.
        constants: its other inputs, in their order.
        before: from rows x features, float64, to what the node sees.
        columns: which feature each column that the node sees is of; None = they are in order.
    """

    kind: str
    attributes: Mapping[str, Any]
    constants: tuple[Any, ...]
    before: Callable[[Any], Any]
    columns: tuple[int, ...] | None = None

    def ordered(self, values: Any) -> Any:
        """Values by the node's columns (the second axis) as values by features."""
        if self.columns is None:
            return values
        return values[:, np.argsort(self.columns)]


def deciding(artifact: Path | None, kinds: frozenset[str]) -> Node:
    """The graph's one node of these kinds, where only arithmetic a feature stands before it.

    Args:
        artifact: a file, or a folder with `model.onnx`.
        kinds: operators.

    Raises:
        InvalidError: the file is no ONNX model.
        UnsupportedError: there is none such, several, or something else stands before it.
        MissingExtraError: onnx is not installed.
    """
    if artifact is None:
        raise UnsupportedError("the model's file is not at hand", field="artifact")
    graph = _read(artifact)
    found = [node for node in graph.node if node.op_type in kinds]
    if len(found) != 1:
        raise UnsupportedError(
            f"the graph has {len(found)} nodes of {', '.join(sorted(kinds))}, and not one",
            field="artifact",
        )
    return _Chain(graph).to(found[0])


def _read(artifact: Path) -> Any:
    try:
        import onnx  # noqa: PLC0415 - a serving container has none, and needs none for the rest
    except ModuleNotFoundError as error:
        raise MissingExtraError("reading a model's own form", "platform", "onnx") from error
    path = artifact / _FILE if artifact.is_dir() else artifact
    if not path.is_file():
        raise UnsupportedError(f"{artifact} holds no {_FILE}", field="artifact")
    try:
        return onnx.load(path).graph
    except Exception as error:
        # protobuf's and the file system's errors have no common base
        raise InvalidError(f"{path} is no ONNX model: {error}"[:300], field="artifact") from error


class _Chain:
    """A graph, walked from a node back to its inputs."""

    def __init__(self, graph: Any) -> None:
        from onnx import numpy_helper  # noqa: PLC0415 - as in `_read`

        self._array = numpy_helper.to_array
        self._constants = {item.name: self._array(item) for item in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                value = self._attributes(node).get("value")
                if value is not None:
                    self._constants[node.output[0]] = value
        self._made = {name: node for node in graph.node for name in node.output}
        given = [item for item in graph.input if item.name not in self._constants]
        self._given = {item.name: place for place, item in enumerate(given)}
        self._types = {item.name: item.type.tensor_type.elem_type for item in given}

    def to(self, node: Any) -> Node:
        """The node, and what stands before it."""
        acts: list[_Act] = []
        columns: list[int] | None = None
        name = node.input[0]
        while name not in self._given:
            maker = self._made.get(name)
            if maker is not None and maker.op_type == "Concat" and self._joins(maker):
                columns = [self._given[item] for item in maker.input]
                acts.append(partial(_chosen, columns))
                name = maker.input[0]
                break
            if maker is None or maker.op_type not in _PLAIN:
                what = "nothing" if maker is None else maker.op_type
                raise UnsupportedError(
                    f"{what} stands before {node.op_type}: features are not followed through it",
                    field="artifact",
                )
            act, name = self._act(maker)
            acts.append(act)
        kind = _CASTS.get(self._types[name])
        if kind is None:
            raise UnsupportedError("the input is no table of FP32 or FP64", field="artifact")
        acts.append(lambda rows: rows.astype(kind))

        def before(rows: Any) -> Any:
            for act in reversed(acts):
                rows = act(rows)
            return rows

        rest = tuple(self._constants.get(item) for item in node.input[1:])
        seen = None if columns is None else tuple(columns)
        return Node(node.op_type, self._attributes(node), rest, before, seen)

    def _joins(self, node: Any) -> bool:
        return len(node.input) == len(self._given) and set(node.input) == set(self._given)

    def _act(self, node: Any) -> tuple[_Act, str]:
        """What a node does a feature, and to which tensor."""
        attributes = self._attributes(node)
        if node.op_type in _ARITHMETIC:
            return self._arithmetic(node)
        if node.op_type == "Cast":
            kind = _CASTS.get(attributes["to"])
            if kind is None:
                raise UnsupportedError("a Cast to another type than FP32 or FP64", field="artifact")
            return (lambda rows: rows.astype(kind)), node.input[0]
        if node.op_type == "Scaler":
            offset, scale = (np.asarray(attributes[key], np.float32) for key in ("offset", "scale"))
            # The operator answers FP32 whatever it is given.
            return (lambda rows: ((rows - offset) * scale).astype(np.float32)), node.input[0]
        if node.op_type == "Imputer":
            return _imputer(attributes), node.input[0]
        return (lambda rows: rows), node.input[0]

    def _arithmetic(self, node: Any) -> tuple[_Act, str]:
        ufunc = _ARITHMETIC[node.op_type]
        first, second = node.input
        if second in self._constants:
            constant = self._constants[second]
            return (lambda rows: ufunc(rows, constant.astype(rows.dtype))), first
        if first in self._constants:
            constant = self._constants[first]
            return (lambda rows: ufunc(constant.astype(rows.dtype), rows)), second
        raise UnsupportedError(f"{node.op_type} of two computed tensors", field="artifact")

    def _attributes(self, node: Any) -> dict[str, Any]:
        from onnx import helper  # noqa: PLC0415 - as in `_read`

        found = {}
        for item in node.attribute:
            value = helper.get_attribute_value(item)
            if isinstance(value, bytes):
                value = value.decode(errors="replace")
            elif hasattr(value, "data_type"):
                value = self._array(value)
            found[item.name] = value
        return found


def _chosen(columns: list[int], rows: Any) -> Any:
    return rows[:, columns]


def _imputer(attributes: Mapping[str, Any]) -> _Act:
    instead = np.asarray(attributes.get("imputed_value_floats", ()), np.float64)
    lost = float(attributes.get("replaced_value_float", 0.0))
    if not instead.size:
        raise UnsupportedError("an Imputer of integers", field="artifact")

    def act(rows: Any) -> Any:
        gone = np.isnan(rows) if np.isnan(lost) else rows == lost
        return np.where(gone, instead, rows).astype(rows.dtype)

    return act
