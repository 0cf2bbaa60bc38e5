"""One path of a server that goes by routes: who asks, which arm, which of the models here.

Made at the first request of the path and used until routes or models change; see
docs/decisions/0026-routes.md for what of it costs how much.
"""

from collections.abc import Callable, Sequence
from time import time_ns
from typing import Final, Protocol

from modelworks.core.errors import ModelworksError, NotFoundError, UnavailableError
from modelworks.core.ids import uuid7
from modelworks.core.keys import Keys
from modelworks.core.routes import Arm
from modelworks.edge.exchange import Exchange
from modelworks.protocol.records.calls import ARM, CALLER, COPY
from modelworks.protocol.routes.access import ANYBODY, Access, Caller
from modelworks.protocol.routes.fields import parameter_of
from modelworks.protocol.routes.limits import Meter
from modelworks.protocol.routes.policy import Copied, RoutePolicy, of_host
from modelworks.serving.entries import Entry
from modelworks.serving.routing.numbers import ABSENT, FALLBACKS
from modelworks.serving.routing.shadows import Offer
from modelworks.serving.waiting import Act

AUTHORIZATION: Final = b"authorization"
REQUEST_ID: Final = b"x-request-id"
_KNOWN: Final = 1024


class Here(Protocol):
    """What a path needs of its server: the router."""

    access: Access
    asks: bool
    closed: bool
    copy: Offer
    who: Callable[[bytes | None], Caller]

    @property
    def own(self) -> Keys | None:
        """The server's own keys as they are now; None = it has none."""
        ...

    def entry(self, arm: Arm, model: str) -> Entry | None:
        """The model that an arm stands for; None = it is not on the list."""
        ...

    def cells(self, route: str, arm: str) -> memoryview:
        """Counters."""
        ...

    def wait(self, entry: Entry, exchange: Exchange, act: Act) -> None:
        """Have a request wait for a model that is loaded on demand."""
        ...

    def refuse(self, exchange: Exchange, error: ModelworksError) -> None:
        """Answer with an error, and count it."""
        ...


class Granted:
    """What was found for an Authorization header; looked up by it from then on.

    Attributes:
        made: the route.
        meters: what counts.
        until_ns: UTC; 0 = for ever.
        caller: name, for the records.
        own: the server's own keys as they were, of which this is one; None = it is none of them.
    """

    __slots__ = ("caller", "made", "meters", "own", "until_ns")

    def __init__(
        self,
        made: RoutePolicy,
        meters: tuple[Meter, ...],
        until_ns: int,
        caller: bytes,
        own: Keys | None,
    ) -> None:
        self.caller = caller
        self.own = own
        self.made = made
        self.meters = meters
        self.until_ns = until_ns


class Place:
    """An arm in this server.

    Attributes:
        entry: its model; None = it is not on the list.
        cells: its counters.
    """

    __slots__ = ("_heads", "_name", "cells", "entry")

    def __init__(self, name: str, entry: Entry | None, cells: memoryview) -> None:
        self.entry = entry
        self.cells = cells
        self._name = name.encode()
        self._heads: dict[int, tuple[dict[bytes, bytes], dict[bytes, bytes]]] = {}

    def marked(self, headers: dict[bytes, bytes], caller: bytes) -> dict[bytes, bytes]:
        """The headers with what records tell of; connections send the same ones again."""
        known = self._heads.get(id(headers))
        if known is not None and known[0] is headers:
            return known[1]
        made = {**headers, ARM: self._name, CALLER: caller}
        if len(self._heads) >= _KNOWN:
            self._heads.clear()
        self._heads[id(headers)] = (headers, made)
        return made

    def copied(self, headers: dict[bytes, bytes], caller: bytes) -> dict[bytes, bytes]:
        """The headers of a copy."""
        return {**headers, ARM: COPY + self._name, CALLER: caller}


