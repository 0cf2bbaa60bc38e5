"""A snapshot made ready: policies, who is let in, and the endpoints of every arm.

Made on a thread, a little at a time; the loop then takes it by one assignment. What endpoints have
shown, the counts and the budgets go over from the table before it.
"""

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Final

from modelworks.core.errors import UnsupportedError
from modelworks.core.routes import Arm, Endpoint, Route, Snapshot
from modelworks.gateway.budget import Budget
from modelworks.gateway.counts import Counts, RouteCounts
from modelworks.gateway.forward import Forward
from modelworks.gateway.place import Place
from modelworks.gateway.seats import Seat, Seats
from modelworks.protocol.routes import Policy, RoutePolicy, check
from modelworks.protocol.routes.access import Access

_KNOWN: Final = 1024
_KNOWN_BYTES: Final = 2048

LetIn = Callable[[Snapshot], Access]
"""Makes what says who is let in; shared limits and keys of tokens are in it."""


class RouteState:
    """One route as it is carried out.

    Attributes:
        policy: decides.
        route: as it was written.
        seats: by arm.
        fallback: None = there is none.
        budget: of further tries.
        counts: of it.
    """

    __slots__ = ("budget", "counts", "fallback", "policy", "route", "seats")

    def __init__(
        self, policy: RoutePolicy, seats: dict[str, Seats], budget: Budget, counts: RouteCounts
    ) -> None:
        self.policy = policy
        self.route: Route = policy.route
        self.seats = seats
        self.fallback = seats.get(self.route.fallback) if self.route.fallback else None
        self.budget = budget
        self.counts = counts


class Known:
    """A request head that came before, and what it leads to.

    Attributes:
        forward: how it goes on.
        state: the route.
        model: that it asks; empty = none.
    """

    __slots__ = ("forward", "model", "state")

    def __init__(self, forward: Forward, state: RouteState, model: str) -> None:
        self.forward = forward
        self.state = state
        self.model = model


class Table:
    """All routes of one snapshot.

    Args:
        access: of it.
        policy: of it.
        routes: by name.
        places: by URL.

    Attributes:
        generation: of the snapshot.
        known: by the bytes of a head and the tenant that its caller is of.
    """

    __slots__ = ("access", "generation", "known", "places", "policy", "routes")

    def __init__(
        self,
        access: Access,
        policy: Policy,
        routes: dict[str, RouteState],
        places: dict[str, Place],
    ) -> None:
        self.generation = policy.generation
        self.access = access
        self.policy = policy
        self.routes = routes
        self.places = places
        self.known: dict[tuple[bytes, str], Known] = {}

    def keep(self, raw: bytes, tenant: str, known: Known) -> None:
        """Remember a head that will come again, word for word. Bounded."""
        if len(raw) <= _KNOWN_BYTES:
            if len(self.known) >= _KNOWN:
                self.known.clear()
            self.known[raw, tenant] = known

    def take_apart(self) -> None:
        """Free it in small steps; called when no request asks it any more."""
        while self.routes:
            self.routes.popitem()
            _breathe()


class Maker:
    """Makes tables of snapshots.

    Args:
        counts: of the process.
        zone: our own.
        let_in: see `LetIn`.
        context: of TLS to upstreams; None = the system's authorities.
        expand: puts addresses in the place of names.
    """

    def __init__(
        self,
        counts: Counts,
        zone: str,
        let_in: LetIn,
        context: ssl.SSLContext | None = None,
        expand: Callable[[Iterable[Endpoint]], Iterable[Endpoint]] = tuple,
    ) -> None:
        self._counts = counts
        self._zone = zone
        self._let_in = let_in
        self._expand = expand
        self._context = context or ssl.create_default_context()

    def make(self, snapshot: Snapshot, old: Table | None) -> Table:
        """A table; called on a thread, which lets the loop run between two routes.

        Raises:
            InvalidError: the snapshot cannot be gone by; its field is named.
        """
        check(snapshot)
        _refuse_tokens(snapshot)
        _breathe()
        access = self._let_in(snapshot)
        policy = Policy(snapshot, _breathe)
        places: dict[str, Place] = {}
        before = old.places if old is not None else {}
        routes: dict[str, RouteState] = {}
        for name, of_route in policy.routes.items():
            was = old.routes.get(name) if old is not None else None
            counts = self._counts.route(name)
            seats = {
                arm.name: self._seats(arm, of_route.route, counts, places, before, was)
                for arm in of_route.route.arms
            }
            share = of_route.route.retries.budget
            budget = Budget(share)
            if was is not None and was.route.retries.budget == share:
                budget = was.budget
            routes[name] = RouteState(of_route, seats, budget, counts)
            counts.forget_seats({(arm, s.place.url) for arm, of in seats.items() for s in of.all})
            _breathe()
        return Table(access, policy, routes, places)

    def _seats(
        self,
        arm: Arm,
        route: Route,
        counts: RouteCounts,
        places: dict[str, Place],
        before: dict[str, Place],
        was: RouteState | None,
    ) -> Seats:
        seats = []
        old = (
            {seat.place.url: seat for seat in was.seats[arm.name].all}
            if (was is not None and arm.name in was.seats)
            else {}
        )
        for endpoint in self._expand(arm.endpoints):
            url = endpoint.url
            place = places.get(url)
            if place is None:
                place = before.get(url) or Place(url, self._context)
                places[url] = place
            near = endpoint.zone in {"", self._zone}
            seat = Seat(place, route.breaker, counts.seat(arm.name, url), near=near)
            if url in old:
                seat.like(old[url])
            seats.append(seat)
        counts.arm(arm.name)
        return Seats(arm, tuple(seats), route.breaker.most_ejected)


def _refuse_tokens(snapshot: Snapshot) -> None:
    """Refuse what only the servers behind can count.

    Raises:
        UnsupportedError: a key has a quota of tokens.
    """
    name = next((entry.name for entry in snapshot.keys.values() if entry.tokens), None)
    if name is not None:
        raise UnsupportedError(
            f"the key '{name}' has a quota of tokens, and a gateway counts none: say it in the "
            "routes of the servers behind it",
            field="keys.tokens",
        )


def _breathe() -> None:
    """Let the loop have the interpreter."""
    time.sleep(0)
