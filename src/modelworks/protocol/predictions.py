"""Answers for humans: labels, confidence and probabilities instead of tensors.

Each row becomes one object, by the roles of the outputs:
`{"label": "malignant", "confidence": 0.97, "probabilities": {"benign": 0.03, ...}}` for a
classifier, `{"score": 1.2}` for a regression, `{"outputs": {...}}` for anything else.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from modelworks.core.errors import CrashedError
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.protocol.tensors import Array

Label = str | int | float | bool


def encode_predictions(
    model: str,
    version: str,
    signature: Signature,
    outputs: Sequence[Any],
    warnings: Sequence[str] = (),
) -> bytes:
    """`{"model": ..., "version": ..., "predictions": [...]}`, with `warnings` where there are any.

    Args:
        model: name as answered.
        version: as answered.
        signature: roles and class labels.
        outputs: arrays in the order of `signature.outputs`, axis 0 = rows.
        warnings: of the decoded rows.
    """
    answer: dict[str, Any] = {
        "model": model,
        "version": version,
        "predictions": predictions(signature, outputs),
    }
    if warnings:
        answer["warnings"] = list(warnings)
    return orjson.dumps(answer)


def predictions(signature: Signature, outputs: Sequence[Any]) -> list[dict[str, Any]]:
    """One dictionary of plain values a row; NaN and the infinities are `None`.

    Raises:
        CrashedError: the engine's outputs have different numbers of rows.
    """
    named = [
        (spec, array.reshape(1) if array.ndim == 0 else array)
        for spec, array in zip(signature.outputs, outputs, strict=True)
    ]
    counts = {len(array) for _, array in named}
    if len(counts) != 1:
        raise CrashedError("the model's outputs have different numbers of rows")
    answers: list[dict[str, Any]] = [{} for _ in range(counts.pop())]
    rest = named
    label = _first(named, Role.LABEL, axes=2)
    probabilities = _first(named, Role.PROBABILITIES, axes=2)
    score = _first(named, Role.SCORE, axes=2)
    if label is not None or probabilities is not None:
        labels = None if label is None else _labels(label, signature)
        _classify(answers, labels, probabilities, signature.classes)
        rest = [pair for pair in named if pair is not label and pair is not probabilities]
    elif score is not None:
        _put(answers, "score", plain(*score))
        rest = [pair for pair in named if pair is not score]
    for spec, array in rest:
        for answer, value in zip(answers, plain(spec, array), strict=True):
            answer.setdefault("outputs", {})[spec.name] = value
    return answers


_Named = tuple[TensorSpec, Array]


def _first(named: list[_Named], role: Role, axes: int) -> _Named | None:
    """The first output of a role; one with more axes is a tensor like any other."""
    return next((pair for pair in named if pair[0].role is role and pair[1].ndim <= axes), None)


def _put(answers: list[dict[str, Any]], key: str, values: Sequence[Any]) -> None:
    for answer, value in zip(answers, values, strict=True):
        answer[key] = value


def _classify(
    answers: list[dict[str, Any]],
    labels: list[Any] | None,
    probabilities: _Named | None,
    classes: tuple[Label, ...],
) -> None:
    if probabilities is None:
        _put(answers, "label", labels or [])
        return
    array = probabilities[1]
    table = array.reshape(len(array), -1)
    if table.shape[1] == 1:  # of the second class only
        table = np.concatenate([1 - table, table], axis=1)
    width = table.shape[1]
    names: tuple[Label, ...] = classes if len(classes) == width else tuple(range(width))
    places = {name: place for place, name in enumerate(names)}
    best = table.argmax(axis=1).tolist() if width else []
    for i, row in enumerate(_numbers(table)):
        label = names[best[i]] if labels is None else labels[i]
        answers[i]["label"] = label
        answers[i]["confidence"] = row[places.get(label, best[i])]
        answers[i]["probabilities"] = {
            _key(name): value for name, value in zip(names, row, strict=True)
        }


def _key(label: Label) -> str:
    """A class label as a JSON key, written as JSON writes the value."""
    return ("true" if label else "false") if isinstance(label, bool) else str(label)


def _labels(pair: _Named, signature: Signature) -> list[Any]:
    """The label column in the words of `classes`."""
    spec, array = pair
    values = plain(spec, array)
    classes = signature.classes
    if not classes or spec.datatype is Datatype.BYTES:
        return values
    if all(type(label) is bool for label in classes):
        return [bool(value) for value in values]
    if isinstance(classes[0], str):  # numbers here are places in `classes`
        return [_named(value, classes) for value in values]
    return values


def _named(value: Any, classes: tuple[Label, ...]) -> Any:
    return classes[value] if type(value) is int and 0 <= value < len(classes) else value


def plain(spec: TensorSpec, array: Array) -> list[Any]:
    """One plain value a row: a scalar where a row has one element, else nested lists."""
    if spec.datatype is Datatype.BYTES:
        values = array.copy()
        values[...] = np.frompyfunc(_decoded, 1, 1)(array)
        rows: list[Any] = values.tolist()
    elif spec.datatype is Datatype.BF16:
        rows = _numbers((array.astype(np.uint32) << 16).view(np.float32))
    else:
        rows = _numbers(array)
    if array.size == len(array):
        return [_scalar(row) for row in rows]
    return rows


def _numbers(array: Array) -> list[Any]:
    """As nested lists, through orjson: FP32 stays short (0.1), NaN and infinities are None."""
    contiguous = np.ascontiguousarray(array)
    rows: list[Any] = orjson.loads(orjson.dumps(contiguous, option=orjson.OPT_SERIALIZE_NUMPY))
    return rows


def _scalar(row: Any) -> Any:
    while isinstance(row, list):
        row = row[0]
    return row


def _decoded(item: Any) -> str:
    """Text; bytes that are no UTF-8 are shown with replacement characters."""
    return item if isinstance(item, str) else bytes(item).decode(errors="replace")
