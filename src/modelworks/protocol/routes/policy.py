"""Which arm answers a request: a snapshot's routes, made ready for the hot path.

A policy never changes: a new snapshot makes a new one, which is put in the old one's place. One
route takes a few microseconds, so a thousand are made off the loop.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from random import random
from typing import Any, Final, NamedTuple

from modelworks.core.errors import NotFoundError
from modelworks.core.routes import BUCKETS, Arm, Route, Shadow, Snapshot, Source, Sticky
from modelworks.protocol.routes.buckets import begun

_ANY: Final = "*."


class Copied(NamedTuple):
    """Who gets a copy of one request.

    Attributes:
        arm: who.
        compare: whether its answer is kept beside the caller's.
    """

    arm: Arm
    compare: bool


class RoutePolicy:
    """One route.

    Attributes:
        route: as it was written.
        arms: by name.
        reads_field: name in the body's `parameters` that keeps a caller with one arm; empty =
            no body need be read.
    """

    __slots__ = (
        *("_arms", "_begun", "_cookie", "_copies", "_ends", "_header", "_only", "_override"),
        *("_shares", "arms", "reads_field", "route"),
    )

    def __init__(self, route: Route) -> None:
        self.route = route
        self.arms: dict[str, Arm] = {arm.name: arm for arm in route.arms}
        self._ends: list[int] = [span.end for span in route.spans]
        self._arms: list[Arm] = [self.arms[span.arm] for span in route.spans]
        self._only: Arm | None = self._arms[0] if len(self._arms) == 1 else None
        self._override: bytes = route.override.encode()
        self._begun: Callable[[], Any] = begun(route.salt or route.name).copy
        sticky = route.sticky
        self._header: bytes = _name(sticky, Source.HEADER).encode()
        self._cookie: bytes = _name(sticky, Source.COOKIE).encode()
        self.reads_field: str = _name(sticky, Source.FIELD) if self._only is None else ""
        self._shares, self._copies = _copies(route.shadows, self.arms)

    def choose(
        self,
        headers: Mapping[bytes, bytes],
        field_value: str | None = None,
        unit: float | None = None,
    ) -> Arm:
        """Who answers.

        Args:
            headers: of the request, lower-case names.
            field_value: of `reads_field`, where the route has one and the body does.
            unit: 0 to 1, less than 1: where a request without a key falls; None = by chance.

        Raises:
            NotFoundError: the override header names an arm that the route has not.
        """
        if self._override:
            named = headers.get(self._override)
            if named is not None:
                return self._named(named)
        only = self._only
        if only is not None:
            return only
        key = headers.get(self._header) if self._header else None
        if key is None:
            if field_value is not None and self.reads_field:
                key = field_value.encode("utf-8", "surrogatepass")
            elif self._cookie:
                key = cookie(headers.get(b"cookie"), self._cookie)
        if key:
            state = self._begun()
            state.update(key)
            bucket = int.from_bytes(state.digest(), "big") % BUCKETS
        else:
            bucket = int((random() if unit is None else unit) * BUCKETS)  # noqa: S311 - no secret
        return self._arms[bisect_right(self._ends, bucket)]

    def shadows(self, arm: Arm, unit: float | None = None) -> tuple[Copied, ...]:
        """Who gets copies of a request.

        Args:
            arm: who answers; never asked twice.
            unit: 0 to 1, less than 1; None = by chance. Of two shadows the one with the smaller
                share gets only what the other one gets too.
        """
        copies = self._copies.get(arm.name)
        if copies is None:
            return ()
        return copies[bisect_right(self._shares, random() if unit is None else unit)]  # noqa: S311 - no secret

    def _named(self, named: bytes) -> Arm:
        arm = self.arms.get(named.decode("utf-8", "replace"))
        if arm is None:
            route = self.route
            raise NotFoundError(
                f"the route {route.name} has no arm of the name that {route.override} says; it "
                f"has {', '.join(self.arms)}",
                field=route.override,
            )
        return arm


class Policy:
    """All routes of a snapshot.

    Args:
        snapshot: that `check` found good.
        breathe: called now and then while it is made, so that a thread can let others run.

    Attributes:
        generation: of the snapshot.
        routes: by name.
    """

    __slots__ = ("_by_model", "_rest", "generation", "routes")

    def __init__(self, snapshot: Snapshot, breathe: Callable[[], None] = lambda: None) -> None:
        self.generation = snapshot.generation
        self.routes: dict[str, RoutePolicy] = {}
        by_model: dict[str, list[RoutePolicy]] = {}
        for route in snapshot.routes:
            made = RoutePolicy(route)
            self.routes[route.name] = made
            by_model.setdefault(route.model, []).append(made)
            breathe()
        self._rest = _ordered(by_model.pop("", []))
        self._by_model = {model: _ordered(routes) for model, routes in by_model.items()}

    def candidates(self, model: str, path: str) -> list[RoutePolicy]:
        """The routes that may be meant, in order; which one it is, host and tenant decide."""
        named = self._by_model.get(model, ()) if model else ()
        return [made for made in (*named, *self._rest) if _under(made.route.path, path)]

    def find(
        self, model: str, host: str = "", path: str = "/", tenant: str = ""
    ) -> RoutePolicy | None:
        """The route of a request; None = there is none.

        Args:
            model: that its path names; empty = none.
            host: of its Host header, in any case.
            path: decoded, without the query.
            tenant: whose routes are looked at; empty = all.
        """
        for routes in (self._by_model.get(model, ()) if model else (), self._rest):
            for made in routes:
                route = made.route
                if (
                    (not tenant or route.tenant == tenant)
                    and (route.path == "/" or _under(route.path, path))
                    and (not route.host or of_host(route.host, host))
                ):
                    return made
        return None


def cookie(header: bytes | None, name: bytes) -> bytes | None:
    """The value of one cookie (RFC 6265, 4.2.1); None = it is not there."""
    if header is None:
        return None
    for part in header.split(b";"):
        found, equals, value = part.strip(b" \t").partition(b"=")
        if equals and found == name:
            return value
    return None


def _name(sticky: Sticky | None, source: Source) -> str:
    return sticky.name if sticky is not None and sticky.source is source else ""


def _copies(
    shadows: Iterable[Shadow], arms: Mapping[str, Arm]
) -> tuple[list[float], dict[str, list[tuple[Copied, ...]]]]:
    """Shares in order; by arm that answers, who gets copies between each of them and the next."""
    wanted = [shadow for shadow in shadows if shadow.share > 0]
    cuts = sorted({shadow.share for shadow in wanted})
    made: dict[str, list[tuple[Copied, ...]]] = {}
    for name in arms if wanted else ():
        others = [shadow for shadow in wanted if shadow.arm != name]
        parts = [[shadow for shadow in others if shadow.share >= cut] for cut in cuts]
        made[name] = [tuple(Copied(arms[s.arm], s.compare) for s in part) for part in parts]
        made[name].append(())
    return cuts, made


def _ordered(routes: list[RoutePolicy]) -> tuple[RoutePolicy, ...]:
    """The longest path first, then named hosts; else as they came."""

    def rank(made: RoutePolicy) -> tuple[int, int, int]:
        host = made.route.host
        kind = 2 if not host else 1 if host.startswith(_ANY) else 0
        return -len(made.route.path.rstrip("/")), kind, -len(host)

    return tuple(sorted(routes, key=rank))


def _under(prefix: str, path: str) -> bool:
    """Whether a path lies under another one: `/api` has `/api` and `/api/x`, and not `/apix`."""
    prefix = prefix.rstrip("/")
    return path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/")


def of_host(wanted: str, host: str) -> bool:
    """Whether a Host header names a route's host; the port counts where the route says one."""
    if not wanted:
        return True
    host = host.lower()
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    port = wanted.rpartition(":")[2].isdigit() and not wanted.endswith("]") and ":" in wanted
    host = host if port else name.rstrip(".")
    if wanted.startswith(_ANY):
        return host.endswith(wanted[1:]) and len(host) > len(wanted) - 1
    return host == wanted
