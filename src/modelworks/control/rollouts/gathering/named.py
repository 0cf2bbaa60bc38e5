"""Which metrics of a plan are measured: what nobody would measure is refused before it begins.

A metric without evidence promotes nothing, so that a roll-out that names one would wait in vain.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from modelworks.control.rollouts.grounds import measured
from modelworks.control.rollouts.grounds.ground import Among, among, arms_of
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.rollouts import Direction, Kind, Metric, Plan
from modelworks.core.rollouts_check import Problem
from modelworks.core.tensor import Signature

QUALITY: Final = "quality"
_LATENCY: Final = re.compile(r"latency_p\d{1,2}(?:_\d+)?_ms")
_KINDS: Final = {
    "error_rate": Kind.RATE,
    "accuracy": Kind.RATE,
    "wrong_rate": Kind.RATE,
    "disagreement": Kind.RATE,
    "drift": Kind.GIVEN,
    "mae": Kind.MEAN,
    "mse": Kind.MEAN,
}
_NOBODY: Final = {
    "timeout_rate": "it is not counted apart: error_rate counts what was not answered in time too",
    "cost": "what an answer costs hangs on how many share a batch, and an arm with a small share "
    "has small batches: guard latency_p50_ms, and compare what both cost with `modelworks bench`",
}


def problems(plan: Plan) -> tuple[Problem, ...]:
    """All that nobody would measure, each with the cure."""
    if among(plan) is Among.DEPLOYMENTS:
        return tuple(measured.problems(plan))
    found: list[Problem] = []
    for field, metric in _named(plan):
        words = _unmeasured(plan, metric)
        if words:
            found.append((field, f"{metric.name}: {words}"))
    if plan.slices and _counted(plan.primary):
        words = f"{plan.primary.name} is counted by servers, which know no slices"
        cure = "make accuracy, wrong_rate, disagreement or drift the primary"
        found.append(("slices", f"{words}: {cure}"))
    return tuple(found)


def fitting(plan: Plan, signature: Callable[[str], Signature]) -> Plan:
    """The plan with `quality` as what it is for this model.

    Args:
        plan: of versions of a model; another one comes back as it is.
        signature: of a version.

    Raises:
        InvalidError: what nobody would measure; `field` names it.
    """
    for field, words in problems(plan):
        raise InvalidError(f"{field}: {words}", field=field)
    if among(plan) is not Among.VERSIONS:
        return plan
    numbers = {_numbers(signature, f"{plan.route}:{arm}") for arm in arms_of(plan)} - {None}
    number = numbers == {True}
    for field, metric in _named(plan):
        other = _other(metric.name, numbers)
        if other:
            words = f"{metric.name}: {plan.route} {other}"
            raise InvalidError(f"{field}: {words}", field=field)
    return replace(
        plan,
        primary=_fitting(plan.primary, number=number),
        guardrails=tuple(_fitting(one, number=number) for one in plan.guardrails),
    )


def _named(plan: Plan) -> Iterator[tuple[str, Metric]]:
    yield "primary", plan.primary
    for place, metric in enumerate(plan.guardrails):
        yield f"guardrails[{place}]", metric


def _counted(metric: Metric) -> bool:
    return metric.name == "error_rate" or _LATENCY.fullmatch(metric.name) is not None


def _unmeasured(plan: Plan, metric: Metric) -> str:
    name, kind = metric.name, metric.kind
    if name in _NOBODY:
        return _NOBODY[name]
    wanted = Kind.QUANTILE if _LATENCY.fullmatch(name) else _KINDS.get(name)
    if wanted is not None and kind is not wanted:
        return f"it is measured as a {wanted}, not as a {kind}"
    if name in {"disagreement", "drift"} and not metric.absolute:
        return "it says already how far the candidate is from the stable one: absolute"
    if name == "disagreement" and all(step.share for step in plan.steps):
        return "answers are compared on copies or on replay: begin with a step of 0%, or name drift"
    known = wanted is not None or name == QUALITY
    if not known and (metric.absolute or kind not in {Kind.RATE, Kind.MEAN}):
        return f"nobody measures a {kind} of that name: what feedback tells is a rate or a mean"
    return ""


def _numbers(signature: Callable[[str], Signature], ref: str) -> bool | None:
    """Whether a version says numbers, and not classes; None = neither can be told."""
    from modelworks.evaluation.predictions import Task  # noqa: PLC0415 - numpy
    from modelworks.monitor.quality.plan import plan_of  # noqa: PLC0415 - the same

    try:
        judged = plan_of(signature(ref))
    except (InvalidError, NotFoundError):
        return None
    return None if judged is None else judged.task is Task.REGRESSION


def _other(name: str, numbers: set[bool | None]) -> str:
    """Why the models' answers do not suit a metric; empty = they do, or it is no matter of them."""
    of_classes, of_numbers = name in {"accuracy", "wrong_rate"}, name in {"mae", "mse"}
    if not (of_classes or of_numbers or name == QUALITY):
        return ""
    if not numbers:
        return "says neither classes nor a number by its signature: name what feedback tells"
    if len(numbers) > 1:
        return "says classes in one version and numbers in another"
    if of_classes and numbers == {True}:
        return "says numbers, not classes: name mae or mse"
    if of_numbers and numbers == {False}:
        return "says classes, not numbers: name accuracy or wrong_rate"
    return ""


def _fitting(metric: Metric, *, number: bool) -> Metric:
    """Quality as accuracy, or of numbers as the mean absolute error."""
    if metric.name != QUALITY:
        return metric
    if number:
        return Metric(
            "mae", Kind.MEAN, Direction.LOWER, metric.margin, metric.relative, low=0.0, high=0.0,
            labelled=True,
        )  # fmt: skip
    kind, higher = Kind.RATE, Direction.HIGHER
    return Metric("accuracy", kind, higher, metric.margin, metric.relative, labelled=True)
