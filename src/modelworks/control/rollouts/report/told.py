"""All that is known of a roll-out, for a report. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from modelworks.control.rollouts.gathering.copies import report_of as copies_of
from modelworks.control.rollouts.kept import Event, Kept
from modelworks.control.rollouts.report import words
from modelworks.control.rollouts.report.figures import measured
from modelworks.control.rollouts.report.looks import Look
from modelworks.core.rollouts import Outcome, Phase, Plan, Rollout
from modelworks.rollout.spending import levels, stages

MOST_EVENTS: Final = 200
"""The newest ones; `rollout history` has all."""


@dataclass(frozen=True, slots=True)
class Risk:
    """What was declared, and what of it has been spent.

    Attributes:
        false_rollback: chance that was declared.
        tests: comparisons in a step, of all candidates.
        stages: how often evidence begins anew.
        each: chance of one comparison in one step.
        spent: by the steps that were judged so far.
        false_promotion: chance that was declared.
        proof: chance of one candidate's comparison; who is promoted has passed all of them.
    """

    false_rollback: float
    tests: int
    stages: int
    each: float
    spent: float
    false_promotion: float
    proof: float


@dataclass(frozen=True, slots=True)
class Told:
    """A roll-out's report.

    Attributes:
        at_ns: when it was made, UTC.
        sentence: where it stands, and why.
        plan: in words.
        kept: the roll-out as it stands, with the findings of its last look; its copies are below.
        events: what happened, oldest first; the newest `MOST_EVENTS`.
        looks: that were kept, oldest first.
        risk: declared and spent.
        missing: what was not measured, a sentence each.
        copies: candidate -> how its answers to copies compare; see `gathering.copies.report_of`.
    """

    at_ns: int
    sentence: str
    plan: tuple[str, ...]
    kept: Kept
    events: tuple[Event, ...]
    looks: tuple[Look, ...]
    risk: Risk
    missing: tuple[str, ...]
    copies: dict[str, Any]


class Asked(Protocol):
    """Who knows a roll-out."""

    def get(self, name: str) -> Kept:
        """As it stands."""
        ...

    def history(self, name: str) -> list[Event]:
        """What happened to it."""
        ...

    def looks(self, name: str) -> list[Look]:
        """Those that were kept."""
        ...


def report_of(verbs: Asked, name: str, now_ns: int) -> Told:
    """The report of one roll-out.

    Args:
        verbs: of roll-outs.
        name: of it.
        now_ns: UTC.

    Raises:
        NotFoundError: there is none of that name.
    """
    return told(verbs.get(name), verbs.history(name), verbs.looks(name), now_ns)


def told(kept: Kept, events: Sequence[Event], looks: Sequence[Look], now_ns: int) -> Told:
    """A report.

    Args:
        kept: the roll-out as it stands.
        events: of it, oldest first.
        looks: that were kept, oldest first.
        now_ns: UTC.
    """
    rollout = kept.rollout
    copies = copies_of(kept)
    return Told(
        now_ns,
        f"{rollout.phase}: {rollout.reason}" if rollout.reason else str(rollout.phase),
        words.said(rollout.plan),
        replace(kept, copies={}),  # they stand below, without what they are made of
        tuple(events[-MOST_EVENTS:]),
        tuple(looks),
        _risk(rollout, looks),
        tuple(_missing(rollout, looks, copies=bool(copies))),
        copies,
    )


def _risk(rollout: Rollout, looks: Sequence[Look]) -> Risk:
    plan = rollout.plan
    shared = levels(plan)
    tests = (1 + len(plan.guardrails) + len(plan.slices)) * len(plan.candidates)
    begun = {look.since_ns for look in looks}
    spent = shared.harm * tests * len(begun)
    return Risk(
        *(plan.false_rollback, tests, stages(plan), shared.harm, spent),
        *(plan.false_promotion, shared.fine),
    )


def _missing(rollout: Rollout, looks: Sequence[Look], *, copies: bool) -> list[str]:
    """What nobody knows, so that nobody takes silence for a proof."""
    plan = rollout.plan
    if not looks:
        return ["nothing was judged: no look was taken"]
    verdict = rollout.verdict
    kept = {(p.metric, p.slice, p.arm) for look in looks for p in look.points}
    ever = {(p.metric, p.slice, p.arm) for look in looks for p in look.points if _knows(p)}
    found = []
    for one in verdict.findings if verdict else ():
        if measured(one):
            continue
        where = "" if one.slice == "*" else f" for {one.slice}"
        whose = f" of {one.arm}" if len(plan.candidates) > 1 else ""
        key = (one.metric, one.slice, one.arm)
        when = "in this step" if key in ever else "at any look"
        when = when if key in kept else "at the last look"
        found.append(f"{one.metric}{where}{whose} was not measured {when}")
    found += [f"{plan.route}: no request reached {arm}" for arm in _unasked(plan, looks)]
    if plan.labels and any(m.labelled for m in (plan.primary, *plan.guardrails)):
        found.append("truth that had not come by the last look: it is no part of what was compared")
    if not copies:
        found.append("answers were not compared pair by pair: nothing was copied to the candidate")
    if rollout.phase is Phase.PROMOTED and not _proved(rollout):
        found.append("that it is no worse: a person promoted it, or time was up")
    return found


def _knows(point: Any) -> bool:
    return point.low is not None or point.high is not None


def _unasked(plan: Plan, looks: Sequence[Look]) -> list[str]:
    asked = {arm for look in looks for arm, count in look.requests.items() if count}
    return [arm for arm in plan.candidates if arm not in asked]


def _proved(rollout: Rollout) -> bool:
    verdict = rollout.verdict
    if verdict is None or verdict.outcome is not Outcome.PROMOTE or not verdict.ends:
        return False
    return not verdict.sentence.startswith("time is up")
