"""A drill as a gate: whether a broken candidate beside the champion would be rolled back. Pure."""

from typing import Final

from modelworks.core.model import Evidence, ModelVersion, Verdict
from modelworks.core.rollouts import Plan
from modelworks.rollout.drilled import digest_of
from modelworks.rollout.why_not import Gate, State

_FAULTS: Final = frozenset({"failing", "wrong", "slow", "biased"})
KIND: Final = "drill"
"""Of the evidence."""


def drill_gate(champion: ModelVersion, plan: Plan | None) -> Gate:
    """What the newest drill says; it keeps nothing out.

    Args:
        champion: who answers now; its evidence has the drills.
        plan: by which the version in question is rolled out; None = it is not yet.
    """
    cure = f"modelworks drill {plan.name if plan else champion.name}"
    found = [one for one in champion.evidence if one.kind == KIND]
    if not found:
        words = f"no drill was made with {champion.ref}"
        return Gate(KIND, State.MISSING, words, "", cure, required=False)
    newest, where = found[-1], f"modelworks show {champion.ref}"
    if newest.verdict is not Verdict.PASSED:
        return Gate(KIND, State.FAILED, newest.summary, where, cure, required=False)
    whole = [one for one in found if one.verdict is Verdict.PASSED and _asked(one) >= _FAULTS]
    if not whole:
        words = f"only {', '.join(sorted(_asked(newest)))} was drilled"
        return Gate(KIND, State.MISSING, words, where, cure, required=False)
    newest = whole[-1]
    said = newest.summary
    if plan is not None and newest.detail.get("digest") != digest_of(plan):
        words = f"{said}; the roll-out '{plan.name}' has another plan"
        return Gate(KIND, State.STALE, words, where, cure, required=False)
    return Gate(KIND, State.PASSED, said, where, required=False)


def _asked(drill: Evidence) -> set[str]:
    """The faults that a drill put in, or found the plan blind to."""
    listed = (*drill.detail.get("results", ()), *drill.detail.get("unseen", ()))
    return {str(one["fault"]) for one in listed}
