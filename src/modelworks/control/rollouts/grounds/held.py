"""What nobody changes while a roll-out has it: its route, and the deployments that are its arms."""

from modelworks.control.rollouts import store
from modelworks.control.rollouts.grounds.ground import Among, among, arms_of
from modelworks.control.rollouts.kept import HOLDING, Kept
from modelworks.core.errors import ConflictError
from modelworks.core.rollouts import Phase
from modelworks.db.engine import TenantScope


class Held:
    """Asked before something is changed; fulfils `control.deploying.asking.Holds`.

    Args:
        scope: the tenant's rows.
    """

    def __init__(self, scope: TenantScope) -> None:
        self._scope = scope

    def route(self, name: str) -> None:
        """Refuse to change a route of the manifest.

        Raises:
            ConflictError: a roll-out has it to itself.
        """
        for kept in self._holding():
            plan = kept.rollout.plan
            if plan.route == name:
                words = f"the roll-out '{plan.name}' moves the traffic of route '{name}'"
                raise ConflictError(f"{words}: {_cure(kept)}", field="name")

    def deployment(self, name: str) -> None:
        """Refuse to end a deployment, or to have it run something else.

        Raises:
            ConflictError: it is an arm of a roll-out, whose evidence is of what it runs now.
        """
        for kept in self._holding():
            plan = kept.rollout.plan
            if name in arms_of(plan):
                words = f"the roll-out '{plan.name}' compares deployment '{name}' with others"
                raise ConflictError(f"{words}: {_cure(kept)}", field="name")

    def _holding(self) -> list[Kept]:
        """One that went back holds nothing: its route is as it was."""
        with self._scope.read() as session:
            every = store.every(session, HOLDING | {Phase.PROMOTED})
        return [
            one for one in every if not one.settled and among(one.rollout.plan) is Among.DEPLOYMENTS
        ]


def _cure(kept: Kept) -> str:
    if kept.rollout.phase is Phase.PROMOTED:
        return "it was promoted, and `modelworks up` gives the route its weights within seconds"
    return f"wait for its end, or `modelworks rollout abort {kept.rollout.plan.name}`"
