"""What nobody changes while a roll-out has it: its route, and the deployments that are its arms."""

from modelworks.control.rollouts import store
from modelworks.control.rollouts.grounds.ground import Among, among, arms_of
from modelworks.core.errors import ConflictError
from modelworks.core.rollouts import Plan
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
        for plan in self._plans():
            if plan.route == name:
                words = f"the roll-out '{plan.name}' moves the traffic of route '{name}'"
                raise ConflictError(f"{words}: {_cure(plan)}", field="name")

    def deployment(self, name: str) -> None:
        """Refuse to end a deployment, or to have it run something else.

        Raises:
            ConflictError: it is an arm of a roll-out, whose evidence is of what it runs now.
        """
        for plan in self._plans():
            if name in arms_of(plan):
                words = f"the roll-out '{plan.name}' compares deployment '{name}' with others"
                raise ConflictError(f"{words}: {_cure(plan)}", field="name")

    def _plans(self) -> list[Plan]:
        with self._scope.read() as session:
            plans = [one.rollout.plan for one in store.every(session) if not one.settled]
        return [plan for plan in plans if among(plan) is Among.DEPLOYMENTS]


def _cure(plan: Plan) -> str:
    return f"wait for its end, or `modelworks rollout abort {plan.name}`"
