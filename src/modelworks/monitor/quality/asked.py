"""What people want watched of a model's quality, beyond what its signature says."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np

from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Role, Signature
from modelworks.evaluation import predictions as made
from modelworks.evaluation.columns import name_of
from modelworks.evaluation.metrics import base_of, measure
from modelworks.evaluation.predictions import Predictions, Task
from modelworks.evaluation.slices import CROSS, FEWEST
from modelworks.monitor.quality.plan import Plan, plan_of

REQUEST: Final = "id"
"""The column that items of one request share: of a ranking each request is a query."""
_INPUT, _OUTPUT, _HEADER = "in.", "out.", "header."
_OWN: Final = (
    *("id", "item", "version", "revision", "variant", "caller", "arm", "status", "key", "subject"),
)
"""Columns of every record that people slice by, or that a query may be."""
_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for; what is left empty follows from the signature.

    Attributes:
        task: of the model; None = as its outputs tell.
        label: output with the predicted class, classes or number (`label`, `out.label`).
        score: output with probabilities, one a class or label; of a ranking what items are sorted
            by.
        query: of a ranking: the column that items of one query share; empty = the request.
        classes: names, in the order of the scores; empty = as the signature has them.
        slices: columns (`region`, `in.region`, `caller`, `header.x-app`), or two joined by `*`.
        metrics: that become series; empty = the usual ones of the task.
        fewest: rows of a window, or of a slice of it, that are measured.
    """

    task: Task | None = None
    label: str = ""
    score: str = ""
    query: str = ""
    classes: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    fewest: int = FEWEST


def planned(signature: Signature, asked: Asked) -> Plan | None:
    """How a version is watched; None = nothing is asked, and its outputs say nothing.

    Args:
        signature: of the version.
        asked: by people.

    Raises:
        InvalidError: what is asked for is not there; `field` says what.
    """
    slices = tuple(_sliced(signature, one) for one in asked.slices)
    usual = plan_of(signature, slices)
    task = asked.task or (usual.task if usual is not None else None)
    label, score = (
        _output(signature, asked.label, "label"),
        _output(signature, asked.score, "score"),
    )
    if task is None:
        if asked == Asked(slices=asked.slices):
            return None
        raise InvalidError(
            f"what this model does cannot be told from its outputs: give one of {', '.join(Task)}",
            field="task",
        )
    same = usual is not None and usual.task is task
    plan = usual if usual is not None and same else Plan(task, slices=slices)
    plan = replace(
        plan,
        label=label or plan.label,
        score=score or plan.score,
        classes=asked.classes or plan.classes or tuple(map(name_of, signature.classes)),
        metrics=asked.metrics,
        fewest=asked.fewest,
    )
    if task is Task.RANKING:
        return _checked(_ranked(plan, signature, asked))
    return _checked(_whole(plan, signature))


def checked(asked: Asked) -> Asked:
    """What can be said without a signature is as it should be.

    Raises:
        InvalidError: unknown metric, a query of what is no ranking, too many slices, few rows.
    """
    if asked.query and asked.task is not Task.RANKING:
        raise InvalidError("query: only a ranking has one: task is to be ranking", field="query")
    if len(asked.slices) > _MOST:
        raise InvalidError(f"slices: at most {_MOST} are watched", field="slices")
    if not 2 <= asked.fewest <= 1_000_000:
        raise InvalidError(f"fewest: {asked.fewest} is not from 2 to 1000000", field="fewest")
    return asked


def document(asked: Asked) -> dict[str, Any]:
    """As JSON."""
    found: dict[str, Any] = codec.encode(asked)
    return found


def restored(data: Mapping[str, Any]) -> Asked:
    """From JSON; fields that a newer Modelworks wrote are left out.

    Raises:
        InvalidError: no such document.
    """
    known = {one.name for one in fields(Asked)}
    return codec.decode(Asked, {name: value for name, value in data.items() if name in known})


def metrics_of(task: Task) -> frozenset[str]:
    """Names of the metrics that a task has, without `@k` and `[class]`."""
    return frozenset(base_of(name) for name in measure(_EXAMPLES[task]))


def _ranked(plan: Plan, signature: Signature, asked: Asked) -> Plan:
    """A ranking sorts items by a number."""
    number = signature.output(Role.SCORE)
    if number is None and len(signature.outputs) == 1:
        number = signature.outputs[0]
    score = plan.score or plan.label or (f"{_OUTPUT}{number.name}" if number is not None else "")
    if not score:
        raise InvalidError(
            f"score: which output sorts the items? {_listed(signature)}", field="score"
        )
    query = _column(signature, asked.query, "query") if asked.query else REQUEST
    return replace(plan, label="", score=score, query=query, classes=())


