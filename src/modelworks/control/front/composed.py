"""The routes of an installation as its gateways go by them. Pure.

Three kinds meet: models that the server of `up` answers, those of them that a roll-out parts among
versions, and routes of manifests among deployments.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from modelworks.control.rollouts.grounds import split
from modelworks.control.rollouts.grounds.ground import Among, among
from modelworks.control.rollouts.kept import Kept
from modelworks.core.desired import DesiredRoute
from modelworks.core.routes import BUCKETS, Arm, Endpoint, Route, Span
from modelworks.deploy.carried import CARRIER, carried
from modelworks.protocol.routes import spans

_ELSEWHERE: Final = "elsewhere"  # no gateway's own zone, unless one is called so
_BESIDE: Final = "up/"  # a model that is called as a manifest's route


@dataclass(frozen=True, slots=True)
class Deployed:
    """Where a deployment answers.

    Attributes:
        model: that it runs.
        version: of the model; empty = nobody knows.
        endpoints: of it; empty = nowhere.
        zone: that its label says.
        ready: replicas that answer were seen; what nobody could look at is not ready.
        looked: somebody has looked, or has tried; until then its routes stay as they were.
    """

    model: str
    version: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    zone: str = ""
    ready: bool = False
    looked: bool = True


@dataclass(frozen=True, slots=True)
class Own:
    """What the server of `up` answers.

    Attributes:
        endpoints: of it.
        models: name -> version that answers by default.
        routes: that it follows itself: roll-outs among versions.
    """

    endpoints: tuple[Endpoint, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()


def compose(
    own: Own,
    asked: Iterable[DesiredRoute],
    deployed: Mapping[str, Deployed],
    rollouts: Iterable[Kept] = (),
    before: Sequence[Route] = (),
) -> tuple[Route, ...]:
    """All routes: those of manifests first, each by name.

    Args:
        own: what the server of `up` answers.
        asked: routes of manifests; those that a target routes itself are left out.
        deployed: by name, every deployment that they name.
        rollouts: that hold a route; one whose plan names a manifest's route, and arms that are
            among its deployments, has that route's shares.
        before: as they were: from these as few callers as can be are moved.
    """
    held = {route.name: route for route in before}
    holding = {
        one.rollout.plan.route: one
        for one in rollouts
        if among(one.rollout.plan) is Among.DEPLOYMENTS  # a model may be called as a route is
    }
    found = (
        _of_manifest(one, deployed, holding.get(one.name), held.get(one.name))
        for one in sorted(asked, key=lambda one: one.name)
        if one.target == CARRIER
    )
    manifests = [route for route in found if route is not None]
    taken = {route.name for route in manifests}
    return (*manifests, *_of_models(own, taken))


def _of_models(own: Own, taken: set[str]) -> Iterable[Route]:
    parted = {route.name: route for route in own.routes}
    for model in sorted({*own.models, *parted}):
        name = f"{_BESIDE}{model}" if model in taken else model
        if model in parted:
            yield replace(_handed_on(parted[model], own.endpoints), name=name)
        else:
            arm = Arm(own.models[model], endpoints=own.endpoints)
            yield Route(name, (arm,), (Span(0, BUCKETS, arm.name),), model=model)


def _handed_on(route: Route, endpoints: tuple[Endpoint, ...]) -> Route:
    """A roll-out's route, whose server has it too: it is told which arm was chosen.

    So it counts and records the arm as without a gateway, on every path, and makes the copies.
    """
    told = route.override
    arms = tuple(
        Arm(arm.name, endpoints=endpoints, headers={told: arm.name})
        if told
        else replace(arm, endpoints=endpoints)
        for arm in route.arms
    )
    salt = route.salt or route.name
    return replace(route, arms=arms, salt=salt, shadows=())


def _of_manifest(
    asked: DesiredRoute, deployed: Mapping[str, Deployed], kept: Kept | None, before: Route | None
) -> Route | None:
    known = {name: deployed.get(name, Deployed("")) for name in asked.deployments}
    if not all(one.looked for one in known.values()):
        return before  # its callers would find nobody
    models = {name: one.model for name, one in known.items()}
    plain = carried(asked.name, asked.document["spec"], models)
    weighed = {span.arm for span in plain.spans}
    arms = tuple(replace(arm, endpoints=_places(arm.name, weighed, known)) for arm in plain.arms)
    route = replace(plain, arms=arms, salt=asked.name, fallback=_fallback(plain, known))
    held = before.spans if before is not None else ()
    if kept is not None and _arms(kept) <= known.keys():
        return split.carried(route, kept, held)
    if before is None or before.salt != route.salt:
        return route
    shares = {arm.name: 0.0 for arm in arms}
    for span in plain.spans:
        shares[span.arm] += (span.end - span.first) / BUCKETS
    return replace(route, spans=spans(held, shares))


def _places(name: str, weighed: set[str], known: Mapping[str, Deployed]) -> tuple[Endpoint, ...]:
    """Where an arm is answered: at its own, else at others that run the same version.

    Only those that get traffic anyway answer for one another, and at once: the gateway asks places
    of another zone where the first ones are away. In its own zone it asks them as gladly.
    """
    own = known[name]
    if name not in weighed or not own.version:
        return own.endpoints
    twins = (
        replace(place, zone=one.zone or _ELSEWHERE)
        for other, one in known.items()
        if other != name
        and other in weighed
        and (one.model, one.version) == (own.model, own.version)
        for place in one.endpoints
    )
    return (*own.endpoints, *twins)


def _arms(kept: Kept) -> set[str]:
    plan = kept.rollout.plan
    return {plan.stable, *plan.candidates}


def _fallback(route: Route, known: Mapping[str, Deployed]) -> str:
    """Who answers for one that has nobody left: the first that gets traffic and was seen ready."""
    weighed = list(dict.fromkeys(span.arm for span in route.spans))
    if len(weighed) < 2:
        return ""
    return next((name for name in weighed if known[name].ready), weighed[0])
