"""One client connection that speaks HTTP/2 (RFC 9113): bytes in, streams opened, fed and ended."""

import asyncio
import logging
from time import monotonic
from typing import Final, cast

from modelworks.edge.http2.control import Control
from modelworks.edge.http2.frames import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    FIRST_WINDOW,
    INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR,
    LARGEST_WINDOW,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    NO_ERROR,
    PING,
    SETTINGS_TIMEOUT,
    Fault,
    frame,
    goaway,
    settings,
    window_update,
)
from modelworks.edge.http2.reader import WINDOW, Reader
from modelworks.edge.http2.stream import PATIENCE, STREAM_WINDOW, Session
from modelworks.edge.hub import Hub
from modelworks.edge.journal import Journal
from modelworks.edge.kernel import hung_up, unread_bytes
from modelworks.edge.pace import Outflow, idle_is_over

_log = logging.getLogger(__name__)
_PROBE: Final = b"anybody?"
_REGAINED: Final = 200  # of the patience, at each sweep


class Http2Connection:
    """The protocol of a socket from the connection preface on.

    An `asyncio.Protocol` in all but its base class: with that it could not be compiled.
    """

    __slots__ = (
        *(
            "_active",
            "_control",
            "_hub",
            "_journal",
            "_lingering",
            "_outflow",
            "_parting",
            "_probed",
        ),
        *("_reader", "_session", "_since", "_transport"),
    )

    _transport: asyncio.Transport
    _session: Session
    _control: Control
    _reader: Reader

    def __init__(self, hub: Hub, journal: Journal | None = None) -> None:
        """Made when a connection begins with the preface."""
        self._hub = hub
        self._journal = journal
        self._active = hub.now
        self._since = hub.now  # when the connection, or its end, began
        self._probed = 0.0  # when a PING asked whether the client is there
        self._parting = 0.0  # when the first GOAWAY of a drain was sent
        self._lingering = False  # our side is closed; what comes is thrown away
        self._outflow = Outflow()

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what a client may do."""
        hub = self._hub
        self._transport = cast("asyncio.Transport", transport)  # a stream server makes these
        self._transport.set_write_buffer_limits(high=hub.limits.write_high_water)
        hub.connections.add(self)
        self._session = session = Session(hub, self._transport, self._journal)
        self._control = Control(session)
        self._reader = Reader(session, self._control)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            session.client = peer[0]
        session.write(
            settings(
                (
                    (MAX_CONCURRENT_STREAMS, hub.limits.max_streams),
                    (INITIAL_WINDOW_SIZE, STREAM_WINDOW),
                    (MAX_HEADER_LIST_SIZE, hub.limits.max_header_bytes),
                )
            )
            + window_update(0, WINDOW - FIRST_WINDOW)
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who still works for this client."""
        del exc
        self._hub.connections.discard(self)
        self._lingering = True
        self._lose_all()

    def eof_received(self) -> bool:
        """The client has left: HTTP/2 has its own ways to say that no more requests come."""
        self._lose_all()
        return False

    def pause_writing(self) -> None:
        """The client does not take its answers: read nothing further from it."""
        self._outflow.open = self._session.open = False
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client takes its answers again."""
        self._outflow.open = self._session.open = True
        self._session.pump()
        if self._outflow.open and not self._transport.is_closing():  # what waited may fill it again
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes of frames."""
        if self._lingering:
            return
        self._active = self._hub.now
        session = self._session
        session.gathering = True  # what is written by what comes leaves together
        try:
            self._reader.feed(data)
        except Fault as fault:
            self._fail(fault)
        except Exception:  # noqa: BLE001 - one connection fails, not the server
            _log.exception("a connection of HTTP/2 failed")
            self._fail(Fault(INTERNAL_ERROR, "internal error"))
        finally:
            session.flush()

    # -- the end

    def _lose_all(self) -> None:
        for number in list(self._session.streams):
            self._session.lose(number)

    def _fail(self, fault: Fault) -> None:
        """Say what was wrong, and close."""
        self._session.write(goaway(self._session.last, fault.code, fault.message))
        self._lose_all()
        self._linger()

    def _finish(self) -> None:
        """Say that no further stream is taken, and close."""
        self._session.write(goaway(self._session.last, NO_ERROR))
        self._linger()

    def _linger(self) -> None:
        """Close our side; keep reading for a while, lest a reset overtakes what was said."""
        self._session.flush()
        self._reader.drop()
        if self._lingering or self._transport.is_closing():
            return
        self._lingering = True
        self._since = monotonic()
        if not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._transport.resume_reading()

    # -- time

    def tick(self) -> None:
        """Apply the time limits; called by the sweep."""
        hub, session = self._hub, self._session
        limits, now = hub.limits, hub.now
        session.patience = min(PATIENCE, session.patience + _REGAINED)
        if self._outflow.stuck(self._transport, now, limits.write_timeout_s) or self._left():
            self._transport.abort()
        elif self._lingering:
            taken = not self._transport.get_write_buffer_size()
            if taken and now - self._since > limits.linger_s:
                self._transport.close()
        elif not self._control.settled and now - self._since > limits.header_timeout_s:
            self._fail(Fault(SETTINGS_TIMEOUT, "no SETTINGS came"))
        elif self._outflow.open and self._reader.late(now):
            self._fail(Fault(ENHANCE_YOUR_CALM, "a frame came too slowly"))
        else:
            self._tick_streams()

    def _tick_streams(self) -> None:
        hub, session = self._hub, self._session
        limits, now = hub.limits, hub.now
        for stream in session.stuck(limits.write_timeout_s):
            session.end(stream.id, CANCEL)
        for stream in list(session.streams.values()):
            stream.late(now)
        if hub.drain_since is not None:
            self._part()
        if session.streams:
            self._probe()
            return
        over = idle_is_over(limits, now, self._active, None, fresh=False)
        over = over and not unread_bytes(self._transport.get_extra_info("socket"))
        if over or self._reader.closing or self._control.leaving:
            self._finish()

    def _probe(self) -> None:
        """See whether a client that waits for answers, and sends nothing, is there at all."""
        limits, now = self._hub.limits, self._hub.now
        if now - self._active <= limits.idle_timeout_s:
            return
        if self._probed <= self._active:  # something came since
            self._probed = now
            self._session.write(frame(PING, 0, 0, _PROBE))
        elif now - self._probed > limits.write_timeout_s and self._outflow.open:
            self._transport.abort()

    def _part(self) -> None:
        """Drain (RFC 9113, 6.8): first say so; when the client has heard it, from where on."""
        session, now = self._session, self._hub.now
        if not self._parting:
            self._parting = now
            session.write(goaway(LARGEST_WINDOW, NO_ERROR))
        elif not self._reader.closing and now - self._parting > self._hub.limits.drain_linger_s:
            self._reader.closing = True
            if session.streams:  # else it is said when the connection is closed
                session.write(goaway(session.last, NO_ERROR))

    def _left(self) -> bool:
        """Whether the client has left while we do not read."""
        return not self._outflow.open and hung_up(self._transport.get_extra_info("socket"))

    def idle_s(self, now: float) -> float:
        """For how long no stream is open and nothing of a frame is here; -1: not so."""
        if self._lingering or self._session.streams or not self._reader.between:
            return -1.0
        return now - self._active

    def make_way(self) -> bool:
        """Close for the sake of another client, unless something is on its way."""
        if unread_bytes(self._transport.get_extra_info("socket")):
            return False
        self._finish()
        return True

    def cut(self) -> None:
        """End the connection at once."""
        self._transport.abort()
