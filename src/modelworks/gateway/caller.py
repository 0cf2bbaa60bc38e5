"""One caller's connection: requests in, one after the other, answers out as they come.

The next request of a connection is not read before the last one is answered: pipelined ones wait
in the kernel. Bodies up to `Ways.replay` are collected (so a slow caller holds no upstream, and the
request can be sent again); longer ones are passed on piece by piece, at the slower side's pace.
"""

import asyncio
import logging
from time import monotonic, perf_counter_ns
from typing import Final, cast

from modelworks.core.errors import ModelworksError
from modelworks.edge.answer import BODILESS, CONTINUE, JSON
from modelworks.edge.connection import State
from modelworks.edge.head import Head, Refusal, check_partial
from modelworks.edge.hub import Hub
from modelworks.edge.journal import GONE
from modelworks.edge.kernel import unread_bytes
from modelworks.edge.pace import Outflow, body_is_late, idle_is_over
from modelworks.gateway.answer_head import AnswerHead
from modelworks.gateway.bodies import LAST_CHUNK, chunk
from modelworks.gateway.call import Call
from modelworks.gateway.front import Front
from modelworks.gateway.incoming import Incoming
from modelworks.gateway.own import Own
from modelworks.gateway.returns import BAD_GATEWAY, BadGatewayError
from modelworks.protocol.problems import error_body, problem

_log = logging.getLogger(__name__)
_LARGE: Final = 64 * 1024
_HEAD, _BODY, _LAST = State.HEAD, State.BODY, State.LAST
_CLOSE: Final = b"Connection: close\r\n"


