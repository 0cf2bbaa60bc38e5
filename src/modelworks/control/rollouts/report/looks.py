"""Looks that are kept for a picture: often where intervals move fast, seldom later. Pure."""

from dataclasses import dataclass, field
from typing import Final

from modelworks.core.rollouts import Evidence, Outcome, Plan, Rollout, Verdict

MOST: Final = 500
"""Of one roll-out; then every second of the older ones goes."""
_PART: Final = 16
"""A look is kept when a step is older by this part than at the last one: intervals shrink as the
logarithm of time goes on, so that such looks lie evenly in a picture."""
COMPARED: Final = 24
"""Comparisons of a look that are kept: of everything first, then slices as the plan names them."""
_NEW: Final = 50
"""The newest ones are never thinned."""


@dataclass(frozen=True, slots=True)
class Point:
    """What a look found of one metric, in one slice, of one arm; as `core.rollouts.Finding`."""

    metric: str
    slice: str
    arm: str
    stable: float
    candidate: float
    difference: float
    low: float | None
    high: float | None
    margin: float


@dataclass(frozen=True, slots=True)
class Look:
    """A look that was kept.

    Attributes:
        at_ns: UTC.
        step: in which it was earned, from 0.
        since_ns: when this evidence began, UTC: at the step's beginning, or after a pause.
        outcome: of it.
        shares: of the arms while it was earned.
        requests: of each arm since the step began.
        points: of the comparisons, `COMPARED` at most.
    """

    at_ns: int
    step: int
    since_ns: int
    outcome: Outcome
    shares: dict[str, float] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    points: tuple[Point, ...] = ()


def seen(rollout: Rollout, verdict: Verdict, evidence: Evidence, now_ns: int) -> Look:
    """What is kept of a look.

    Args:
        rollout: as it stood before it.
        verdict: of it.
        evidence: that it judged.
        now_ns: UTC.
    """
    points = points_of(rollout.plan, verdict)
    requests = {arm.arm: arm.requests for arm in evidence.arms}
    return Look(
        *(now_ns, rollout.step, rollout.step_ns, verdict.outcome),
        *(dict(evidence.shares), requests, points),
    )


def points_of(plan: Plan, verdict: Verdict) -> tuple[Point, ...]:
    """What is kept of its findings, without their words."""
    place = {name: number for number, name in enumerate(("*", *plan.slices))}
    ordered = sorted(verdict.findings, key=lambda one: place.get(one.slice, len(place)))
    return tuple(
        Point(
            *(one.metric, one.slice, one.arm, one.stable, one.candidate),
            *(one.difference, one.low, one.high, one.margin),
        )
        for one in ordered[:COMPARED]
    )


def due(step_ns: int, last_ns: int, now_ns: int) -> bool:
    """Whether a look is to be kept.

    Args:
        step_ns: when the step began, UTC.
        last_ns: when the last one was kept; 0 = none was.
        now_ns: UTC.
    """
    if last_ns < step_ns:
        return True
    return (now_ns - last_ns) * _PART >= last_ns - step_ns


def too_many(numbers: list[int]) -> list[int]:
    """Which looks go, when there are more than `MOST`: every second one but the newest."""
    return numbers[1:-_NEW:2] if len(numbers) > MOST else []
