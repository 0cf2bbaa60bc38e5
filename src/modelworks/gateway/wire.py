"""One accepted socket: reading it or not, its time limits, its end."""

import asyncio
from abc import ABC, abstractmethod
from time import monotonic
from typing import cast

from modelworks.edge.connection import State
from modelworks.edge.head import Refusal
from modelworks.edge.hub import Hub
from modelworks.edge.kernel import unread_bytes
from modelworks.edge.pace import Outflow, body_is_late, idle_is_over
from modelworks.gateway.call import Call
from modelworks.gateway.incoming import Incoming

CLOSING = frozenset({State.LINGER, State.CLOSED})
"""Nothing is read for a request any more."""


class Wire(ABC):
    """What a caller's connection is before requests and answers; fulfils `hub.Ticked`.

    Args:
        hub: of the listener.
        incoming: of the requests' bodies.
        scheme: `http` or `https`, of connections that no TLS of ours ends.

    Attributes:
        state: what is read next.
        forwarded: see `Returns`.
    """

    __slots__ = (
        *("_active", "_buffer", "_call", "_client", "_eof", "_fresh", "_held", "_hub", "_incoming"),
        *("_outflow", "_partial", "_reading", "_scheme", "_since", "_transport", "forwarded"),
        "state",
    )

    _transport: asyncio.Transport

    def __init__(self, hub: Hub, incoming: Incoming, scheme: str) -> None:
        self._hub = hub
        self._incoming = incoming
        self._scheme = scheme
        self.state = State.HEAD
        self.forwarded = b""
        self._client = "unix"
        self._since = hub.now
        self._active = hub.now
        self._fresh = True  # it has brought no request yet
        self._eof = False
        self._buffer = b""
        self._partial = False  # the buffer is the beginning of a head
        self._reading = True
        self._held = False  # an upstream takes no more of the body
        self._outflow = Outflow()
        self._call: Call | None = None  # that is not answered

    @abstractmethod
    def cut(self) -> None:
        """See `Returns`, and `Ticked`."""

    @abstractmethod
    def _refused(self, refusal: Refusal) -> None:
        """Answer what cannot be read as a request, or not to its end; then close."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take part, or be refused when there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        hub = self._hub
        self._transport.set_write_buffer_limits(high=256 * 1024)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._client = peer[0]
        scheme = "https" if transport.get_extra_info("ssl_object") is not None else self._scheme
        client = f'"[{self._client}]"' if ":" in self._client else self._client
        self.forwarded = f"{client}\r\nX-Forwarded-Proto: {scheme}\r\n".encode()
        hub.connections.add(self)
        excess = len(hub.connections) - hub.limits.max_connections
        if excess > hub.limits.max_connections:
            self._transport.abort()
        elif excess > 0 and not hub.make_room():
            self._refused(Refusal(503, "too many connections", ((b"Retry-After", b"1"),)))

    def hold(self, *, held: bool) -> None:
        """See `Returns`."""
        self._held = held
        if held:
            self._pause()
        else:
            self._unpause()

    def _finish(self) -> None:
        """Close our side; keep reading for a while, lest a reset overtakes the last answer."""
        if self.state in CLOSING or self._transport.is_closing():
            return
        self.state = State.LINGER
        self._since = monotonic()
        self._incoming.forget()
        self._buffer = b""
        if self._eof or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._held = False
        self._unpause()

    def _pause(self) -> None:
        if self._reading and self.state not in CLOSING and not self._eof:
            self._reading = False
            self._transport.pause_reading()

    def _unpause(self) -> None:
        if not self._reading and not self._held and self.state is not State.CLOSED:
            self._reading = True
            self._since = monotonic()
            if not self._eof and not self._transport.is_closing():
                self._transport.resume_reading()

    # -- time; see `hub.Ticked`

    def tick(self) -> None:
        """Apply the time limits."""
        hub, state = self._hub, self.state
        limits, now = hub.limits, hub.now
        if self._call is not None:
            self._call.tick(now)
        if self._outflow.stuck(self._transport, now, limits.write_timeout_s):
            self._transport.abort()
        elif state is State.LINGER:
            taken = not self._transport.get_write_buffer_size()
            if taken and now - self._since > limits.linger_s:
                self._transport.close()
        elif state is State.BODY and self._reading:
            if body_is_late(limits, now - self._since, self._incoming.received):
                self._refused(Refusal(408, "the body came too slowly"))
        elif self._partial and self._reading:
            if now - self._since > limits.header_timeout_s:
                self._refused(Refusal(408, "the headers came too slowly"))
        elif (
            state is State.HEAD
            and self._call is None
            and idle_is_over(limits, now, self._active, hub.drain_since, fresh=self._fresh)
            and not unread_bytes(self._transport.get_extra_info("socket"))
        ):
            self._finish()

    def idle_s(self, now: float) -> float:
        """See `Ticked`."""
        if self.state is not State.HEAD or self._call is not None or self._buffer:
            return -1.0
        return now - self._active

    def make_way(self) -> bool:
        """See `Ticked`."""
        if unread_bytes(self._transport.get_extra_info("socket")):
            return False
        self._finish()
        return True