def _whole(plan: Plan, signature: Signature) -> Plan:
    """A task other than a ranking wants a label or scores."""
    if plan.task is Task.REGRESSION:
        number = signature.output(Role.SCORE) or signature.output(Role.LABEL)
        only = f"{_OUTPUT}{number.name}" if number is not None else ""
        label = plan.label or plan.score or only
        plan = replace(plan, label=label, score="", classes=())
    elif not (plan.label or plan.score):
        label_of, score_of = signature.output(Role.LABEL), signature.output(Role.PROBABILITIES)
        plan = replace(
            plan,
            label=f"{_OUTPUT}{label_of.name}" if label_of is not None else "",
            score=f"{_OUTPUT}{score_of.name}" if score_of is not None else "",
        )
    if not (plan.label or plan.score):
        raise InvalidError(f"label, score: which output is it? {_listed(signature)}", field="label")
    if plan.task is Task.BINARY and len(plan.classes) not in {0, 2}:
        raise InvalidError(
            f"classes: a binary model has two, here are {len(plan.classes)}", field="classes"
        )
    return plan


def _checked(plan: Plan) -> Plan:
    known = metrics_of(plan.task)
    for name in plan.metrics:
        if name.partition("[")[0] not in known:
            raise InvalidError(
                f"metrics: '{name[:60]}' is none of {plan.task}: {', '.join(sorted(known))}",
                field="metrics",
            )
    return plan


def _output(signature: Signature, text: str, field: str) -> str:
    """The column of an output, which must be there."""
    name = text.removeprefix(_OUTPUT)
    if text and name not in {spec.name for spec in signature.outputs}:
        raise InvalidError(f"{field}: no output '{name[:60]}': {_listed(signature)}", field=field)
    return f"{_OUTPUT}{name}" if text else ""


def _sliced(signature: Signature, text: str) -> str:
    """A column, or two joined."""
    names = [one.strip() for one in text.split(CROSS)]
    if len(names) > 2 or len(set(names)) != len(names):
        raise InvalidError(f"slices: '{text[:60]}': one column, or two different", field="slices")
    return CROSS.join(_column(signature, one, "slices") for one in names)


def _column(signature: Signature, text: str, field: str) -> str:
    """A column of records: a feature by its bare name too."""
    inputs = signature.features or tuple(spec.name for spec in signature.inputs)
    outputs = tuple(spec.name for spec in signature.outputs)
    if text.startswith(_HEADER) and len(text) > len(_HEADER):
        return text.lower()
    if text.removeprefix(_INPUT) in inputs:
        return f"{_INPUT}{text.removeprefix(_INPUT)}"
    if text.startswith(_OUTPUT) and text.removeprefix(_OUTPUT) in outputs:
        return text
    if text in _OWN:
        return text
    some = ", ".join(inputs[:10]) + (f" and {len(inputs) - 10} more" if len(inputs) > 10 else "")
    raise InvalidError(
        f"{field}: records have no column '{text[:60]}': inputs ({some}), out.NAME, header.NAME, "
        f"{', '.join(_OWN)}",
        field=field,
    )


def _listed(signature: Signature) -> str:
    return "there are " + (", ".join(spec.name for spec in signature.outputs) or "no outputs")


_TRUTH: Final = np.array([0, 1, 0, 1, 1, 0])
_PAIRS: Final = np.stack([1 - _TRUTH, _TRUTH], axis=1)
_EXAMPLES: Final = {
    Task.BINARY: Predictions(Task.BINARY, _TRUTH, _TRUTH, _TRUTH * 0.8, np.ones(6), ("0", "1")),
    Task.MULTICLASS: Predictions(
        Task.MULTICLASS, _TRUTH, _TRUTH, _PAIRS * 1.0, np.ones(6), ("0", "1")
    ),
    Task.MULTILABEL: Predictions(
        Task.MULTILABEL, _PAIRS, _PAIRS, _PAIRS * 0.8, np.ones(6), ("0", "1")
    ),
    Task.REGRESSION: Predictions(Task.REGRESSION, _TRUTH * 1.0, _TRUTH * 1.0, None, np.ones(6)),
    Task.RANKING: made.ranking(_TRUTH, _TRUTH * 1.0, np.array(["a"] * 6)),
}
"""Of each task some predictions, for the names of what can be measured."""
