"""What the connections of one listener share: the handler, the limits, counts, the coarse clock."""

import asyncio
import time
from typing import Protocol

from modelworks.edge.answer import HeadWriter
from modelworks.edge.exchange import Handler
from modelworks.edge.head import Head
from modelworks.edge.limits import Limits

_KNOWN_HEADS = 512
_KNOWN_HEAD_BYTES = 2048


class Ticked(Protocol):
    """A connection as the sweep sees it."""

    def tick(self) -> None:
        """Apply the time limits."""
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
        drain_since: when draining began, on `now`'s clock; None = not draining.
    """

    __slots__ = (
        "buffered",
        "connections",
        "drain_since",
        "handler",
        "heads",
        "in_flight",
        "limits",
        "loop",
        "now",
        "writer",
    )

    def __init__(self, handler: Handler, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        """Begin with no connection."""
        self.handler = handler
        self.limits = limits
        self.loop = loop
        self.writer = HeadWriter()
        self.connections: set[Ticked] = set()
        self.heads: dict[bytes, Head] = {}
        self.in_flight = 0
        self.buffered = 0
        self.now = time.monotonic()
        self.drain_since: float | None = None

    def remember(self, raw: bytes, head: Head) -> None:
        """Keep a head that came once: most come again. Bounded; begins anew when full."""
        if len(raw) > _KNOWN_HEAD_BYTES:
            return
        if len(self.heads) >= _KNOWN_HEADS:
            self.heads.clear()
        self.heads[raw] = head

    def sweep(self) -> None:
        """Bring the clock up to date and let every connection look at its limits."""
        self.now = time.monotonic()
        self.writer.refresh()
        for connection in list(self.connections):
            connection.tick()
