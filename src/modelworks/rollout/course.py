"""The course of a roll-out: what the arms get at a step, and where a verdict takes it."""

from collections.abc import Collection
from dataclasses import replace

from modelworks.core.errors import ConflictError
from modelworks.core.rollouts import MOVES, Outcome, Phase, Plan, Rollout, Verdict

_ENDS = {
    Outcome.PROMOTE: Phase.PROMOTED,
    Outcome.ROLL_BACK: Phase.ROLLED_BACK,
    Outcome.INCONCLUSIVE: Phase.INCONCLUSIVE,
}


def shares(plan: Plan, step: int, out: Collection[str] = ()) -> dict[str, float]:
    """What each arm gets.

    Args:
        plan: of the roll-out.
        step: number, from 0.
        out: candidates that are no longer tried; the stable arm gets theirs, so that nobody else's
            callers are moved.
    """
    each = plan.steps[step].share / len(plan.candidates)
    found = {name: 0.0 if name in out else each for name in plan.candidates}
    return {plan.stable: 1.0 - sum(found.values()), **found}


def alone(plan: Plan, arm: str) -> dict[str, float]:
    """All of it for one arm."""
    return {name: float(name == arm) for name in (plan.stable, *plan.candidates)}


def move(rollout: Rollout, phase: Phase, now_ns: int, reason: str) -> Rollout:
    """To another phase.

    Raises:
        ConflictError: it does not follow.
    """
    if phase not in MOVES[rollout.phase]:
        words = f"the roll-out is {rollout.phase}: it cannot become {phase}"
        raise ConflictError(words, field="phase")
    began = rollout.began_ns
    if phase is Phase.RUNNING and not began:
        rollout = replace(rollout, began_ns=now_ns, step_ns=now_ns)
    return replace(rollout, phase=phase, changed_ns=now_ns, reason=reason)


def after(rollout: Rollout, verdict: Verdict, now_ns: int) -> Rollout:
    """Where a verdict takes a roll-out; the caller writes `verdict.shares` first, if there are any.

    Evidence begins anew (`step_ns`) at a step, and where one of several candidates goes.

    Raises:
        ConflictError: the roll-out is not running.
    """
    seen = replace(rollout, verdict=verdict)
    if verdict.ends:
        return move(seen, _ENDS[verdict.outcome], now_ns, verdict.sentence)
    if rollout.phase is not Phase.RUNNING:
        return seen
    if verdict.outcome is Outcome.PROMOTE:
        seen = replace(seen, step=rollout.step + 1)
    if verdict.outcome in {Outcome.PROMOTE, Outcome.ROLL_BACK}:
        seen = replace(seen, step_ns=now_ns, changed_ns=now_ns)
    return replace(seen, reason=verdict.sentence)
