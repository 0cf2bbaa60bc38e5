"""Which tensors of a graph are to be like which answers of a teacher."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.tensor import Role, Signature, TensorSpec
from modelworks.ext.passes.training.graphs import Graph
from modelworks.ext.passes.training.lessons import SMALLEST, UNKNOWN, Target
from modelworks.ext.passes.training.rows import Array

_NEAR: Final = 1e-3  # relative difference between a graph and the net that is made of it


@dataclass(frozen=True, slots=True)
class Aim:
    """One output that is learned.

    Attributes:
        output: of the model.
        tensor: of the graph that is compared: logits where the graph has some.
        classes: its columns are classes.
        logarithm: the tensor holds probabilities.
    """

    output: TensorSpec
    tensor: str
    classes: bool
    logarithm: bool = False


def width(spec: TensorSpec) -> int:
    """Numbers a row; 0 where they are not always as many."""
    sizes = spec.shape[1:]
    return 0 if None in sizes else int(np.prod([size or 0 for size in sizes], dtype=np.int64))


def class_numbers(labels: Array | None, signature: Signature, columns: int) -> Array | None:
    """Labels as numbers of columns; None where they cannot be told to be that."""
    if labels is None or columns < 2:
        return None
    if signature.classes and len(signature.classes) == columns:
        places = {str(_plain(one)): place for place, one in enumerate(signature.classes)}
        numbers = [places.get(str(_plain(each)), UNKNOWN) for each in labels.tolist()]
        found = np.array(numbers, np.int64)
        return found if (found != UNKNOWN).any() else None
    whole = np.issubdtype(labels.dtype, np.integer) or (
        np.issubdtype(labels.dtype, np.floating) and bool((labels == np.round(labels)).all())
    )
    if not whole or labels.min() < 0 or labels.max() >= columns:
        return None
    return labels.astype(np.int64)


def has_classes(spec: TensorSpec, signature: Signature, labels: Array | None) -> bool:
    """Whether an output's columns are classes: as its role, the signature or the labels tell."""
    if spec.role is not Role.TENSOR:
        return spec.role is Role.PROBABILITIES
    columns = width(spec)
    known = len(signature.classes) == columns > 1
    return known or class_numbers(labels, signature, columns) is not None


