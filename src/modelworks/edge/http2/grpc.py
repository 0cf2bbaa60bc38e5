"""A stream that is a call of gRPC: messages in, messages out, a status at the end.

The protocol: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

from struct import Struct
from time import perf_counter_ns
from typing import Final

from modelworks.edge.exchange import Headers
from modelworks.edge.head import Refusal
from modelworks.edge.http2.call import OPEN_CALLS
from modelworks.edge.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEADERS,
)
from modelworks.edge.http2.hpack import Field
from modelworks.edge.http2.messages import LENGTH, PREFIX
from modelworks.edge.http2.opening import Opening
from modelworks.edge.http2.receiving import Receiving
from modelworks.edge.http2.statuses import (
    DEADLINE_EXCEEDED,
    HTTP_OF,
    INVALID_ARGUMENT,
    OK,
    UNIMPLEMENTED,
    encoded,
    of_http,
)
from modelworks.edge.http2.stream import Session
from modelworks.edge.journal import GONE
from modelworks.edge.pace import body_is_late

_HEAD_FIELDS: Final = ((b":status", b"200"), (b"content-type", b"application/grpc"))
_DONE: Final = ((b"grpc-status", b"0"),)
_BEGUN: Final = Struct(">HBBBLBL")  # the head of a DATA frame, and of the message in it
_GRACE_S: Final = 1.0


class Call(Receiving):
    """Fulfils `call.GrpcCall`."""

    __slots__ = ("_began", "_given")

    def __init__(self, session: Session, number: int, opening: Opening) -> None:
        """Made when the headers have come."""
        super().__init__(session, number, opening)
        self._began = False  # headers were sent
        self._given = 0

    # -- its beginning and its end

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
                self.finish(of_http(refusal.status), refusal.message)

    def late(self, now: float) -> None:
        """See `Stream`."""
        if self._answered:
            return
        limits = self.session.hub.limits
        part = -1 if self._gathering is None or self._holding else self._gathering.held
        if part >= 0 and body_is_late(limits, now - self.since, part):
            self._stop(DEADLINE_EXCEEDED, "the message came too slowly")
        elif part < 0 and self.awaited and now - self.since > limits.body_timeout_s:
            self._stop(DEADLINE_EXCEEDED, "no message came")
        elif self.timeout_us:
            waited_us = (perf_counter_ns() - self.received_ns) // 1000
            if waited_us > self.timeout_us + 1_000_000 * _GRACE_S:
                self._stop(DEADLINE_EXCEEDED, "the call's time is over")

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
        self.put(b"\0" + LENGTH.pack(len(message)) + message)

    def answer(self, message: bytes) -> None:
        """See `GrpcCall`."""
        if self.gone:
            return
        if self._answered or self._began:
            raise RuntimeError("this call has been answered already")
        session = self.session
        size = len(message) + PREFIX
        room = size <= session.frame_bytes and size <= self.window and size <= session.window
        if not (room and session.open):
            self.send(message)
            self.finish(OK)
            return
        self._given = size - PREFIX
        self._done(OK)
        session.window -= size
        head, number = session.block(_HEAD_FIELDS), self.id
        tail = session.block(_DONE)
        session.write(
            b"".join(
                (
                    HEAD.pack(0, len(head), HEADERS, END_HEADERS, number),
                    head,
                    _BEGUN.pack(size >> 8, size & 0xFF, DATA, 0, number, 0, size - PREFIX),
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
            fields = ((b"grpc-message", encoded(message)), *trailers)
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
