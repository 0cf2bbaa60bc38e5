"""What the connections of one listener share: the handler, the limits, counts, the coarse clock."""

import asyncio
import time
from collections.abc import Callable, MutableSet
from typing import Any, Protocol

from modelworks.edge.answer import HeadWriter
from modelworks.edge.exchange import Handler
from modelworks.edge.head import Head, check_partial, parse_head
from modelworks.edge.limits import Limits
from modelworks.edge.request import Sampled
from modelworks.edge.varying import Shapes

_KNOWN_HEADS = 512
_KNOWN_HEAD_BYTES = 2048
_IDLE_S = 1.0  # a client between two requests is not idle yet


class Ticked(Protocol):
    """A connection as the sweep sees it."""

    def tick(self) -> None:
        """Apply the time limits."""
        ...

    def idle_s(self, now: float) -> float:
        """For how long it has been between requests; -1: it is not."""
        ...

    def make_way(self) -> bool:
        """Close for the sake of another client; False: a request is on its way."""
        ...

    def cut(self) -> None:
        """Abort."""
        ...


class Hub:
    """Shared by the connections of one listener, on one loop.

    Attributes:
        now: `time.monotonic()`, as of the last sweep; exact enough for time limits in seconds.
        connections: open ones, those that linger included.
        in_flight: requests handed to the handler and not yet answered.
        buffered: bytes of unfinished bodies, all connections together.
        reserved: bytes that the large ones of them will have, as announced.
        drain_since: when draining began, on `now`'s clock; None = not draining.
        admit: looks at a head before its body is waited for, and raises a `Refusal`; None = all
            may send theirs.
        grpc: called with every call of gRPC, an `http2.call.GrpcCall`; None = they are refused.
        http2: makes what takes over a connection that begins as one of HTTP/2; None = it is
            refused.
        traced: told of each answer to a request whose trace is kept; None = nobody is.
    """

    __slots__ = (
        "_spare",
        "_spare_of",
        "admit",
        "buffered",
        "connections",
        "drain_since",
        "grpc",
        "handler",
        "heads",
        "http2",
        "in_flight",
        "limits",
        "loop",
        "now",
        "reserved",
        "shapes",
        "traced",
        "writer",
    )

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        admit: Callable[[Head], None] | None = None,
    ) -> None:
        """Begin with no connection."""
        self.handler = handler
        self.admit = admit
        self.grpc: Callable[[Any], None] | None = None
        self.http2: Callable[[], asyncio.Protocol] | None = None
        self.traced: Callable[[Sampled, int], None] | None = None
        self.limits = limits
        self.loop = loop
        self.writer = HeadWriter()
        # Not `set`: compiled code would pass by the methods of one that counts (`sharing`).
        self.connections: MutableSet[Ticked] = set()
        self.heads: dict[bytes, Head] = {}
        self.shapes = Shapes(limits)
        self._spare: list[Ticked] = []  # idle ones, the longest idle last
        self._spare_of = 0.0  # as of which `now`
        self.in_flight = 0
        self.buffered = 0
        self.reserved = 0
        self.now = time.monotonic()
        self.drain_since: float | None = None

    def read(self, raw: bytes) -> Head:
        """What a head says, of bytes that end as one does.

        Raises:
            Refusal: it is none, or beyond the limits.
        """
        head = self.heads.get(raw) or self.shapes.read(raw)
        if head is None:
            if len(raw) > self.limits.max_header_bytes:
                check_partial(raw, self.limits)
            head = parse_head(raw, self.limits)
            self._remember(raw, head)
        return head

    def _remember(self, raw: bytes, head: Head) -> None:
        """Keep a head that came once: most come again. Bounded; begins anew when full."""
        if self.shapes.keep(raw, head) or len(raw) > _KNOWN_HEAD_BYTES:
            return
        if len(self.heads) >= _KNOWN_HEADS:
            self.heads.clear()
        self.heads[raw] = head

    def make_room(self) -> bool:
        """Close the connection that has been idle longest; False where none is to be spared.

        Looks over all connections at most once a sweep, however many clients come.
        """
        while True:
            while self._spare:
                connection = self._spare.pop()
                if connection.idle_s(self.now) >= _IDLE_S and connection.make_way():
                    return True
            if self._spare_of == self.now:
                return False
            self._spare_of = self.now
            idle = [
                (connection.idle_s(self.now), id(connection), connection)
                for connection in self.connections
            ]
            self._spare = [found[2] for found in sorted(idle) if found[0] >= _IDLE_S]

    def sweep(self) -> None:
        """Bring the clock up to date and let every connection look at its limits."""
        self.now = time.monotonic()
        self.writer.refresh()
        for connection in list(self.connections):
            connection.tick()
