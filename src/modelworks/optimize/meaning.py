"""What a form's answers mean: classes, numbers or vectors, whatever the outputs are called."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.evaluation.parity import as_text
from modelworks.protocol.tensors import FLOATS
from modelworks.stats.intervals import Floats

_SUMS: Final = 1e-2


class Kind(StrEnum):
    """What is answered."""

    CLASSES = "classes"
    NUMBERS = "numbers"
    VECTORS = "vectors"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Which output is what; found once, by the source form's answers.

    Attributes:
        kind: of the answers.
        label: output with the class; None = the greatest score says it.
        scores: output with a number a class, or with the number; None = only labels are there.
        classes: names in the order of the scores' columns.
        probable: the scores are probabilities.
        cut: of two classes with one score: from which score on it is the second.
        vectors: outputs that are compared by their direction.
        told: one sentence where something was guessed.
    """

    kind: Kind
    label: str | None = None
    scores: str | None = None
    classes: tuple[str, ...] = ()
    probable: bool = False
    cut: float = 0.5
    vectors: tuple[str, ...] = ()
    told: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What a form said to the rows.

    Attributes:
        labels: text of the class, [rows]; None = there are no classes.
        probabilities: [rows, classes]; None = there are none.
        numbers: [rows]; None = the answers are no numbers.
        vectors: [rows, n] each.
    """

    labels: Any = None
    probabilities: Floats | None = None
    numbers: Floats | None = None
    vectors: tuple[Floats, ...] = ()


def planned(signature: Signature, answers: Mapping[str, Any], truth: Any = None) -> Plan:
    """Find out which output is what.

    Args:
        signature: of the form; roles where an importer found them.
        answers: the source form's.
        truth: of the rows, as a file has it; None = not known.

    Raises:
        InvalidError: the truth is known and fits no output.
    """
    specs = signature.outputs
    label = _label(signature, specs)
    scores = _scores(signature, [s for s in specs if s.name != label], answers)
    classes = tuple(as_text(np.array([one]))[0] for one in signature.classes)
    if scores is not None:
        width = _width(answers[scores.name])
        if scores.role is Role.PROBABILITIES or label or classes:
            return _of_classes(label, scores, classes, answers, width)
        if truth is not None and (names := _columns_of(truth, width)):
            told = f"the {width} columns of '{scores.name}' were taken for classes 0 to {width - 1}"
            return _of_classes(None, scores, names, answers, width, told)
    if label is not None:
        return Plan(Kind.CLASSES, label=label)
    number = next((s for s in specs if _is_number(s, answers)), None)
    if number is not None and (truth is not None or number.role is Role.SCORE):
        if truth is not None and truth.dtype.kind not in "biuf":
            raise InvalidError(
                f"the truth holds texts and the output '{number.name}' is a number", field="label"
            )
        return Plan(Kind.NUMBERS, scores=number.name)
    if truth is not None:
        named = ", ".join(spec.name for spec in specs)
        raise InvalidError(
            f"the truth fits no output of the model ({named}): leave --label out, and agreement is "
            "judged alone",
            field="label",
        )
    vectors = tuple(s.name for s in specs if s.datatype in FLOATS)
    if not vectors:
        raise InvalidError("no output of the model can be compared: numbers or classes are wanted")
    return Plan(Kind.VECTORS, vectors=vectors)


def said(plan: Plan, answers: Mapping[str, Any]) -> Said:
    """What the answers say.

    Args:
        plan: of the source form.
        answers: of a form, finite.
    """
    if plan.kind is Kind.VECTORS:
        flat = (_flat(answers[name]) for name in plan.vectors)
        return Said(vectors=tuple(flat))
    scores = None if plan.scores is None else _flat(answers[plan.scores])
    if plan.kind is Kind.NUMBERS:
        assert scores is not None  # noqa: S101 - numbers are scores
        return Said(numbers=scores[:, 0])
    probabilities = None
    if scores is not None and plan.probable:
        two = np.column_stack([1 - scores[:, 0], scores[:, 0]])
        probabilities = two if scores.shape[1] == 1 else scores
    if plan.label is not None:
        return Said(as_text(answers[plan.label]).reshape(-1), probabilities)
    assert scores is not None  # noqa: S101 - the plan has one of both
    names = np.array(plan.classes)
    if scores.shape[1] == 1:
        return Said(names[(scores[:, 0] >= plan.cut).astype(int)], probabilities)
    return Said(names[scores.argmax(axis=1)], probabilities)


def _label(signature: Signature, specs: tuple[TensorSpec, ...]) -> str | None:
    """The output with the class."""
    told = signature.output(Role.LABEL)
    if told is not None:
        return told.name
    if any(spec.role is not Role.TENSOR for spec in specs):
        return None
    for spec in specs:
        whole = spec.datatype not in FLOATS
        if whole and len(spec.shape) in {1, 2} and spec.shape[1:] in {(), (1,)}:
            return spec.name
    return None


def _scores(
    signature: Signature, specs: list[TensorSpec], answers: Mapping[str, Any]
) -> TensorSpec | None:
    """The output with a number a class."""
    told = signature.output(Role.PROBABILITIES)
    if told is not None:
        return told
    score = signature.output(Role.SCORE)
    if score is not None and signature.classes:
        return score
    plain = [s for s in specs if s.datatype in FLOATS and s.role is Role.TENSOR]
    if score is not None or len(plain) != 1:
        return None
    (only,) = plain
    return only if answers[only.name].ndim == 2 and _width(answers[only.name]) > 1 else None


def _of_classes(
    label: str | None,
    scores: TensorSpec,
    classes: tuple[str, ...],
    answers: Mapping[str, Any],
    width: int,
    told: str = "",
) -> Plan:
    found = _flat(answers[scores.name])
    columns = 2 if width == 1 else width
    names = classes
    if len(classes) != columns:
        names = tuple(str(place) for place in range(columns))
        if label is not None and not set(as_text(answers[label]).ravel().tolist()) <= set(names):
            return Plan(Kind.CLASSES, label=label, told=told)  # nobody knows whose columns they are
    within = bool(((found >= -1e-6) & (found <= 1 + 1e-6)).all())
    sums = width == 1 or bool((np.abs(found.sum(axis=1) - 1) < _SUMS).all())
    cut = 0.5 if within else 0.0
    return Plan(Kind.CLASSES, label, scores.name, names, within and sums, cut, told=told)


def _columns_of(truth: Any, width: int) -> tuple[str, ...]:
    """Names of the columns where the truth counts them; empty = it does not."""
    if truth.dtype.kind not in "biuf" or truth.ndim != 1:
        return ()
    names = tuple(str(place) for place in range(width))
    return names if set(as_text(truth).tolist()) <= set(names) else ()


def _is_number(spec: TensorSpec, answers: Mapping[str, Any]) -> bool:
    kinds = FLOATS | {Datatype.INT32, Datatype.INT64}
    return spec.datatype in kinds and _width(answers[spec.name]) == 1


def _width(array: Any) -> int:
    return int(np.prod(array.shape[1:], dtype=int))


def _flat(array: Any) -> Floats:
    return np.asarray(array, np.float64).reshape(len(array), -1)
