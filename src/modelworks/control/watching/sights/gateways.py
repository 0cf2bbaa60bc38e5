"""What gateways say of deployments: whether they can ask them, and what they counted."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from modelworks.control.rollouts.evidence import Seen
from modelworks.control.rollouts.grounds.ground import Look, arms_of
from modelworks.control.rollouts.kept import Kept
from modelworks.control.watching.sights.counted import seen
from modelworks.core.deployment import Phase
from modelworks.core.desired import State
from modelworks.core.plans import Status
from modelworks.core.rollouts import Plan


class Telling(Protocol):
    """The admin addresses of all gateways."""

    def metrics(self, routes: Sequence[str]) -> Iterable[tuple[str, str]]:
        """Address of each that answers, and its text of these routes."""
        ...

    def states(self) -> Iterable[tuple[str, Mapping[str, Any]]]:
        """Address and state of each that answers."""
        ...


class Fronted:
    """Fulfils `Sight`, among deployments.

    Args:
        status: of a deployment, as its target has it now.
        admins: of the gateways.
    """

    def __init__(self, status: Callable[[str], Status], admins: Telling) -> None:
        self._status = status
        self._admins = admins

    def unready(self, plan: Plan) -> str:
        """See `Sight`."""
        for arm in arms_of(plan):
            if why := _not_up(self._status(arm)):
                return why
        states = list(self._admins.states())
        if not states:
            return (
                "no gateway answers: `modelworks gateway --snapshot .../api/v1/routes/snapshot` "
                "here, or `modelworks up --gateways URL` for those elsewhere"
            )
        return next((why for url, state in states for why in _not_asked(plan, url, state)), "")

    def look(self, plans: Sequence[Plan]) -> Look:
        """See `Sight`."""
        texts = list(self._admins.metrics([plan.route for plan in plans]))

        def of(kept: Kept) -> Sequence[Seen]:
            return [one for url, text in texts for one in seen(kept, url, text)]

        return of


def _not_up(status: Status) -> str:
    """Why a deployment is not ready as a whole; empty = it is."""
    if status.unseen:
        return f"deployment '{status.name}' cannot be seen: {status.unseen}"
    ready = sum(one.revision == status.wanted and one.phase is Phase.READY for one in status.seen)
    if status.state is not State.READY or ready < status.replicas:
        said = f"deployment '{status.name}' is {status.state}"
        return f"{said}: {ready} of {status.replicas} replicas are ready"
    return ""


def _not_asked(plan: Plan, url: str, state: Mapping[str, Any]) -> Iterator[str]:
    """Why a gateway cannot ask every arm; nothing = it can."""
    routes = {one["name"]: one["arms"] for one in state.get("routes", ())}
    well = {one["url"] for one in state.get("endpoints", ()) if one["ready"]}
    arms = routes.get(plan.route)
    if arms is None:
        yield f"the gateway at {url} has no route '{plan.route}' yet"
        return
    for arm in arms_of(plan):
        if arm not in arms:
            yield f"the gateway at {url} does not know '{arm}' yet"
        elif not any(one["url"] in well for one in arms[arm]):
            yield f"the gateway at {url} reaches nobody of '{arm}'"
