"""Whether a plan of a roll-out can be carried out: all that is wrong, each with the cure."""

import math
from collections import Counter
from collections.abc import Iterator

from modelworks.core.errors import InvalidError
from modelworks.core.rollouts import Direction, Kind, Metric, Plan, Strategy

_SEVERAL = (Strategy.EXPERIMENT, Strategy.BANDIT)
Problem = tuple[str, str]
"""(field of the plan, `guardrails[1].margin`; what is wrong)."""


def problems(plan: Plan) -> tuple[Problem, ...]:
    """All of them; none = it can be carried out."""
    return (*_arms(plan), *_steps(plan), *_metrics(plan), *_limits(plan))


def check(plan: Plan) -> None:
    """Refuse a plan that cannot be carried out.

    Raises:
        InvalidError: the first thing that is wrong.
    """
    for field, words in problems(plan):
        raise InvalidError(f"{field}: {words}", field=field)


def _arms(plan: Plan) -> Iterator[Problem]:
    if not plan.candidates:
        yield "candidates", "none: name who is tried"
    if plan.stable in plan.candidates:
        yield "candidates", f"'{plan.stable}' is the stable arm"
    for name, count in Counter(plan.candidates).items():
        if count > 1:
            yield "candidates", f"'{name}' stands here twice"
    if len(plan.candidates) > 1 and plan.strategy not in _SEVERAL:
        words = f"{plan.strategy} tries one candidate; several are for experiment and bandit"
        yield "candidates", words


def _steps(plan: Plan) -> Iterator[Problem]:
    shares = [step.share for step in plan.steps]
    if not shares:
        yield "steps", "none: name at least one share"
        return
    for place, step in enumerate(plan.steps):
        if not 0 <= step.share <= 1:
            yield f"steps[{place}].share", f"{step.share:g} is not between 0 and 1"
        if step.bake_s < 0 or not math.isfinite(step.bake_s):
            yield f"steps[{place}].bake_s", f"{step.bake_s:g} is no duration"
        if step.sample < 0:
            yield f"steps[{place}].sample", f"{step.sample} is less than none"
        if place and step.share < shares[place - 1]:
            yield f"steps[{place}].share", "less than the step before: shares only grow"
    yield from _strategy(plan, shares)


def _strategy(plan: Plan, shares: list[float]) -> Iterator[Problem]:
    if plan.strategy in _SEVERAL and (len(shares) != 1 or not 0 < shares[0] < 1):
        yield "steps", f"{plan.strategy} has one step, with a share between 0 and 1"
    if plan.strategy is Strategy.SHADOW and any(shares):
        yield "steps", "shadow moves no traffic: all shares are 0"
    if plan.strategy is Strategy.BLUE_GREEN and shares != [0.0, 1.0]:
        yield "steps", "blue-green has two steps, 0 (judged on copies or replay) and 1"
    if plan.strategy is Strategy.CANARY:
        if shares[-1] < 1:
            yield "steps", "the last share of a canary is 1"
        if shares[0] >= 1:
            yield (
                "steps",
                "the first share of a canary is less than 1: nobody would stand beside it",
            )
        if shares.count(1.0) > 1:
            yield "steps", "a share of 1 comes once, at the end"


def _metrics(plan: Plan) -> Iterator[Problem]:
    better = plan.superiority or plan.strategy in _SEVERAL
    named = [
        ("primary", plan.primary),
        *((f"guardrails[{place}]", metric) for place, metric in enumerate(plan.guardrails)),
    ]
    seen: set[str] = set()
    for field, metric in named:
        if metric.name in seen:
            yield field, f"'{metric.name}' is judged already"
        seen.add(metric.name)
        yield from _metric(field, metric)
        wanted = field != "primary" or not better or plan.slices
        if metric.margin == 0 and wanted:
            words = "0: that nothing at all is worse can never be proved; say how much is no harm"
            yield f"{field}.margin", words
        if metric.labelled and not plan.labels:
            words = f"{metric.name} needs the truth, and by the plan none will come: set labels"
            yield f"{field}.labelled", words
    if better and plan.primary.absolute:
        yield "primary.absolute", "there is nothing to be better than: no superiority"
    if plan.strategy is Strategy.BANDIT and plan.primary.kind not in {Kind.RATE, Kind.MEAN}:
        yield "primary.kind", "a bandit earns a rate or a mean"


def _metric(field: str, metric: Metric) -> Iterator[Problem]:
    if metric.margin < 0 or not math.isfinite(metric.margin):
        yield f"{field}.margin", f"{metric.margin:g}: how much worse is no harm, 0 or more"
    if metric.relative and metric.direction is Direction.HIGHER and metric.margin >= 1:
        yield f"{field}.margin", "all of it may be lost: a share is less than 1"
    if metric.kind is Kind.RATE and not metric.relative and metric.margin >= 1:
        yield f"{field}.margin", f"{metric.margin:g} of a rate: half a point is 0.005"
    if metric.kind is Kind.QUANTILE and not 0 < metric.quantile < 1:
        yield f"{field}.quantile", f"{metric.quantile:g} is not between 0 and 1"
    if metric.absolute and (metric.kind not in {Kind.RATE, Kind.GIVEN} or metric.relative):
        yield f"{field}.absolute", "only of a rate or a given figure, with a margin in its unit"
    if metric.absolute and metric.direction is Direction.HIGHER:
        yield f"{field}.absolute", "tell it so that lower is better: disagreement, not agreement"


def _limits(plan: Plan) -> Iterator[Problem]:
    for name in ("false_rollback", "false_promotion"):
        if not 0 < getattr(plan, name) <= 0.5:
            yield name, f"{getattr(plan, name):g} is not between 0 and 0.5"
    if plan.sample < 1:
        yield "sample", "nothing is promoted without a request"
    if not (plan.most_s > 0 and math.isfinite(plan.most_s)):
        yield "most_s", f"{plan.most_s:g} is no duration"
    elif sum(step.bake_s for step in plan.steps) > plan.most_s:
        yield "most_s", "the steps alone last longer"
    if not 0 <= plan.labels <= 1:
        yield "labels", f"{plan.labels:g} is no share"
    if plan.replay < 0:
        yield "replay", f"{plan.replay:g} hours"
    for name, count in Counter(plan.slices).items():
        if count > 1:
            yield "slices", f"'{name}' stands here twice"
