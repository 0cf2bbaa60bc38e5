"""What is kept of a roll-out. Pure values."""

from dataclasses import dataclass, field
from typing import Any

from modelworks.core.rollouts import Finding, Phase, Rollout
from modelworks.core.routes import Source

DONE = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK, Phase.ABORTED})
"""Phases that nothing follows."""
HOLDING = frozenset({Phase.WAITING, Phase.RUNNING, Phase.PAUSED, Phase.INCONCLUSIVE})
"""Phases in which a roll-out has its route to itself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How the route of a roll-out parts its callers.

    Attributes:
        source: where the key lies that keeps a caller with one arm; None = each request falls by
            itself.
        key: name of the header, cookie or field.
        override: header that names an arm; empty = there is none.
    """

    source: Source | None = None
    key: str = ""
    override: str = "x-modelworks-arm"


@dataclass(frozen=True, slots=True)
class Kept:
    """A roll-out with its route.

    Attributes:
        rollout: as it stands.
        asked: of its route.
        shares: of the arms now.
        generation: of the snapshot of routes that has them; 0 = none has yet.
        ended_ns: UTC, when its last phase began; 0 = it goes on.
        settled: what follows its end was done: aliases moved, its route given back.
        seen: when it was looked at last, UTC nanoseconds; 0 = never.
        copies: candidate -> what its answers to copies say; see `gathering.copies`.
    """

    rollout: Rollout
    asked: Asked = field(default_factory=Asked)
    shares: dict[str, float] = field(default_factory=dict)
    generation: int = 0
    ended_ns: int = 0
    settled: bool = False
    seen: int = 0
    copies: dict[str, Any] = field(default_factory=dict)


def copied(kept: Kept) -> tuple[str, ...]:
    """Candidates that get copies: those of a step that gives them no traffic of their own."""
    rollout = kept.rollout
    none = not rollout.plan.steps[rollout.step].share
    return rollout.plan.candidates if rollout.phase is Phase.RUNNING and none else ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a roll-out.

    Attributes:
        rollout: its name.
        number: from 1.
        at_ns: UTC.
        phase: after it.
        step: after it.
        sentence: what and why.
        actor: who; `watch` = the rules.
        shares: of the arms after it.
        findings: that it rests on.
    """

    rollout: str
    number: int
    at_ns: int
    phase: Phase
    step: int
    sentence: str
    actor: str
    shares: dict[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
