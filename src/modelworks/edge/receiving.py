"""The unfinished body of a connection: collected in the way that suits it, counted in the hub."""

import asyncio

from modelworks.edge.body import SizedBody
from modelworks.edge.chunks import ChunkDecoder
from modelworks.edge.head import Head, Refusal
from modelworks.edge.hub import Hub
from modelworks.edge.large_body import LARGE, Connection, LargeBodies, LargeBody, aligned


class Receiving:
    """One a connection, for all its bodies in turn.

    Attributes:
        received: bytes of the present body, as counted in the hub.
    """

    __slots__ = ("_body", "_hub", "_large", "_reserved", "received")

    def __init__(self, hub: Hub) -> None:
        """No body yet."""
        self.received = 0
        self._hub = hub
        self._body: SizedBody | ChunkDecoder | LargeBody | None = None
        self._large: LargeBodies | None = None
        self._reserved = 0  # as counted in the hub

    def begin(self, head: Head, connection: Connection, transport: asyncio.Transport) -> Head:
        """The body of this head comes next.

        Returns:
            The head that goes with the body as `take` will give it.
        """
        limits = self._hub.limits
        if head.length < 0:
            self._body = ChunkDecoder(limits.max_body_bytes, limits.max_header_bytes)
        elif head.length < LARGE or (large := self._larges(head, connection, transport)) is None:
            self._body = SizedBody(head.length)
        else:
            return self._begin_large(head, large)
        return head

    def _larges(
        self, head: Head, connection: Connection, transport: asyncio.Transport
    ) -> LargeBodies | None:
        """What reads a body straight to where it will stay; None where that cannot be."""
        hub = self._hub
        if hub.reserved + head.length > hub.limits.max_buffered_bytes:
            return None
        if transport.get_extra_info("ssl_object") is not None:
            return None
        if self._large is None:
            self._large = LargeBodies(connection, transport)
        return self._large

    def _begin_large(self, head: Head, large: LargeBodies) -> Head:
        given, spaces = aligned(head)
        try:
            body = LargeBody(head.length, spaces)
        except MemoryError:
            self._body = SizedBody(head.length)
            return head
        self._body = body
        self._hub.reserved += head.length
        self._reserved = head.length
        large.expect(body)
        return given

    def feed(self, data: bytes, position: int) -> int:
        """Take from `data` at `position`; the position behind what was used.

        Raises:
            Refusal: malformed (400), too large (413), too many large ones at once (503).
        """
        body = self._body
        assert body is not None  # noqa: S101 - fed between `begin` and `take` or `drop` only
        position = body.feed(data, position)
        if not body.done:
            hub, held = self._hub, body.held
            hub.buffered += held - self.received
            self.received = held
            if hub.buffered > hub.limits.max_buffered_bytes:
                raise Refusal(503, "too many large bodies at once", ((b"Retry-After", b"1"),))
        return position

    def take(self) -> bytes | None:
        """The body, which is then no longer here; None while it is not complete."""
        body = self._body
        if body is None or not body.done:
            return None
        self.drop()
        return body.body()

    def drop(self) -> None:
        """Keep nothing of the present body, if there is one."""
        hub = self._hub
        hub.buffered -= self.received
        self.received = 0
        self._body = None
        if self._large is not None:
            self._large.forget()
            hub.reserved -= self._reserved
            self._reserved = 0

    def end(self) -> None:
        """The connection is lost."""
        self.drop()
        self._large = None
