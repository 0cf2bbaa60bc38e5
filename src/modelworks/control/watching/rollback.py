"""What alerts may call of roll-outs: `actions: [{name: undo, use_case: rollback}]`."""

from typing import TYPE_CHECKING, Final

from modelworks.control.watching.parts import Parts
from modelworks.core.errors import ConflictError
from modelworks.core.rollouts import Phase

if TYPE_CHECKING:
    from modelworks.monitor.alerts.acting import Asked, UseCase

ROLLBACK: Final = "rollback"


def rollback(parts: Parts) -> "UseCase":
    """Sends the roll-outs of the alert's model or deployment back to the stable arm."""

    def call(asked: "Asked") -> str:
        told = {**asked.alert.labels, **asked.arguments}
        model, deployment = told.get("model", ""), told.get("deployment", "")
        if not model and not deployment:
            return (
                "nothing was rolled back: neither the alert nor the action names a model or a "
                "deployment"
            )
        verbs = parts.rollouts()
        done = []
        for kept in verbs.unfinished():
            plan = kept.rollout.plan
            name = plan.name
            meant = plan.route == model or deployment in plan.candidates
            if not meant or kept.ended_ns:
                continue
            reason = f"the alert '{asked.alert.rule}' fired: {asked.alert.summary}"[:500]
            try:
                verbs.abort(name, reason, Phase.ROLLED_BACK)
            except ConflictError:
                continue  # it ended meanwhile
            done.append(name)
        if not done:
            return f"nothing was rolled back: '{model or deployment}' has no roll-out under way"
        return f"rolled back: {', '.join(done)}"

    return call
