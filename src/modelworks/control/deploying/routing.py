"""Routes: which deployments answer a host and path, by their target or by our own gateways."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from modelworks.control.deploying.asking import Progress
from modelworks.control.deploying.carrying import Carrier
from modelworks.control.deploying.targets import kind_of, opened
from modelworks.core.deployment import ObservedRoute, Rendered, Support, WantedRoute
from modelworks.core.desired import DesiredRoute, State, deployments_of
from modelworks.core.errors import ConflictError, NotFoundError, UnavailableError, UnsupportedError
from modelworks.core.plans import Act, Answer, Applied, Exported, Planned
from modelworks.core.reference import parse_ref
from modelworks.core.seams import OpenTarget, Routing
from modelworks.deploy import answers
from modelworks.deploy.carried import CARRIED, CARRIER
from modelworks.deploy.differences import differences, native
from modelworks.deploy.routes import Routes
from modelworks.deploy.service import Deployments
from modelworks.protocol.manifest.deployment import Deployment
from modelworks.protocol.manifest.route import Route

_WAIT_S: Final = 10.0
_ACCEPTED_S: Final = 60.0
_LOOK_S: Final = 0.25


class Router:
    """Plans, applies and ends routes.

    Args:
        routes: as they were asked for.
        deployments: the same.
        folder: of all targets on this machine.
    """

    def __init__(self, routes: Routes, deployments: Deployments, folder: Path) -> None:
        self._routes = routes
        self._deployments = deployments
        self._folder = folder

    def plan(self, route: Route, beside: Sequence[Deployment], *, ask: bool = True) -> Planned:
        """What `apply` would do with a route.

        Args:
            route: of a manifest.
            beside: the deployments of the same manifest.
            ask: the target what it has.

        Raises:
            NotFoundError: a deployment that nobody asked for.
        """
        name = route.metadata.name
        places = self._places(route, beside)
        target, settings, why = _carrier(places)
        table = CARRIED if target == CARRIER else kind_of(target).routes
        said = list(answers.of_route(target, table, route.spec))
        if why:
            said = [Answer(one.path, one.value, Support.REFUSED, why, one.plain) for one in said]
        before = self._routes.find(name)
        document = document_of(route)
        changes = tuple(differences("", before.document, document)) if before else ()
        act = Act.CREATE if before is None else Act.UPDATE if changes else Act.UNCHANGED
        if act is Act.UNCHANGED and before is not None and before.state is not State.READY:
            act = Act.RETRY
        outside: tuple[str, ...] = ()
        notes = tuple(_notes(before, target))
        text = ""
        if any(one.support is Support.REFUSED for one in said):
            act = Act.REFUSED
        elif ask:
            try:
                with self._opened(target, settings, beside) as routing:
                    seen = routing.observe_route(name)
                    outside = seen.changed if seen else ()
                    text = native(
                        routing.render_route(self._wanted(before.document, ()))
                        if before and before.target == target
                        else (),
                        routing.render_route(self._wanted(document, beside)),
                    )
                if act is Act.UNCHANGED and (seen is None or outside or not seen.accepted):
                    act = Act.RETRY
            except UnavailableError as error:
                notes = (*notes, f"the target does not answer: {error.message}")
        return Planned(
            "Route",
            name,
            target,
            act,
            answers=tuple(said),
            changes=changes,
            outside=outside,
            notes=notes,
            native=text,
        )

    def apply(self, route: Route, beside: Sequence[Deployment], say: Progress) -> Applied:
        """Ask for it, and wait until traffic goes by it.

        Raises:
            ConflictError: another process changes it, or something else routes it now.
            ModelworksError: the target does not take it.
        """
        name = route.metadata.name
        target, settings, why = _carrier(self._places(route, beside))
        if why:
            raise UnsupportedError(why, field="spec.backends")
        with self._routes.locked(name, _WAIT_S) as lock:
            document = document_of(route)
            for said in _notes(self._routes.find(name), target, moving=True):
                raise ConflictError(said, field="spec.backends")
            with self._opened(target, settings, beside) as routing:
                desired = self._routes.ask(document, target, settings)
                routing.apply_route(self._wanted(document, beside))
                say(f"route {name}: until traffic goes by it")
                end = time.monotonic() + _ACCEPTED_S
                seen = routing.observe_route(name)
                while not (seen and seen.accepted) and time.monotonic() < end:
                    lock.keep()
                    time.sleep(_LOOK_S)
                    seen = routing.observe_route(name)
            state, why = _became(seen)
            self._routes.note(desired, state, why)
        return Applied("Route", name, state, message=why)

    def delete(self, name: str) -> Applied:
        """Take it away.

        Raises:
            NotFoundError: no such route.
            UnavailableError: the target does not answer.
        """
        with self._routes.locked(name, _WAIT_S):
            desired = self._routes.get(name)
            with self._opened(desired.target, desired.settings, ()) as routing:
                routing.delete_route(name)
            self._routes.gone(name)
        return Applied("Route", name, State.DELETING, message="deleted")

    def export(self, route: Route, beside: Sequence[Deployment]) -> Exported:
        """Its native objects."""
        target, settings, _ = _carrier(self._places(route, beside))
        with self._opened(target, settings, beside) as routing:
            files: tuple[Rendered, ...] = routing.render_route(
                self._wanted(document_of(route), beside)
            )
        return Exported("Route", route.metadata.name, target, files)

    def all(self) -> list[DesiredRoute]:
        """Every route, as it was asked for and what became of it."""
        return self._routes.every()

    def free(self, deployment: str) -> None:
        """Refuse to end a deployment that a route names.

        Raises:
            ConflictError: one does.
        """
        for route in self._routes.every():
            if deployment in route.deployments:
                raise ConflictError(
                    f"route '{route.name}' names deployment '{deployment}': delete the route, or "
                    "apply it without",
                    field="name",
                )

    def _places(
        self, route: Route, beside: Sequence[Deployment]
    ) -> list[tuple[str, Mapping[str, str]]]:
        """Target and settings of each deployment that a route names."""
        here = {one.metadata.name: one.spec.target for one in beside}
        found: list[tuple[str, Mapping[str, str]]] = []
        for name in deployments_of(route.spec.model_dump(mode="json")):
            if name in here:
                found.append((here[name].type, here[name].settings))
                continue
            desired = self._deployments.find(name)
            if desired is None:
                raise NotFoundError(
                    f"route '{route.metadata.name}' names deployment '{name}', which nobody asked "
                    "for",
                    field="spec.backends",
                )
            found.append((desired.target, dict(desired.settings)))
        return found

    @contextmanager
    def _opened(
        self, target: str, settings: Mapping[str, str], beside: Sequence[Deployment]
    ) -> Iterator[Routing]:
        """What routes."""
        if target == CARRIER:
            here = {one.metadata.name: one.spec.model for one in beside}
            yield Carrier(lambda name: _named(here.get(name) or self._model(name)))
            return
        with opened(kind_of(target), settings, self._folder) as found:
            yield _routing(found, target)

    def _model(self, deployment: str) -> str:
        return str(self._deployments.get(deployment).spec["model"])

    def _wanted(self, document: Mapping[str, Any], beside: Sequence[Deployment]) -> WantedRoute:
        metadata, spec = document["metadata"], document["spec"]
        ports = {one.metadata.name: one.spec.access.port for one in beside}
        for name in deployments_of(spec):
            desired = None if name in ports else self._deployments.find(name)
            if desired is not None:
                ports[name] = int(desired.spec["access"]["port"])
        named = {name: ports[name] for name in deployments_of(spec) if name in ports}
        return WantedRoute(
            metadata["name"], spec, named, metadata["labels"], metadata["description"]
        )


def document_of(route: Route) -> dict[str, Any]:
    """`metadata` and `spec`, defaults written out."""
    said = route.model_dump(mode="json")
    return {"metadata": said["metadata"], "spec": said["spec"]}


def _carrier(
    places: Sequence[tuple[str, Mapping[str, str]]],
) -> tuple[str, Mapping[str, str], str]:
    """What routes among deployments of these places, its settings, and why nothing can."""
    routing = {target for target, _ in places if kind_of(target).routes}
    if not routing:
        return CARRIER, {}, ""
    target, settings = next(place for place in places if place[0] in routing)
    if all(place == (target, settings) for place in places):
        return target, settings, ""
    where = " and ".join(sorted({place for place, _ in places}))
    why = (
        f"its deployments run on {where}, and {' and '.join(sorted(routing))} routes by itself: "
        "one target, reached one way, is wanted, or targets that do not route, which the gateway "
        "carries together"
    )
    return target, settings, why


def _notes(before: DesiredRoute | None, target: str, *, moving: bool = False) -> Iterator[str]:
    """What else is to be known; only of one that would move, where `moving`."""
    if before is not None and CARRIER in {before.target, target} and before.target != target:
        yield f"'{before.name}' is routed by '{before.target}' and has to be deleted there first"
    if target == CARRIER and not moving:
        yield (
            "carried by gateways that follow this installation: modelworks gateway --snapshot "
            "http://CONTROL/api/v1/routes/snapshot"
        )


def _became(seen: ObservedRoute | None) -> tuple[State, str]:
    if seen is not None and seen.accepted:
        return State.READY, ""
    why = seen.reason if seen else "it is not there"
    return State.FAILED, f"no traffic goes by it after {_ACCEPTED_S:g} s: {why}"


def _routing(target: OpenTarget, name: str) -> Routing:
    if not isinstance(target, Routing):
        raise UnsupportedError(f"the target '{name}' routes nothing", field="kind")
    return target


def _named(ref: str) -> str:
    """The model of a manifest's reference."""
    return parse_ref(ref, variants=True).name
