"""Among deployments behind a gateway: shares of a route of the manifest, and its weights after."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

from modelworks.control.rollouts.kept import Asked, Kept
from modelworks.core.desired import DesiredRoute
from modelworks.core.errors import ConflictError, InvalidError, NotFoundError, UnsupportedError
from modelworks.core.rollouts import Phase, Plan, Strategy
from modelworks.core.routes import Source
from modelworks.deploy.carried import CARRIER

_ALL: Final = 100


class Routes(Protocol):
    """Who knows the routes of the manifest."""

    def find(self, name: str) -> DesiredRoute | None:
        """One; None = nobody asked for it."""
        ...

    def move(self, name: str, weights: dict[str, int], reason: str) -> DesiredRoute:
        """Give its deployments other weights."""
        ...


class Deployments:
    """Fulfils `Ground`.

    Nothing is carried out here: gateways go by a snapshot that is composed of the rows of roll-outs
    and routes (`control.front`), so that a row is all that a change of the shares takes.

    Args:
        routes: of the manifest.
    """

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def check(self, plan: Plan, asked: Asked) -> Asked:
        """See `Ground`."""
        route = self._route(plan)
        _answers(route, plan)
        if asked.source is not None:
            raise InvalidError(
                f"--sticky: the route '{route.name}' says itself what keeps a caller with one arm: "
                "spec.sticky of its manifest",
                field="--sticky",
            )
        return _parted(route, asked)

    def prepare(self, plan: Plan) -> None:
        """See `Ground`: deployments run already, and the snapshot has all arms."""

    def carry_out(self, holding: Sequence[Kept]) -> None:
        """See `Ground`, and the class."""

    def settle(self, kept: Kept) -> None:
        """See `Ground`: the route's weights are who won's; nothing is scaled down or ended."""
        plan = kept.rollout.plan
        if kept.rollout.phase is not Phase.PROMOTED or plan.strategy is Strategy.SHADOW:
            return
        won = max(kept.shares, key=lambda arm: kept.shares[arm])
        reason = f"roll-out '{plan.name}': {kept.rollout.reason}"[:500]
        with suppress(NotFoundError):  # somebody took the route away
            self._routes.move(plan.route, {won: _ALL}, reason)

    def _route(self, plan: Plan) -> DesiredRoute:
        route = self._routes.find(plan.route)
        if route is None:
            raise NotFoundError(
                f"route: no route '{plan.route}' of a manifest (kind: Route), whose deployments "
                f"'{plan.stable}' and others could be; of a model the arms are versions: 1.0.0",
                field="route",
            )
        if route.target != CARRIER:
            raise UnsupportedError(
                f"route: '{route.name}' is carried by {route.target}: roll-outs move routes that "
                "the gateway carries",
                field="route",
            )
        return route


def _answers(route: DesiredRoute, plan: Plan) -> None:
    """The stable arm has all of the traffic, and candidates none."""
    backends = route.document["spec"]["backends"]
    weights = {str(one["deployment"]): int(one["weight"]) for one in backends}
    if weights.get(plan.stable) != _ALL:
        said = ", ".join(f"{name} {weight}" for name, weight in weights.items())
        raise ConflictError(
            f"stable: the route '{route.name}' gives {said}: a roll-out begins with all of it at "
            f"'{plan.stable}'; `modelworks apply` the route with its weight 100, or name another",
            field="stable",
        )
    for name in plan.candidates:
        if name not in weights:
            raise ConflictError(
                f"candidates: the route '{route.name}' does not name '{name}': add {{deployment: "
                f"{name}, weight: 0}} to its backends, and `modelworks apply` it",
                field="candidates",
            )


def _parted(route: DesiredRoute, asked: Asked) -> Asked:
    """How the manifest parts callers."""
    sticky = route.document["spec"]["sticky"]
    if not sticky:
        return asked
    if sticky["header"]:
        return replace(asked, source=Source.HEADER, key=sticky["header"].lower())
    return replace(asked, source=Source.COOKIE, key=sticky["cookie"])
