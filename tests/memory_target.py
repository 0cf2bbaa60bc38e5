"""A target without processes: what it runs is a list that tests may disturb."""

from dataclasses import dataclass, field

from modelworks.core.deployment import (
    HOUSE,
    Capability,
    Observed,
    ObservedRoute,
    Phase,
    Rendered,
    Replica,
    Wanted,
    WantedRoute,
    honoured,
    refused,
)
from modelworks.core.errors import UnavailableError
from modelworks.protocol.manifest.deployment import DeploymentSpec
from modelworks.protocol.manifest.leaves import fields
from modelworks.protocol.manifest.route import RouteSpec

_REFUSED = {"resources.gpu": "there are no GPUs in memory"}


@dataclass
class Place:
    """What runs, by name; and how it misbehaves.

    Attributes:
        running: deployment -> (revision, replica's name).
        broken: versions whose replicas never become ready.
        down: nobody answers.
        applied: every call.
        changed: what somebody changed outside.
        dies_after: applies until the process that applies "is killed".
    """

    running: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    versions: dict[int, str] = field(default_factory=dict)
    down: bool = False
    applied: list[Wanted] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    dies_after: int | None = None
    counter: int = 0
    routed: dict[str, WantedRoute] = field(default_factory=dict)
    route_changes: list[str] = field(default_factory=list)


class Killed(BaseException):
    """As if the process had been."""


class MemoryTarget:
    """A kind, and its only open one."""

    name = "memory"
    extra = ""
    experimental = False
    images = False
    rolls = False
    nearby = False
    settings = {"zone": "any word"}  # noqa: RUF012 - a class attribute of the seam
    routes: dict[str, Capability] = {}  # noqa: RUF012 - the same
    capabilities = {  # noqa: RUF012 - the same
        name: refused(_REFUSED[name]) if name in _REFUSED else honoured("kept in memory")
        for name in fields(DeploymentSpec)
        if name not in HOUSE
    }

    def __init__(self, place: Place) -> None:
        self.place = place

    def open(self, settings, folder):
        if self.place.down:
            raise UnavailableError("the memory is away")
        return self

    def render(self, wanted):
        lines = [f"{s.revision.name} x {s.replicas}: {s.revision.digest}" for s in wanted.shares]
        return (Rendered("memory.txt", "\n".join([*lines, f"labels {dict(wanted.labels)}", ""])),)

    def apply(self, wanted):
        place = self.place
        place.applied.append(wanted)
        place.changed.clear()
        if place.dies_after is not None:
            place.dies_after -= 1
            if place.dies_after < 0:
                raise Killed
        before = place.running.get(wanted.name, [])
        after = []
        for share in wanted.shares:
            place.versions[share.revision.number] = share.revision.model.version
            own = [one for one in before if one[0] == share.revision.number][: share.replicas]
            for _ in range(share.replicas - len(own)):
                place.counter += 1
                own.append((share.revision.number, f"r{place.counter}"))
            after += own
        place.running[wanted.name] = after

    def observe(self, name):
        if name not in self.place.running:
            return None
        replicas = []
        for number, replica in self.place.running[name]:
            bad = self.place.versions[number] in self.place.broken
            replicas.append(
                Replica(
                    replica,
                    number,
                    Phase.FAILED if bad else Phase.READY,
                    "the model does not load" if bad else "",
                    restarts=3 if bad else 0,
                )
            )
        return Observed("memory://here", tuple(replicas), tuple(self.place.changed))

    def delete(self, name):
        self.place.running.pop(name, None)


class RoutingTarget(MemoryTarget):
    """The same, with something in front that routes."""

    name = "routing"
    routes = {name: honoured("in memory") for name in fields(RouteSpec)}  # noqa: RUF012

    def render_route(self, route):
        shares = [f"{b['deployment']}={b['weight']}" for b in route.spec["backends"]]
        return (Rendered("route.txt", f"{route.name}: {shares} {dict(route.ports)}\n"),)

    def apply_route(self, route):
        self.place.routed[route.name] = route
        self.place.route_changes.clear()

    def observe_route(self, name):
        if name not in self.place.routed:
            return None
        return ObservedRoute(accepted=True, changed=tuple(self.place.route_changes))

    def delete_route(self, name):
        self.place.routed.pop(name, None)
