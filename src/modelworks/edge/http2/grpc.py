"""A stream that is a call of gRPC: messages in, messages out, a status at the end.

The protocol: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

import logging
from collections import deque
from collections.abc import Callable
from struct import Struct
from time import perf_counter_ns
from typing import Any, Final

from modelworks.core.ids import uuid7
from modelworks.edge.exchange import Headers
from modelworks.edge.head import Refusal
from modelworks.edge.http2.call import OPEN_CALLS, GrpcCall
from modelworks.edge.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEADERS,
    PROTOCOL_ERROR,
    StreamFault,
)
from modelworks.edge.http2.hpack import Field
from modelworks.edge.http2.opening import Opening
from modelworks.edge.http2.stream import Session, Stream
from modelworks.edge.inflate import inflate
from modelworks.edge.journal import GONE
from modelworks.edge.pace import body_is_late
from modelworks.edge.trace import TraceContext, request_id_of, trace_of

_log = logging.getLogger(__name__)
OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = 0, 3, 4, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 12, 13, 14
HTTP_OF: Final = (
    *(200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401),
)
"""Statuses of gRPC as the access log tells them."""
_OF_HTTP: Final = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 413: 8, 429: 8, 503: 14}
_HEAD_FIELDS: Final = ((b":status", b"200"), (b"content-type", b"application/grpc"))
_DONE: Final = ((b"grpc-status", b"0"),)
_PREFIX: Final = 5  # of a message: compressed or not, and its length
_LENGTH: Final = Struct(">L")
_BEGUN: Final = Struct(">HBBBLBL")  # the head of a DATA frame, and of the message in it
_GRACE_S: Final = 1.0
_MOST_TOLD: Final = 4096  # bytes of a status message
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - {0x25}


class Call(Stream):
    """Fulfils `call.GrpcCall`."""

    __slots__ = (
        *("_answered", "_began", "_given", "_half", "_held", "_holding", "_id", "_messages"),
        *("_need", "_opening", "_part", "_pieces", "gone", "headers", "on_drained", "on_gone"),
        *("on_half_closed", "on_message", "path", "state", "timeout_us"),
    )

    def __init__(self, session: Session, number: int, opening: Opening) -> None:
        """Made when the headers have come."""
        super().__init__(session, number, opening.head)
        head = opening.head
        self.path = head.path
        self.headers = head.headers
        self.timeout_us = opening.timeout_us
        self.gone = False
        self.state: Any = None
        self.on_message: Callable[[GrpcCall, bytes], None] | None = None
        self.on_half_closed: Callable[[GrpcCall], None] | None = None
        self.on_gone: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None
        self._opening = opening
        self._pieces: list[bytes] | None = None  # of an unfinished message
        self._held = 0  # bytes of them, and of messages held back, as counted in the hub
        self._part = 0  # bytes of them alone
        self._need = _PREFIX  # bytes from which more can be read
        self._messages: deque[bytes] | None = None  # held back
        self._holding = False
        self._half = False  # the client has ended, and nobody was told
        self._began = False  # headers were sent
        self._answered = False
        self._given = 0

    @property
    def answered(self) -> bool:
        """Nothing more is sent but what waits."""
        return self._answered

    @property
    def waiting(self) -> int:
        """See `GrpcCall`."""
        return self.queued

    @property
    def trace(self) -> TraceContext | None:
        """See `GrpcCall`."""
        return trace_of(self.headers)

    @property
    def request_id(self) -> str:
        """See `GrpcCall`."""
        try:
            return self._id
        except AttributeError:
            self._id: str = request_id_of(self.headers) or str(uuid7())
            return self._id

    # -- what comes

    def begin(self, *, last: bool) -> None:
        """The headers have come.

        Args:
            last: they are all there is.
        """
        hub = self.session.hub
        hub.in_flight += 1
        if last:
            self.ended = True
        opening = self._opening
        if opening.refused or opening.timeout_us < 0 or hub.admit is not None or hub.grpc is None:
            self._check()
            if self._answered:
                return
        handler = hub.grpc
        assert handler is not None  # noqa: S101 - checked just now
        try:
            handler(self)
        except Exception:  # noqa: BLE001 - one call fails, not the server
            self._failed()
        if last and not self._answered:
            self._end_of_client()

    def _check(self) -> None:
        """Refuse what needs no service to be refused."""
        hub, opening = self.session.hub, self._opening
        if hub.grpc is None:
            self.finish(UNIMPLEMENTED, "gRPC is not offered here")
        elif opening.refused:
            said = opening.refused[:80].decode("latin-1")
            self.finish(
                UNIMPLEMENTED,
                f"'{said}' is not understood: send application/grpc, identity or gzip",
                ((b"grpc-accept-encoding", b"identity,gzip"),),
            )
        elif opening.timeout_us < 0:
            self.finish(INVALID_ARGUMENT, "grpc-timeout: digits and one of H M S m u n are wanted")
        elif hub.admit is not None and self.path not in OPEN_CALLS:
            try:
                hub.admit(self.head)
            except Refusal as refusal:
                self.finish(_OF_HTTP.get(refusal.status, INTERNAL), refusal.message)

    def take(self, payload: bytes, *, last: bool) -> None:
        """See `Stream`."""
        size = len(payload)
        self.taken += size
        if last:
            self.ended = True
        if self._answered:
            return
        if self._opening.sized and last and self.taken != self.head.length:
            raise StreamFault(PROTOCOL_ERROR)
        if size:
            if (
                self._pieces is None
                and size >= _PREFIX
                and _LENGTH.unpack_from(payload, 1)[0] == size - _PREFIX
                and size <= self.session.hub.limits.max_body_bytes
            ):
                self._message(payload[0], payload[_PREFIX:])  # the usual: one frame, one message
            else:
                self._gather(payload)
        if last and not self._answered:
            self._end_of_client()

    def _gather(self, payload: bytes) -> None:
        """Put messages together that do not begin and end with a frame."""
        hub = self.session.hub
        if self._pieces is None:
            self._pieces = []
            self.since = hub.now
        pieces = self._pieces
        pieces.append(payload)
        self._part += len(payload)
        self._count(len(payload))
        if self._answered or self._part < self._need:
            return
        data = payload if len(pieces) == 1 else b"".join(pieces)
        size = len(data)
        self._pieces = None
        self._part = 0
        self._count(-size)
        position = 0
        self._need = _PREFIX
        while size - position >= _PREFIX:
            length = _LENGTH.unpack_from(data, position + 1)[0]
            if length > hub.limits.max_body_bytes:
                most = hub.limits.max_body_bytes
                self.finish(RESOURCE_EXHAUSTED, f"a message of {length} bytes: {most} may be sent")
                return
            end: int = position + _PREFIX + length
            if end > size:
                self._need = end - position
                break
            self._message(data[position], data[position + _PREFIX : end])
            if self.answered:
                return
            position = end
        if position < size:
            self._pieces = [data[position:] if position else data]
            self._part = size - position
            self._count(self._part)

    def _count(self, more: int) -> None:
        hub = self.session.hub
        self._held += more
        hub.buffered += more
        if more > 0 and hub.buffered > hub.limits.max_buffered_bytes and not self._answered:
            self.finish(UNAVAILABLE, "too many large messages at once")

    def _message(self, flag: int, message: bytes) -> None:
        if flag:
            inflated = self._inflated(flag, message)
            if inflated is None:
                return
            message = inflated
        if self._holding or self._messages:
            if self._messages is None:
                self._messages = deque()
            self._messages.append(message)
            self._count(len(message))
            return
        self._hand(message)

    def _hand(self, message: bytes) -> None:
        call = self.on_message
        if call is not None:
            try:
                call(self, message)
            except Exception:  # noqa: BLE001 - one call fails, not the server
                self._failed()

    def _inflated(self, flag: int, message: bytes) -> bytes | None:
        if flag != 1 or not self._opening.zipped:
            self.finish(INTERNAL, "a compressed message, and no grpc-encoding that says how")
            return None
        try:
            return inflate(message, "gzip", self.session.hub.limits.max_inflated_bytes)
        except Refusal as refusal:
            self.finish(_OF_HTTP.get(refusal.status, INVALID_ARGUMENT), refusal.message)
            return None

    def _end_of_client(self) -> None:
        if self._pieces is not None:
            self.finish(INTERNAL, "the stream ended within a message")
        elif self._holding or self._messages:
            self._half = True
        else:
            self._tell_end()

    def _tell_end(self) -> None:
        self._half = False
        call, self.on_half_closed = self.on_half_closed, None
        if call is not None:
            try:
                call(self)
            except Exception:  # noqa: BLE001 - one call fails, not the server
                self._failed()

    def _failed(self) -> None:
        _log.exception("the service failed on %r", self.path)
        if not self._answered:
            self.finish(INTERNAL, "internal error: see the server's log")

    def hold(self) -> None:
        """See `GrpcCall`."""
        self._holding = True

    def go_on(self) -> None:
        """See `GrpcCall`."""
        if self._holding:
            self._holding = False
            self.since = self.session.hub.now
            self.session.hub.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        messages = self._messages
        while messages and not self._holding and not self._answered:
            message = messages.popleft()
            self._count(-len(message))
            self._hand(message)
        if self._answered or self.gone or self._holding:
            return
        if self._half:
            self._tell_end()
        elif not self.ended:
            self.regrant()

    def regrant(self) -> None:
        """See `Stream`; nothing is granted to a call whose messages are held back."""
        if not self._holding:
            super().regrant()

    def late(self, now: float) -> None:
        """See `Stream`."""
        if self._answered:
            return
        limits = self.session.hub.limits
        unfinished = self._pieces is not None and not self._holding and not self.ended
        if unfinished and body_is_late(limits, now - self.since, self._part):
            self._expire("the message came too slowly")
        elif self.timeout_us:
            waited_us = (perf_counter_ns() - self.received_ns) // 1000
            if waited_us > self.timeout_us + 1_000_000 * _GRACE_S:
                self._expire("the call's time is over")

    def _expire(self, message: str) -> None:
        """End it in place of the service, which is told as of a client that left."""
        call, self.on_gone = self.on_gone, None
        self.finish(DEADLINE_EXCEEDED, message)
        self.gone = True
        self._tell(call)

    def lost(self) -> None:
        """See `Stream`."""
        self.gone = True
        self._drop()
        if not self._answered:
            self._answered = True
            self.session.hub.in_flight -= 1
            self.session.note(self, GONE, self._given)
        call, self.on_gone, self.on_drained = self.on_gone, None, None
        self._tell(call)

    def _drop(self) -> None:
        self.session.hub.buffered -= self._held
        self._held = 0
        self._pieces = self._messages = None
        self.on_message = self.on_half_closed = None

    # -- the answer

    def send(self, message: bytes) -> None:
        """See `GrpcCall`."""
        if self.gone:
            return
        if self._answered:
            raise RuntimeError("this call has been answered already")
        if not self._began:
            self._began = True
            self.session.headers(self.id, _HEAD_FIELDS, (), last=False)
        self._given += len(message)
        self.put(b"\0" + _LENGTH.pack(len(message)) + message)

    def answer(self, message: bytes) -> None:
        """See `GrpcCall`."""
        if self.gone:
            return
        if self._answered or self._began:
            raise RuntimeError("this call has been answered already")
        session = self.session
        size = len(message) + _PREFIX
        room = size <= session.frame_bytes and size <= self.window and size <= session.window
        if not (room and session.open):
            self.send(message)
            self.finish(OK)
            return
        self._given = size - _PREFIX
        self._done(OK)
        session.window -= size
        head, number = session.block(_HEAD_FIELDS), self.id
        tail = session.block(_DONE)
        session.write(
            b"".join(
                (
                    HEAD.pack(0, len(head), HEADERS, END_HEADERS, number),
                    head,
                    _BEGUN.pack(size >> 8, size & 0xFF, DATA, 0, number, 0, size - _PREFIX),
                    message,
                    HEAD.pack(0, len(tail), HEADERS, END_HEADERS | END_STREAM, number),
                    tail,
                )
            )
        )
        session.over(self)

    def finish(self, status: int, message: str = "", trailers: Headers = ()) -> None:
        """See `GrpcCall`."""
        if self.gone:
            return
        if self._answered:
            raise RuntimeError("this call has been answered already")
        self._done(status)
        often: tuple[Field, ...] = ((b"grpc-status", b"%d" % status),)
        fields: tuple[Field, ...] = trailers
        if message:
            fields = ((b"grpc-message", _encoded(message)), *trailers)
        if self._began:
            self.put(b"", last=True, tail=(often, fields))
        else:
            self._began = True
            self.session.headers(self.id, (*_HEAD_FIELDS, *often), fields, last=True)
            self.session.over(self)

    def _done(self, status: int) -> None:
        self._answered = True
        self.on_gone = self.on_drained = None
        self.session.hub.in_flight -= 1
        if self._held:
            self._drop()
        if self.session.journal is not None:
            self.session.note(self, HTTP_OF[status], self._given)

    def drained(self) -> None:
        """See `Stream`."""
        self._tell(self.on_drained)

    def _tell(self, call: Callable[[], None] | None) -> None:
        if call is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 - the others must be told too
                _log.exception("what was to be told of a client failed")


def _encoded(message: str) -> bytes:
    """A status message as a header's value."""
    raw = message.encode("utf-8", "backslashreplace")[:_MOST_TOLD]
    if _PLAIN.issuperset(raw):
        return raw.strip(b" ")
    return b"".join(b"%c" % byte if byte in _PLAIN else b"%%%02X" % byte for byte in raw).strip(
        b" "
    )