def _plain(value: Any) -> Any:
    """1.0 and 1 and b'1' are one class."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return int(value) if isinstance(value, bool | float) and value == int(value) else value


def aims(graph: Graph, signature: Signature, labels: Array | None) -> list[Aim]:
    """What there is to learn of a model's own graph.

    Args:
        graph: of the model.
        signature: of it.
        labels: of the rows; they tell that columns are classes.

    Raises:
        UnsupportedError: it gives no numbers.
    """
    found = []
    for spec in signature.outputs:
        if spec.role is Role.LABEL or not spec.datatype.startswith("FP") or not width(spec):
            continue
        logits = _logits(graph, spec.name)
        if spec.role is Role.PROBABILITIES:
            found.append(Aim(spec, logits or spec.name, classes=True, logarithm=logits is None))
        else:
            classes = has_classes(spec, signature, labels)
            found.append(Aim(spec, spec.name, classes=classes))
    if not found:
        raise UnsupportedError("the model gives no numbers that a net could learn to give")
    return found


def targets(
    found: Sequence[Aim],
    answers: Mapping[str, Array],
    labels: Array | None,
    signature: Signature,
    alpha: float,
) -> list[Target]:
    """The aims with what the teacher said.

    Args:
        found: the aims.
        answers: the teacher's, output -> array.
        labels: one a row, of the first rows or of all; None = there are none.
        signature: of the model.
        alpha: weight of the teacher beside labels that are numbers.
    """
    made = []
    for aim in found:
        wanted = np.array(answers[aim.output.name], np.float32)
        wanted = wanted.reshape(len(wanted), -1)
        told = class_numbers(labels, signature, wanted.shape[1]) if aim.classes else None
        if told is not None:
            told = np.pad(told, (0, len(wanted) - len(told)), constant_values=UNKNOWN)
        if aim.output.role is Role.PROBABILITIES:
            wanted = np.log(np.maximum(wanted, SMALLEST))
        elif aim.output.role is Role.SCORE and _numbers(labels) and wanted.shape[1] == 1:
            truth = np.asarray(labels, np.float32).reshape(-1, 1)
            some = wanted[: len(truth)]  # the square of both differences has its least between them
            some[:] = np.where(np.isfinite(truth), alpha * some + (1 - alpha) * truth, some)
        made.append(
            Target(
                torch.from_numpy(np.ascontiguousarray(wanted)),
                None if told is None else torch.from_numpy(told),
                classes=aim.classes,
                values=aim.output.role is Role.TENSOR,
                logarithm=aim.logarithm,
            )
        )
    return made


def _numbers(labels: Array | None) -> bool:
    return labels is not None and np.issubdtype(labels.dtype, np.number)


def _logits(graph: Graph, name: str) -> str | None:
    """What a softmax of that name is made of."""
    node = graph.maker(name)
    while node is not None and node.op_type == "Identity":
        node = graph.maker(node.input[0])
    if node is None or node.op_type != "Softmax":
        return None
    return str(node.input[0])


def refuse_apart(
    net: nn.Module,
    inputs: Sequence[torch.Tensor],
    found: Sequence[Aim],
    answers: Mapping[str, Array],
) -> None:
    """A net that is not what the graph is would be taught, and be wrong afterwards.

    Raises:
        UnsupportedError: its answers are others than the model's.
    """
    some = [each[:64] for each in inputs]
    with torch.no_grad():
        got = net(*some)
    for aim, each in zip(found, got, strict=True):
        wanted = answers[aim.output.name][: len(some[0])].astype(np.float64)
        mine = each.softmax(dim=-1) if aim.tensor != aim.output.name else each
        off = np.abs(mine.numpy().reshape(wanted.shape) - wanted).max()
        if not off <= _NEAR * max(1.0, float(np.abs(wanted).max())):
            raise UnsupportedError(
                f"'{aim.output.name}' of the net that would be trained differs from the model's by "
                f"{off:.2g}: an operator is understood in another way"
            )


def refuse_endless(answers: Mapping[str, Array]) -> None:
    """Nothing is learned of NaN.

    Raises:
        InvalidError: the model answers rows with it, or with infinite numbers.
    """
    for name, each in answers.items():
        if each.dtype.kind == "f" and not np.isfinite(each).all():
            raise InvalidError(
                f"the model answers calibration rows with NaN or infinite numbers ('{name}')",
                field="calibration",
            )


def likeness(
    found: Sequence[Aim], wanted: Mapping[str, Array], got: Mapping[str, Array]
) -> dict[str, float]:
    """How alike two models answer, over rows that nobody learned from.

    Returns:
        `agreement`: share of rows with the same class, where there are classes; `cosine`: the
        mean over the rows, the worst output's, where there are none (of one number a row: the
        correlation).
    """
    shares, cosines = [], []
    for aim in found:
        name, columns = aim.output.name, width(aim.output)
        left, right = (each[name].reshape(-1, columns) for each in (wanted, got))
        if aim.classes:
            shares.append(float((left.argmax(axis=1) == right.argmax(axis=1)).mean()))
        elif columns == 1:  # of a cosine nothing but the sign is left
            cosines.append(float(np.corrcoef(left[:, 0], right[:, 0])[0, 1]))
        else:
            lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
            cosines.append(float(((left * right).sum(axis=1) / np.maximum(lengths, 1e-12)).mean()))
    told = {"agreement": min(shares)} if shares else {}
    return told | ({"cosine": min(cosines)} if cosines else {})


def told(alike: Mapping[str, float], rows: int, *, labelled: bool) -> tuple[str, ...]:
    """What `likeness` found, as sentences.

    Args:
        alike: of it.
        rows: on which.
        labelled: labels were learned from too.
    """
    figures = ", ".join(f"{name} {value:.4f}" for name, value in alike.items())
    first = f"with the model before, on {rows} rows that it did not learn from: {figures}"
    if labelled:
        return (first,)
    return (first, "without labels it learned the model's answers alone, its mistakes as well")
