"""One client connection: bytes in, requests to the handler, answers out in order.

The hot path makes one object a request and no task, future or timer. Heads are cut out of the
stream whole, so the last head of a connection (and the recent ones of the listener) need no
second parse: keep-alive clients send the same bytes again and again.
"""

import asyncio
import logging
from collections import deque
from enum import StrEnum
from time import monotonic
from typing import cast

from modelworks.edge.answer import BODILESS, CONTINUE, JSON, error_body
from modelworks.edge.exchange import Headers
from modelworks.edge.head import Head, Refusal, check_partial
from modelworks.edge.hub import Hub
from modelworks.edge.inflate import inflate
from modelworks.edge.journal import GONE
from modelworks.edge.kernel import hung_up, unread_bytes
from modelworks.edge.pace import Outflow, body_is_late, idle_is_over
from modelworks.edge.receiving import Receiving
from modelworks.edge.request import Echoing, Request, Sampled
from modelworks.edge.streams import HttpStream

_log = logging.getLogger(__name__)
_LARGE = 64 * 1024  # a body above it is written beside its head, not copied behind it
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\n"
_CHUNKED = (b"Transfer-Encoding", b"chunked")
_EDGE_HEAD = Head(b"", b"", b"", {}, 0, keep_alive=False, modern=True, expects=False, coding="")


class State(StrEnum):
    """What the next byte of a connection is."""

    HEAD = "head"  # of a request; between requests the connection is idle
    BODY = "body"
    LAST = "last"  # no further request is read; answers are still owed
    LINGER = "linger"  # our side is closed; bytes are read and thrown away
    CLOSED = "closed"


_HEAD, _LAST = State.HEAD, State.LAST  # a name is found faster than an attribute of an enum


