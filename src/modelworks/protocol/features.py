"""Tensors of tabular models as one table of numbers and back, for whoever changes features.

Texts become places in a list of the values that were seen; a table may hold no others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import UnsupportedError
from modelworks.core.tensor import Datatype, Role, Signature, Tensors, TensorSpec
from modelworks.protocol.tensors import DTYPES

_CURE: Final = "only models that take a row of features an item are explained and probed"
_ODD: Final = frozenset({Datatype.BF16})


@dataclass(frozen=True, slots=True)
class Answer:
    """What of a model's outputs is looked at.

    Attributes:
        names: of its columns: the classes, or one name.
        classes: labels, in the order of the columns; empty = it is no classifier.
        flat: one number an item and no classes.
    """

    names: tuple[str, ...]
    classes: tuple[Any, ...]
    flat: bool


@dataclass(frozen=True, slots=True)
class Features:
    """The columns of a tabular model.

    Attributes:
        signature: of the model.
        names: of the columns.
        values: by name of a text column, its values, sorted; a cell is a place in them.
    """

    signature: Signature
    names: tuple[str, ...]
    values: Mapping[str, tuple[Any, ...]]

    @classmethod
    def of(cls, signature: Signature, parts: Sequence[Tensors] = ()) -> "Features":
        """The columns of a model, and the texts of some decoded rows.

        Args:
            signature: of the model.
            parts: its inputs; only texts that are in them can be written.

        Raises:
            UnsupportedError: an item is no row of features.
        """
        names = _names(signature)
        values = {
            spec.name: tuple(sorted({item for part in parts for item in _items(part[spec.name])}))
            for spec in signature.inputs
            if spec.datatype is Datatype.BYTES
        }
        return cls(signature, names, values)

    def table(self, inputs: Tensors) -> Any:
        """Rows x features, float64, of the model's inputs."""
        columns = []
        for spec in self.signature.inputs:
            array = inputs[spec.name]
            if spec.datatype is Datatype.BYTES:
                places = {item: place for place, item in enumerate(self.values[spec.name])}
                column = np.array([places[item] for item in _items(array)], np.float64)
                columns.append(column[:, None])
            else:
                columns.append(array.reshape(len(array), -1).astype(np.float64))
        return np.concatenate(columns, axis=1)

    def tensors(self, table: Any) -> dict[str, Any]:
        """The model's inputs of a table."""
        specs = self.signature.inputs
        width = len(self.names) // len(specs)
        inputs = {}
        for place, spec in enumerate(specs):
            part = table[:, place * width : (place + 1) * width]
            if spec.datatype is Datatype.BYTES:
                values = np.array([*self.values[spec.name], None], object)[:-1]
                part = values[part.astype(np.int64)]
            else:
                part = part.astype(DTYPES[spec.datatype])
            inputs[spec.name] = part.reshape(len(table), *_rest(spec, width))
        return inputs


def answer_of(signature: Signature) -> Answer:
    """What is looked at: probabilities, else the score, else the label, else the first number.

    Raises:
        UnsupportedError: no output is a number or a label of known classes.
    """
    probabilities = signature.output(Role.PROBABILITIES)
    label = signature.output(Role.LABEL)
    if probabilities is not None:
        width = probabilities.shape[1] if len(probabilities.shape) > 1 else 1
        count = max(width or 0, len(signature.classes), 2 if width == 1 else 0)
        classes = signature.classes or tuple(range(count))
        return Answer(tuple(str(name) for name in classes), classes, flat=False)
    if signature.output(Role.SCORE) is None and label is not None:
        if not signature.classes:
            raise UnsupportedError(
                "the model answers with labels whose classes are not known: there is no number "
                "to explain"
            )
        return Answer(tuple(map(str, signature.classes)), signature.classes, flat=False)
    return Answer((_number(signature).name,), (), flat=True)


def answers(signature: Signature, outputs: Mapping[str, Any]) -> Any:
    """Rows x classes, or one number a row, of the model's outputs by name; see `answer_of`."""
    probabilities = signature.output(Role.PROBABILITIES)
    if probabilities is not None:
        array = np.asarray(outputs[probabilities.name], np.float64)
        table = array.reshape(len(array), -1)
        return np.concatenate([1 - table, table], axis=1) if table.shape[1] == 1 else table
    known = answer_of(signature)
    label = signature.output(Role.LABEL)
    if not known.flat and label is not None:
        given = [_plain(item) for item in np.asarray(outputs[label.name]).ravel().tolist()]
        places = label.datatype is not Datatype.BYTES and isinstance(known.classes[0], str)
        wanted = range(len(known.classes)) if places else known.classes
        return np.array([[float(item == one) for one in wanted] for item in given])
    array = np.asarray(outputs[known.names[0]], np.float64)
    table = array.reshape(len(array), -1)
    if table.shape[1] != 1:
        raise UnsupportedError(
            f"output '{known.names[0]}' has {table.shape[1]} numbers an item, and no role: there "
            "is no one answer to explain"
        )
    return table[:, 0]


def _number(signature: Signature) -> TensorSpec:
    score = signature.output(Role.SCORE)
    if score is not None:
        return score
    found = next((s for s in signature.outputs if s.datatype is not Datatype.BYTES), None)
    if found is None:
        raise UnsupportedError("the model answers with text: there is no number to explain")
    return found


def _names(signature: Signature) -> tuple[str, ...]:
    """The columns.

    Raises:
        UnsupportedError: there are none.
    """
    specs = signature.inputs
    odd = next((spec for spec in specs if spec.datatype in _ODD), None)
    if odd is not None:
        raise UnsupportedError(f"input '{odd.name}' is of {odd.datatype}: {_CURE}")
    one = len(specs) == 1 and specs[0].datatype is not Datatype.BYTES and len(specs[0].shape) == 2
    if one:
        width = specs[0].shape[1] or len(signature.features)
        if width:
            return signature.features or tuple(f"{specs[0].name}[{i}]" for i in range(width))
    for spec in specs:
        if spec.shape[:1] != (None,) or any(axis != 1 for axis in spec.shape[1:]):
            shape = ["any" if axis is None else axis for axis in spec.shape]
            raise UnsupportedError(f"input '{spec.name}' has the shape {shape}: {_CURE}")
    return tuple(spec.name for spec in specs)


def _rest(spec: TensorSpec, width: int) -> tuple[int, ...]:
    """The axes beside the batch."""
    return (width,) if len(spec.shape) == 2 else tuple(1 for _ in spec.shape[1:])


def _items(array: Any) -> list[Any]:
    """Texts one by one; a `str` and its UTF-8 bytes are the same."""
    return [i.encode() if isinstance(i, str) else bytes(i) for i in array.ravel().tolist()]


def _plain(item: Any) -> Any:
    return item.decode(errors="replace") if isinstance(item, bytes) else item
