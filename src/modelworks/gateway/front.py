"""What the callers of one worker share: the table in force, the counts, the shadows."""

import asyncio
from dataclasses import dataclass
from time import monotonic

from modelworks.core.errors import NotFoundError, UnavailableError
from modelworks.edge.head import Head
from modelworks.edge.hub import Hub
from modelworks.edge.journal import Journal
from modelworks.gateway.counts import Counts
from modelworks.gateway.forward import Forward
from modelworks.gateway.paths import Asked
from modelworks.gateway.shadows import Shadows
from modelworks.gateway.table import Known, Table


@dataclass(frozen=True, slots=True)
class Ways:
    """How a gateway goes about it.

    Attributes:
        replay: bytes of a request's body that are kept, so that it can be sent again; a longer
            one is streamed, and neither repeated nor copied.
        silence_s: an upstream that says nothing for so long is given up.
        trusted: what callers say of earlier proxies is believed and passed on.
    """

    replay: int = 1024 * 1024
    silence_s: float = 300.0
    trusted: bool = False


class Front:
    """One worker's front.

    Args:
        ways: of it.
        counts: of the process.
        shadows: who take copies.
        journal: of the access log; None = none is kept.

    Attributes:
        table: in force; None until the first snapshot came.
        loop: that it runs on, from `begin`.
        hub: of the callers' listener; None before the first of them came.
        swapped: when the table came, on the same clock.
    """

    __slots__ = ("counts", "hub", "journal", "loop", "shadows", "swapped", "table", "ways")

    loop: asyncio.AbstractEventLoop

    def __init__(
        self, ways: Ways, counts: Counts, shadows: Shadows, journal: Journal | None = None
    ) -> None:
        self.ways = ways
        self.counts = counts
        self.shadows = shadows
        self.journal = journal
        self.table: Table | None = None
        self.hub: Hub | None = None
        self.swapped = 0.0

    @property
    def now(self) -> float:
        """`time.monotonic()`, as of the last sweep."""
        return self.hub.now if self.hub is not None else monotonic()

    def swap(self, table: Table) -> None:
        """Go by another table from the next request on; what is under way keeps its own."""
        old, self.table = self.table, table
        self.swapped = monotonic()
        if old is not None:
            for url, place in old.places.items():
                if url not in table.places:
                    place.close()

    def let_in(self, head: Head, raw: bytes) -> Known:
        """Who answers a request, if its caller may ask at all; it is counted then.

        Raises:
            ModelworksError: it is not let in; see `protocol.problems`.
        """
        table = self.table
        if table is None:
            raise UnavailableError("the gateway has no routes yet: it waits for its first snapshot")
        access = table.access
        headers = head.headers
        caller = access.who(headers.get(b"authorization"))
        known = table.known.get((raw, caller.tenant))
        if known is None:
            known = self._find(table, head, caller.tenant)
            table.keep(raw, caller.tenant, known)
        access.admit(caller, known.state.route, known.model)
        return known

    def _find(self, table: Table, head: Head, tenant: str) -> Known:
        asked = Asked(head.path)
        host = head.headers.get(b"host", b"").decode("latin-1")
        policy = table.policy.find(asked.model, host, asked.path, tenant)
        if policy is None:
            what = f"the model '{asked.model}'" if asked.model else f"'{asked.path[:120]}'"
            raise NotFoundError(f"no route leads to {what}", field="path")
        forward = Forward(head, asked, trusted=self.ways.trusted, keyless=table.access.closed)
        return Known(forward, table.routes[policy.route.name], asked.model)
