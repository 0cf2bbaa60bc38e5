"""The replay that the plan of a roll-out asks for: what is played, and what the plan says of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from modelworks.control.replaying.asked import Asked
from modelworks.control.replaying.report import KIND, Report, arms
from modelworks.control.replaying.service import Ready
from modelworks.control.rollouts.grounds.ground import Among, among
from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.model import Evidence, ModelVersion, Verdict
from modelworks.core.rollouts import ArmEvidence, Finding, Outcome, Plan
from modelworks.rollout.findings import findings

LIMIT: Final = 20_000
LONGEST_S: Final = 300.0
"""Of the sending: longer spans are played faster than they were recorded."""
_HOUR_NS: Final = 3_600_000_000_000

RefOf = Callable[[Plan, str], tuple[str, str]]
"""Model and version of an arm."""


@dataclass(frozen=True, slots=True)
class Found:
    """What both arms have earned by a replay.

    Attributes:
        stable: by the recorded answers.
        candidate: by those to the replay.
        sentence: of it.
    """

    stable: ArmEvidence
    candidate: ArmEvidence
    sentence: str

    def harm(self, plan: Plan) -> Finding | None:
        """The worst finding of the plan's own metrics, where harm is proved."""
        worst = findings(plan, self.stable, self.candidate)[0]
        return worst if worst.outcome is Outcome.ROLL_BACK else None


def asked_of(plan: Plan, candidate: str, ref_of: RefOf, now_ns: int) -> Asked:
    """What is played for one candidate of a plan.

    Raises:
        InvalidError: the two arms are of two models: their records have nothing in common.
    """
    (model, version), (other, stable) = ref_of(plan, candidate), ref_of(plan, plan.stable)
    if model != other:
        raise InvalidError(
            f"replay: '{candidate}' is of the model '{model}', and '{plan.stable}' of '{other}': "
            "only what the same model got can be played; take `replay` out of the plan",
            field="replay",
        )
    since = now_ns - round(plan.replay * _HOUR_NS)
    return Asked(model, version, stable, since, now_ns, limit=LIMIT, slices=plan.slices)


def paced(ready: Ready, longest_s: float = LONGEST_S) -> Ready:
    """The same, as much faster than recorded as it takes to be over in time."""
    speed = max(1.0, ready.seconds / longest_s)
    return replace(ready, asked=replace(ready.asked, speed=speed))


def evidence_of(plan: Plan, candidate: str, report: Report) -> Evidence:
    """To be kept with the version: judged by the metrics of the plan."""
    both = arms(report.compared, plan.slices, (plan.stable, candidate))
    harm = Found(*both, "").harm(plan)
    plain = report.evidence(plan.name)
    words = f"{plain.summary}; {harm.sentence}" if harm else plain.summary
    detail = {**plain.detail, "candidate": candidate, "arms": codec.encode(both)}
    return Evidence(KIND, Verdict.FAILED if harm else Verdict.PASSED, words, detail)


def found_for(version: ModelVersion, plan: Plan, candidate: str) -> Found | None:
    """What the replay of a roll-out has left with the candidate; None = it was not made yet."""
    for one in reversed(version.evidence):
        told: dict[str, Any] = one.detail
        if one.kind == KIND and (told.get("rollout"), told.get("candidate")) == (
            plan.name,
            candidate,
        ):
            stable, other = codec.decode(tuple[ArmEvidence, ArmEvidence], told["arms"], "arms")
            return Found(stable, other, one.summary)
    return None


def refs(running: Callable[[str], tuple[str, str]]) -> RefOf:
    """Of arms of either kind.

    Args:
        running: model and version that a deployment runs.
    """

    def ref_of(plan: Plan, arm: str) -> tuple[str, str]:
        return (plan.route, arm) if among(plan) is Among.VERSIONS else running(arm)

    return ref_of