class Connection:
    """The protocol of one accepted socket.

    An `asyncio.Protocol` in all but its base class: with that it could not be compiled.
    """

    __slots__ = (
        *("_active", "_buffer", "_continue", "_eof", "_fresh", "_head", "_hub", "_outflow"),
        *("_partial", "_queue", "_reading", "_receiving", "_since", "_stream", "_transport"),
        "state",
    )

    _transport: asyncio.Transport

    def __init__(self, hub: Hub) -> None:
        """Made by the listener for every accepted socket."""
        self._hub = hub
        self.state = State.HEAD
        self._since = hub.now  # when the present head, body or linger began
        self._active = hub.now  # when the last bytes came
        self._fresh = True  # no request yet
        self._eof = False  # the client has closed its side
        self._queue: deque[Request] = deque()
        self._buffer = b""  # read and not yet used: a partial head, or requests held back
        self._partial = False  # the buffer is the beginning of a head
        self._head = _EDGE_HEAD
        self._receiving = Receiving(hub)
        self._continue = False  # a `100 Continue` is owed behind earlier answers
        self._reading = True
        self._outflow = Outflow()
        self._stream: HttpStream | None = None  # the answer that is being sent piece by piece

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take part, or be refused when there are too many."""
        self._transport = cast("asyncio.Transport", transport)  # a stream server makes these
        hub = self._hub
        self._transport.set_write_buffer_limits(high=hub.limits.write_high_water)
        hub.connections.add(self)
        excess = len(hub.connections) - hub.limits.max_connections
        if excess > hub.limits.max_connections:
            self._transport.abort()  # not even the refusals fit
        elif excess > 0 and not hub.make_room():
            self._refuse(Refusal(503, "too many connections", ((b"Retry-After", b"1"),)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who still holds a request of this client."""
        del exc
        self.state = State.CLOSED
        self._hub.connections.discard(self)
        self._receiving.end()
        waiting, self._queue = self._queue, deque()
        self._hub.in_flight -= len(waiting)
        self._stream = None
        for request in waiting:
            request.gone = True
            if isinstance(request.kept, HttpStream):
                request.streamed(GONE if not request.kept.begun else request.kept.status)
                request.kept.lost()
            call, request.on_gone = request.on_gone, None
            if call is not None:
                try:
                    call()
                except Exception:  # noqa: BLE001 - the others must be told too
                    _log.exception("what was to be told of a client that left failed")

    def eof_received(self) -> bool:
        """The client sends no more; what it is owed it still gets (RFC 9112, 9.6)."""
        if self.state is State.LINGER:
            return False  # both sides are closed now
        self._eof = True
        if self._queue and (self._stream is not None or self._queue[0].leaves):
            self._transport.abort()
            return False
        if self.state is State.BODY or self._partial:
            self._refuse(Refusal(400, "the request ended before its time"))
            return self.state is not State.CLOSED
        if not self._queue:
            return False
        if self._buffer in {b"", b"\r"}:  # else requests are held back, and still answered
            self.state = State.LAST
        return True

    def pause_writing(self) -> None:
        """The client does not take its answers: read no further requests from it."""
        self._outflow.open = False
        if self._stream is None:  # else whoever writes is told, and reading shows who leaves
            self._pause()

    def resume_writing(self) -> None:
        """The client takes its answers again."""
        self._outflow.open = True
        if self._stream is not None:
            self._stream.drained()
        self._unblock()

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        hub = self._hub
        self._active = hub.now
        if self.state is _HEAD and self._reading and not self._buffer:
            end = data.find(b"\r\n\r\n") + 4
            raw = data[:end]
            head = hub.heads.get(raw) or hub.shapes.read(raw)
            if head is not None and head.usual and end + head.length == len(data):
                # The hot path: one whole request, its head word for word as one before it.
                self._dispatch(head, data[end:])
                return
            if head is not None and head.sampled and end + head.length == len(data):
                self._dispatch(head, data[end:], Sampled)
                return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        self._consume(data)

    def body_grew(self) -> None:
        """Bytes of a large body were read, past `data_received`."""
        self._active = self._hub.now
        try:
            self._take_body(b"", 0)
        except Refusal as refusal:
            self._refuse(refusal)

    # -- requests

    def _consume(self, data: bytes) -> None:
        position, size = 0, len(data)
        try:
            while position < size:
                state = self.state
                if state is State.HEAD:
                    if not self._reading:
                        self._buffer = data[position:]
                        return
                    position = self._take_head(data, position)
                elif state is State.BODY:
                    position = self._take_body(data, position)
                else:
                    return  # nothing that comes now is read as a request
        except Refusal as refusal:
            if not (self._fresh and data.startswith(_HTTP2) and self._hand_over(data)):
                self._refuse(refusal)

    def _hand_over(self, data: bytes) -> bool:
        """Leave the connection to HTTP/2 if its client begins so, or may; False: it does not."""
        make = self._hub.http2
        if make is None or not _PREFACE.startswith(data[: len(_PREFACE)]):
            return False
        if len(data) < len(_PREFACE):
            if not self._partial:
                self._partial = True
                self._since = monotonic()
            self._buffer = data
            return True
        self.state = State.CLOSED
        self._receiving.end()
        other = make()
        self._transport.set_protocol(other)
        other.connection_made(self._transport)
        self._hub.connections.discard(self)
        other.data_received(data)
        return True

    def _take_head(self, data: bytes, position: int) -> int:
        end = data.find(b"\r\n\r\n", position) + 4
        if end == 3 or data[position] == 13:  # no end, or an empty line (CR) first
            return self._take_partial(data, position)
        raw = data[position:end]
        self._head = head = self._hub.read(raw)
        self._partial = False
        stop = end + head.length
        if end <= stop <= len(data):
            self._dispatch(head, data[end:stop], _kind(head))
            return stop
        self._begin_body(head, waiting=end == len(data))
        return end

    def _take_partial(self, data: bytes, position: int) -> int:
        """Keep the beginning of a head; refuse at once what can never become one."""
        size = len(data)
        while data.startswith(b"\r\n", position):  # RFC 9112, 2.2: empty lines are skipped
            position += 2
        rest = data[position:]
        if rest in {b"", b"\r"}:
            self._buffer = rest
            return size
        if rest[0] != 13 and b"\r\n\r\n" in rest:
            return position  # a whole head behind empty lines
        check_partial(rest, self._hub.limits)
        if not self._partial:
            self._partial = True
            self._since = monotonic()
        self._buffer = rest
        return size

    def _begin_body(self, head: Head, *, waiting: bool) -> None:
        admit = self._hub.admit
        if admit is not None:
            admit(head)
        self._since = monotonic()
        self.state = State.BODY
        self._head = self._receiving.begin(head, self, self._transport)
        if head.expects and waiting:
            if self._queue:
                self._continue = True
            else:
                self._transport.write(CONTINUE)

    def _take_body(self, data: bytes, position: int) -> int:
        self._continue = False
        position = self._receiving.feed(data, position)
        body = self._receiving.take()
        if body is not None:
            self.state = State.HEAD
            self._dispatch(self._head, body, _kind(self._head))
        return position

    def _dispatch(self, head: Head, body: bytes, made: type[Request] = Request) -> None:
        hub = self._hub
        if head.coding:
            body = inflate(body, head.coding, hub.limits.max_inflated_bytes)
        request = made(self, head, body)
        queue = self._queue
        queue.append(request)
        hub.in_flight += 1
        self._fresh = False
        if not head.keep_alive:
            self.state = State.LAST
        elif len(queue) >= hub.limits.max_pipelined:
            self._pause()
        try:
            hub.handler(request)
        except Exception:  # noqa: BLE001 - one request fails, not the server
            _log.exception("the handler failed on %r", head.path)
            if not request.answered:
                request.reply(500, error_body("internal error: see the server's log"), JSON)
            elif isinstance(request.kept, HttpStream):
                request.kept.cut()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer in place of the handler, behind what is owed already; then close."""
        self._receiving.drop()
        self._buffer = b""
        self._partial = self._continue = False
        self.state = State.LAST
        request = Request(self, _EDGE_HEAD, b"")
        self._queue.append(request)
        self._hub.in_flight += 1
        request.reply(refusal.status, error_body(refusal.message), JSON, refusal.headers)

    # -- answers

    def answered(
        self, request: Request, status: int, body: bytes, content_type: bytes, headers: Headers
    ) -> None:
        """Send an answer and those kept behind it; keep it when earlier ones are missing."""
        queue = self._queue
        if queue[0] is not request:
            request.kept = (status, body, content_type, headers)
            return
        queue.popleft()
        hub = self._hub
        hub.in_flight -= 1
        start = None
        if request.usual and self.state is _HEAD and hub.drain_since is None and status == 200:
            start = hub.writer.usual.get((content_type, headers) if headers else content_type)
        if start is not None and len(body) < _LARGE:
            self._transport.write(b"%b%d\r\n\r\n%b" % (start, len(body), body))
        else:
            self._send(request, status, body, content_type, headers)
        if queue:
            self._follow()
        if not self._reading:
            self._unblock()
        if self._continue and not queue and self.state is not State.LAST:
            self._continue = False
            self._transport.write(CONTINUE)

    def _follow(self) -> None:
        """Send the answers that waited for an earlier one."""
        queue, hub = self._queue, self._hub
        while queue and (kept := queue[0].kept) is not None:
            if isinstance(kept, HttpStream):
                if not kept.begun:
                    self._begin_stream(kept)
                return
            request = queue.popleft()
            hub.in_flight -= 1
            self._send(request, *kept)

    def streamed(
        self, request: Request, status: int, content_type: bytes, headers: Headers
    ) -> HttpStream:
        """Begin an answer that is sent piece by piece, or keep it until earlier ones are sent."""
        stream = HttpStream(
            self, request.method, status, content_type, headers, modern=request.modern
        )
        if request.gone:
            stream.gone = True
            return stream
        request.kept = stream
        if self._queue[0] is request:
            self._begin_stream(stream)
        return stream

    def _begin_stream(self, stream: HttpStream) -> None:
        hub = self._hub
        last = len(self._queue) == 1 and (
            self.state is _LAST or (hub.drain_since is not None and self._quiet())
        )
        if stream.endless:
            last = True
            self._receiving.drop()
            self._buffer = b""
            self._partial = self._continue = False
        if last:
            self.state = State.LAST
        connection = b"close" if last else b""
        headers = (*stream.headers, _CHUNKED) if stream.chunked else stream.headers
        head = hub.writer.head(stream.status, -1, stream.content_type, headers, connection)
        self._stream = stream
        self._transport.set_write_buffer_limits(high=0)  # every piece leaves at once
        stream.begin(self._transport, head, hub.now)
        if self._eof and self._stream is stream:
            self._transport.abort()

    def stream_done(self, stream: HttpStream) -> None:
        """See `streams.Owner`."""
        hub = self._hub
        self._stream = None
        self._active = hub.now
        self._transport.set_write_buffer_limits(high=hub.limits.write_high_water)
        request = self._queue.popleft()
        hub.in_flight -= 1
        request.streamed(stream.status)
        if stream.endless or (not self._queue and self.state is State.LAST):
            self._finish()
            return
        if not self._outflow.open:
            self._pause()
        self._follow()
        if not self._reading:
            self._unblock()
        if self._continue and not self._queue and self.state is not State.LAST:
            self._continue = False
            self._transport.write(CONTINUE)

    def traced(self, request: Sampled, status: int) -> None:
        """See `Answers`."""
        tell = self._hub.traced
        if tell is not None:
            try:
                tell(request, status)
            except Exception:  # noqa: BLE001 - it is answered already
                _log.exception("what was to be told of a traced request failed")

    def _send(
        self, request: Request, status: int, body: bytes, content_type: bytes, headers: Headers
    ) -> None:
        hub = self._hub
        last = not self._queue and (
            self.state is _LAST or (hub.drain_since is not None and self._quiet())
        )
        connection = b"close" if last else b"" if request.modern else b"keep-alive"
        bare = request.method == b"HEAD" or status in BODILESS
        head = hub.writer.head(status, len(body), content_type, headers, connection)
        if request.usual and status == 200:
            hub.writer.keep(content_type, headers)
        if bare:
            self._transport.write(head)
        elif len(body) > _LARGE:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head + body)
        if last:
            self._finish()

    def _quiet(self) -> bool:
        """Between two requests, with nothing of the next one here."""
        return self.state is State.HEAD and not self._buffer

    def _finish(self) -> None:
        """Close our side; keep reading for a while, lest a reset overtakes the last answer."""
        if self.state in {State.LINGER, State.CLOSED} or self._transport.is_closing():
            return
        self.state = State.LINGER
        self._since = monotonic()
        self._buffer = b""
        if self._eof or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    # -- back-pressure

    def _pause(self) -> None:
        if self._reading and self.state not in {State.LINGER, State.CLOSED}:
            self._reading = False
            if not self._eof:
                self._transport.pause_reading()

    def _unblock(self) -> None:
        room = len(self._queue) <= self._hub.limits.max_pipelined // 2
        if self._reading or not (room and self._outflow.open) or self.state is State.CLOSED:
            return
        self._reading = True
        self._since = monotonic()
        if not self._eof:
            self._transport.resume_reading()
        if self._buffer:
            # Not from inside `reply`: whoever answers a batch must not meet its own handler.
            self._hub.loop.call_soon(self._resume)

    def _resume(self) -> None:
        data, self._buffer = self._buffer, b""
        if data:
            self._consume(data)
        if self._eof and self.state is State.HEAD and not self._buffer:
            self.state = State.LAST
            if not self._queue:
                self._finish()

    # -- time

    def tick(self) -> None:
        """Apply the time limits; called by the sweep."""
        hub, state = self._hub, self.state
        limits, now = hub.limits, hub.now
        if self._given_up(now, limits.write_timeout_s):
            self._transport.abort()
        elif state is State.LINGER:
            taken = not self._transport.get_write_buffer_size()
            if taken and now - self._since > limits.linger_s:
                self._transport.close()
        elif state is State.BODY and self._reading:
            if body_is_late(limits, now - self._since, self._receiving.received):
                self._refuse(Refusal(408, "the body came too slowly"))
        elif self._partial and self._reading:
            if now - self._since > limits.header_timeout_s:
                self._refuse(Refusal(408, "the headers came too slowly"))
        elif (
            state is State.HEAD
            and not self._queue
            and idle_is_over(limits, now, self._active, hub.drain_since, fresh=self._fresh)
            and not unread_bytes(self._transport.get_extra_info("socket"))
        ):
            self._finish()

    def _given_up(self, now: float, limit_s: float) -> bool:
        """Whether the client takes nothing of its answers, or left while we do not read."""
        stream = self._stream
        if stream is None:
            if self._outflow.stuck(self._transport, now, limit_s):
                return True
        elif stream.stuck(now, limit_s):
            return True
        if not self._queue or not (stream is not None or self._queue[0].leaves):
            return False
        if self._eof:  # it came before anybody minded
            return True
        return not self._reading and hung_up(self._transport.get_extra_info("socket"))

    def idle_s(self, now: float) -> float:
        """For how long nothing is owed on it and nothing of a request is here; -1: not so."""
        if self.state is not State.HEAD or self._queue or self._partial or self._buffer:
            return -1.0
        return now - self._active

    def make_way(self) -> bool:
        """Close for the sake of another client, unless a request is on its way."""
        if unread_bytes(self._transport.get_extra_info("socket")):
            return False
        self._finish()
        return True

    def cut(self) -> None:
        """End the connection at once."""
        self._transport.abort()


def _kind(head: Head) -> type[Request]:
    """What is made of a request that has this head."""
    return Sampled if head.sampled else Echoing if head.echo else Request