class Routed:
    """Answers requests of one path; called on the loop.

    Args:
        here: the server.
        routes: that may be meant, the first that fits is; at least one.
        model: that the path names.
        act: what is asked of the model.
        fixed: the path names a version or an alias: no arm is chosen; None = one is.
    """

    __slots__ = (
        *("_act", "_asks", "_field", "_fixed", "_granted", "_here", "_model", "_one", "_places"),
        *("_routes", "_shadowed", "_take"),
    )

    def __init__(
        self,
        here: Here,
        routes: Sequence[RoutePolicy],
        model: str,
        act: Act,
        fixed: Place | None = None,
    ) -> None:
        self._here = here
        self._routes = routes
        self._one = routes[0] if not routes[0].route.host else None
        self._model = model
        self._act = act
        self._fixed = fixed
        self._asks = here.asks
        self._take = here.access.take
        self._granted: dict[bytes | None, Granted] = {}
        self._field = fixed is None and any(made.reads_field for made in routes)
        self._shadowed = fixed is None and any(made.route.shadows for made in routes)
        self._places: dict[int, Place] = {}  # by arm: they live as long as the routes

    def __call__(self, exchange: Exchange) -> None:
        """Answer, now or when the engine has."""
        headers = exchange.headers
        caller = b""
        try:
            if self._asks:
                granted = self._granted.get(headers.get(AUTHORIZATION))
                if (
                    granted is None
                    or (granted.until_ns and time_ns() >= granted.until_ns)
                    or (granted.own is not None and granted.own is not self._here.own)
                ):
                    granted = self._grant(headers)
                made, caller = granted.made, granted.caller
                if granted.meters:
                    self._take(granted.meters)
            else:
                made = self._one or self._pick(headers, "")
            place = self._fixed
            arm: Arm | None = None
            if place is None:
                given = parameter_of(exchange, made.reads_field) if self._field else None
                arm = made.choose(headers, given)
                place = self._places.get(id(arm)) or self._place(made.route.name, arm)
        except ModelworksError as error:
            self._here.refuse(exchange, error)
            return
        entry = place.entry
        live = entry.live if entry is not None else None
        if live is None:
            self._absent(made, place, exchange, caller)
            return
        place.cells[0] += 1
        copies = made.shadows(arm) if self._shadowed and arm is not None else ()
        if live.tap is not None:
            if copies and REQUEST_ID not in headers:
                headers = {**headers, REQUEST_ID: str(uuid7()).encode()}
            exchange.headers = place.marked(headers, caller)
        self._act(live, exchange)
        if copies:
            self._copy(exchange, (headers, caller), made.route.name, copies)

    def _grant(self, headers: dict[bytes, bytes]) -> Granted:
        """Look closely at who asks."""
        given = headers.get(AUTHORIZATION)
        here = self._here
        own = here.own
        caller = here.who(given)
        made = self._one
        if made is None or (caller.tenant and caller.tenant != made.route.tenant):
            made = self._pick(headers, caller.tenant)
        meters = here.access.meters(caller, made.route, self._model)
        mine = own if caller is ANYBODY and here.closed else None
        found = Granted(made, meters, caller.until_ns, caller.name.encode(), mine)
        if self._one is not None:  # else only the host says which route it is
            if len(self._granted) >= _KNOWN:
                self._granted.clear()
            self._granted[given] = found
        return found

    def _pick(self, headers: dict[bytes, bytes], tenant: str) -> RoutePolicy:
        host = headers.get(b"host", b"").decode("latin-1")
        for made in self._routes:
            route = made.route
            if (not tenant or route.tenant == tenant) and of_host(route.host, host):
                return made
        raise NotFoundError(f"no model '{self._model}' here", field="model")

    def _place(self, route: str, arm: Arm) -> Place:
        cells = self._here.cells(route, arm.name)
        made = Place(arm.name, self._here.entry(arm, self._model), cells)
        self._places[id(arm)] = made
        return made

    def _absent(self, made: RoutePolicy, place: Place, exchange: Exchange, caller: bytes) -> None:
        """The arm's model is not loaded: wait for it, ask the fallback, or say so."""
        entry, here, fallback = place.entry, self._here, made.route.fallback
        try:
            if entry is not None and entry.dormant:
                here.wait(entry, exchange, self._act)
                return
            other = self._place(made.route.name, made.arms[fallback]) if fallback else place
            live = other.entry.live if other.entry is not None else None
            if live is not None:
                place.cells[FALLBACKS] += 1
                if live.tap is not None:
                    exchange.headers = other.marked(exchange.headers, caller)
                self._act(live, exchange)
                return
            place.cells[ABSENT] += 1
            why = entry.reason if entry is not None else "it is not on this server's list"
            raise UnavailableError(
                f"route '{made.route.name}': the model that should answer is not ready: {why}"
            )
        except ModelworksError as error:
            here.refuse(exchange, error)

    def _copy(
        self,
        exchange: Exchange,
        came: tuple[dict[bytes, bytes], bytes],
        route: str,
        copies: Sequence[Copied],
    ) -> None:
        for copied in copies:
            place = self._places.get(id(copied.arm)) or self._place(route, copied.arm)
            if place.entry is not None:
                self._here.copy(exchange, place.copied(*came), place.entry, self._act, place.cells)
