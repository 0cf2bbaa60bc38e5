"""Which faults are put in, and in what a drill is unlike a roll-out. Pure."""

from dataclasses import dataclass, replace
from typing import Final

from modelworks.control.drilling.stable import Stable
from modelworks.control.rollouts.grounds.ground import Among, among
from modelworks.core.errors import UnsupportedError
from modelworks.core.rollouts import Plan, Strategy
from modelworks.rollout import histograms
from modelworks.rollout.drill import Drill, drills
from modelworks.rollout.drill import Fault as Kind
from modelworks.rollout.drilled import Unseen

LEAST_MS: Final = 20.0
"""A slow candidate is slower by so much at the least: less is lost in a busy machine's noise."""
_COMPARED_S: Final = 90.0
_ALIKE: Final = (
    "both arms are the stable version behind the same wrapper, in a process of its own each: the "
    "fault is the only difference"
)
_LABELLED: Final = frozenset({"accuracy", "wrong_rate"})
LATE: Final = _LABELLED | {"disagreement"}
"""What is known from records: later than what servers count."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a drill is made.

    Attributes:
        faults: only these; empty = all that the plan sees.
        accepted: faults that nobody has to see.
        rate: requests a second of all callers.
        records: whether recorded inputs are sent; else they are made up.
        most_s: the longest that one fault may take.
        actor: who asks for it.
    """

    faults: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    rate: float = 50.0
    records: bool = False
    most_s: float = 600.0
    actor: str = ""


def drillable(plan: Plan) -> tuple[Plan, list[str]]:
    """The plan as it is drilled, and in what that is unlike a roll-out.

    Raises:
        UnsupportedError: it moves no traffic, or that of deployments.
    """
    if plan.strategy is Strategy.SHADOW:
        raise UnsupportedError(
            f"'{plan.name}' moves no traffic (strategy shadow): there is nothing to roll back",
            field="strategy",
        )
    notes = [_ALIKE, "what the stable version answers counts as right"]
    if among(plan) is Among.DEPLOYMENTS:
        raise UnsupportedError(
            f"'{plan.name}' is among deployments ('{plan.stable}'): a drill is of a version; "
            "name the model: modelworks drill MODEL -f FILE",
            field="stable",
        )
    compared = any(one.name == "disagreement" for one in (plan.primary, *plan.guardrails))
    if compared and not plan.steps[0].share and plan.steps[0].bake_s < _COMPARED_S:
        notes.append(
            f"copies are compared up to {_COMPARED_S:g} s after they were answered: the first step "
            f"stands for {plan.steps[0].bake_s:g} s, so give it a longer bake"
        )
    if plan.replay:
        notes.append("the replay before the first step is left out")
    if len(plan.candidates) > 1:
        notes.append(f"one candidate in place of {len(plan.candidates)}")
    return replace(plan, replay=0.0, candidates=plan.candidates[:1]), notes


def faults_of(
    plan: Plan, stable: Stable, wanted: Wanted
) -> tuple[tuple[Drill, ...], tuple[Unseen, ...]]:
    """The faults that are put in, and those that nobody would see."""
    known = {"error_rate": 0.0, "wrong_rate": 0.0, "accuracy": 1.0, "disagreement": 0.0}
    shape = {float(bound): count for bound, count in stable.shape.items()}
    for metric in (plan.primary, *plan.guardrails):
        if metric.name.startswith("latency_"):
            known[metric.name] = histograms.quantile(shape, metric.quantile)
    found, blind = drills(plan, known, stable.shape, LEAST_MS)
    put, unseen = [], [(one.fault, one.sentence) for one in blind]
    for one in found:
        why = _impossible(one, stable)
        if why:
            unseen.append((one.fault, why))
        else:
            put.append(one)
    asked = set(wanted.faults) or {kind.value for kind in Kind}
    return (
        tuple(one for one in put if one.fault.value in asked),
        tuple(
            Unseen(fault.value, words, fault.value in wanted.accepted)
            for fault, words in unseen
            if fault.value in asked
        ),
    )


def _impossible(one: Drill, stable: Stable) -> str:
    """Why a fault cannot be put in; empty = it can."""
    if one.fault not in {Kind.WRONG, Kind.BIASED}:
        return ""
    if one.metric not in LATE:
        return f"a drill cannot know what '{one.metric}' of a broken candidate would be"
    if one.metric in _LABELLED and all(truth is None for truth in stable.truths):
        return "the model says neither a label nor a number that could be wrong"
    return ""