class Caller:
    """The protocol of one accepted socket; fulfils `Returns` and `hub.Ticked`.

    Args:
        hub: of the listener.
        front: of the worker.
        own: what the gateway answers itself.
        scheme: `http` or `https`.
    """

    __slots__ = (
        *("_active", "_buffer", "_call", "_chunked", "_client", "_eof", "_fresh", "_front"),
        *("_head", "_held", "_hub", "_incoming", "_keep", "_outflow", "_own", "_partial"),
        *("_reading", "_received_ns", "_scheme", "_since", "_transport", "forwarded", "state"),
    )

    _transport: asyncio.Transport
    _head: Head

    def __init__(self, hub: Hub, front: Front, own: Own, scheme: str = "http") -> None:
        self._hub = hub
        self._front = front
        front.hub = hub
        self._own = own
        self._scheme = scheme
        self.state = State.HEAD
        self.forwarded = b""
        self._client = "unix"
        self._since = hub.now
        self._active = hub.now
        self._fresh = True
        self._eof = False
        self._buffer = b""
        self._partial = False
        self._reading = True
        self._held = False  # an upstream takes no more of the body
        self._outflow = Outflow()
        self._call: Call | None = None  # that is not answered
        self._incoming = Incoming(hub, front.ways.replay)
        self._received_ns = 0
        self._keep = True
        self._chunked = False

    # -- what the transport calls

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

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller is gone: nobody waits for its answer."""
        del exc
        self.state = State.CLOSED
        self._hub.connections.discard(self)
        self._incoming.forget()
        call = self._call
        if call is not None:
            self._note(GONE if not call.begun else call.status, call.given)
            call.gone()
            self._ended()

    def eof_received(self) -> bool:
        """The caller sends no more; what it is owed it still gets."""
        if self.state is State.LINGER:
            return False
        self._eof = True
        if self._partial or self._incoming.open:
            self._refused(Refusal(400, "the request ended before its time"))
            return self.state is not State.CLOSED
        return self._call is not None or bool(self._buffer)

    def pause_writing(self) -> None:
        """The caller does not take its answer: the upstream is read no further."""
        self._outflow.open = False
        if self._call is not None:
            self._call.pause(paused=True)

    def resume_writing(self) -> None:
        """It takes more."""
        self._outflow.open = True
        if self._call is not None:
            self._call.pause(paused=False)
        else:
            self._next()

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        self._active = self._hub.now
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        self._consume(data, 0)

    # -- requests

    def _consume(self, data: bytes, position: int) -> None:
        size = len(data)
        try:
            while position < size:
                state = self.state
                if state is _HEAD:
                    if self._call is not None or not self._outflow.open:
                        self._buffer = data[position:]
                        self._pause()
                        return
                    position = self._take_head(data, position)
                elif state is _BODY:
                    position = self._take_body(data, position)
                else:
                    return
        except Refusal as refusal:
            self._refused(refusal)

    def _take_head(self, data: bytes, position: int) -> int:
        end = data.find(b"\r\n\r\n", position) + 4
        if end == 3 or data[position] == 13:
            return self._take_partial(data, position)
        raw = data[position:end]
        hub = self._hub
        self._head = head = hub.read(raw)
        self._partial = False
        self._fresh = False
        self._received_ns = perf_counter_ns()
        self._incoming.received = 0
        self._keep = head.keep_alive and head.modern
        if not self._keep:
            self.state = _LAST
        own = self._own.answers.get(head.path)
        if own is not None:
            self._answer_own(head, own(head))
            return end + head.length if head.length >= 0 else len(data)
        try:
            known = self._front.let_in(head, raw)
        except ModelworksError as error:
            return self._refuse_at(head, error, data, end)
        self._call = call = Call(self._front, self, head, known)
        hub.in_flight += 1
        stop = end + head.length
        if end <= stop <= len(data) and head.length <= self._front.ways.replay:
            self._incoming.received = head.length
            call.begin(data[end:stop], whole=True)
            return stop
        self._begin_body(head, call, waiting=end == len(data))
        return end

    def _refuse_at(self, head: Head, error: ModelworksError, data: bytes, end: int) -> int:
        """Answer in place of an upstream; a body that is not here yet is not waited for."""
        stop = end + head.length
        if not end <= stop <= len(data):
            self._keep = False
            stop = len(data)
        self._refusal(error)
        return stop

    def _take_partial(self, data: bytes, position: int) -> int:
        size = len(data)
        while data.startswith(b"\r\n", position):
            position += 2
        rest = data[position:]
        if rest in {b"", b"\r"}:
            self._buffer = rest
            return size
        if rest[0] != 13 and b"\r\n\r\n" in rest:
            return position
        check_partial(rest, self._hub.limits)
        if not self._partial:
            self._partial = True
            self._since = monotonic()
        self._buffer = rest
        return size

    def _begin_body(self, head: Head, call: Call, *, waiting: bool) -> None:
        self._since = monotonic()
        self.state = _BODY
        if head.expects and waiting:
            self._transport.write(CONTINUE)
        self._incoming.begin(head, call)

    def _take_body(self, data: bytes, position: int) -> int:
        incoming = self._incoming
        position = incoming.feed(data, position)
        if not incoming.open:
            self.state = _HEAD if self._keep else _LAST
        if self._call is not None:  # else it was answered before the body's end
            incoming.hand_on(self._call)
        return position

    # -- answers; see `Returns`

    def answer(self, head: AnswerHead, piece: bytes, *, done: bool) -> None:
        """See `Returns`."""
        framing, self._chunked, ends = head.framing(modern=self._head.modern)
        if head.status in BODILESS and head.status != 304:
            framing = b""
        call = self._call
        assert call is not None  # noqa: S101 - it is being answered
        close = b""
        if ends or not self._keep or self._incoming.open or self._hub.drain_since is not None:
            self._keep = False
            close = _CLOSE
        begin = b"%bX-Request-Id: %b\r\n%b%b\r\n" % (head.lines, call.id, framing, close)
        if not piece:
            self._transport.write(begin + LAST_CHUNK if done and self._chunked else begin)
        elif self._chunked:
            self._transport.write(begin + chunk(piece) + (LAST_CHUNK if done else b""))
        elif len(piece) > _LARGE:
            self._transport.writelines((begin, piece))
        else:
            self._transport.write(begin + piece)
        if done:
            self._answered()

    def more(self, piece: bytes, *, done: bool) -> None:
        """See `Returns`."""
        if self._chunked:
            piece = chunk(piece) + (LAST_CHUNK if done else b"")
        if piece:
            self._transport.write(piece)
        if done:
            self._answered()

    def refuse(self, error: ModelworksError) -> None:
        """See `Returns`."""
        self._refusal(error)

    def cut(self) -> None:
        """See `Returns`, and `Ticked`."""
        call = self._call
        if call is not None:
            self._note(call.status or GONE, call.given)
            call.gone()
            self._ended()
        self._transport.abort()

    def hold(self, *, held: bool) -> None:
        """See `Returns`."""
        self._held = held
        if held:
            self._pause()
        else:
            self._unpause()

    def _refusal(self, error: ModelworksError) -> None:
        status, body, headers = problem(error)
        if isinstance(error, BadGatewayError):
            status, headers = BAD_GATEWAY, ()
        call = self._call
        counts = call.counts if call is not None else self._front.counts.route("")
        counts.refuse(status)
        self._write_own(status, body, JSON, headers)

    def _answer_own(self, head: Head, answer: tuple[int, bytes, bytes]) -> None:
        if head.length:
            self._keep = False  # whoever sends a body there means something else
        self._write_own(*answer, ())

    def _write_own(
        self, status: int, body: bytes, kind: bytes, headers: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        call, head = self._call, self._head
        if call is not None:
            headers = (*headers, (b"X-Request-Id", call.id))
        if self._incoming.open or self._hub.drain_since is not None:
            self._keep = False
        connection = b"" if self._keep else b"close"
        start = self._hub.writer.head(status, len(body), kind, headers, connection)
        self._transport.write(start if head.method == b"HEAD" else start + body)
        self._note(status, len(body))
        if call is not None:
            self._ended()
        self._over()

    def _answered(self) -> None:
        """The answer is complete."""
        call = self._call
        assert call is not None  # noqa: S101 - it was being answered
        if self._front.journal is not None:
            self._note(call.status, call.given)
        self._ended()
        self._over()

    def _ended(self) -> None:
        """No answer is owed."""
        self._call = None
        self._hub.in_flight -= 1
        self._held = False

    def _over(self) -> None:
        """What comes after an answer."""
        self._active = self._hub.now
        if not self._keep:
            self._finish()
        elif self._buffer or not self._reading or self._eof:
            # Not from inside an upstream's data: a chain of pipelined requests must not nest.
            self._hub.loop.call_soon(self._next)

    def _next(self) -> None:
        """Go on reading where we stopped."""
        if self._call is not None or self.state in {State.LINGER, State.CLOSED}:
            return
        if not self._outflow.open:
            return
        self._unpause()
        if self._buffer and not self._partial:
            data, self._buffer = self._buffer, b""
            self._consume(data, 0)
        if self._eof and self._call is None and self.state is State.HEAD:
            self._finish()

    def _refused(self, refusal: Refusal) -> None:
        """Answer what cannot be read as a request, or not to its end; then close."""
        call = self._call
        self._incoming.forget()
        self._buffer = b""
        self._partial = False
        self._keep = False
        if call is not None and call.begun:
            self.cut()
            return
        if call is not None:
            call.gone()
            self._ended()
        self._front.counts.route("").refuse(refusal.status)
        body = error_body(refusal.message)
        start = self._hub.writer.head(refusal.status, len(body), JSON, refusal.headers, b"close")
        self._transport.write(start + body)
        self._finish()

    def _note(self, status: int, given: int) -> None:
        journal = self._front.journal
        if journal is None:
            return
        entries, head = journal.entries, self._head
        if len(entries) >= journal.bound:
            journal.dropped += 1
            return
        line = (self._client, head.method, head.path, head.headers, head.modern)
        now = perf_counter_ns()
        entries.append((*line, self._received_ns, now, status, self._incoming.received, given))

    # -- the connection

    def _finish(self) -> None:
        """Close our side; keep reading for a while, lest a reset overtakes the last answer."""
        if self.state in {State.LINGER, State.CLOSED} or self._transport.is_closing():
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
        if self._reading and self.state not in {State.LINGER, State.CLOSED} and not self._eof:
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
        elif state is _BODY and self._reading:
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
