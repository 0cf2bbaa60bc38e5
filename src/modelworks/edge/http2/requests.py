"""A stream that is a request like those of HTTP/1.1, for the same handler."""

import logging
from collections.abc import Callable
from time import perf_counter_ns
from typing import Final

from modelworks.edge.answer import BODILESS, JSON, error_body
from modelworks.edge.exchange import Headers
from modelworks.edge.head import Head, Refusal
from modelworks.edge.http2.frames import (
    END_HEADERS,
    HEADERS,
    INTERNAL_ERROR,
    PROTOCOL_ERROR,
    StreamFault,
    frame,
)
from modelworks.edge.http2.hpack import Field
from modelworks.edge.http2.opening import Opening
from modelworks.edge.http2.stream import Session, Stream
from modelworks.edge.inflate import inflate
from modelworks.edge.journal import GONE
from modelworks.edge.pace import body_is_late
from modelworks.edge.request import Echoing, Request, Sampled

_log = logging.getLogger(__name__)
_OK: Final = (b":status", b"200")
_CONTINUE: Final = ((b":status", b"100"),)
EDGE_HEAD: Final = Head(
    b"", b"", b"", {}, 0, keep_alive=True, modern=True, expects=False, coding=""
)
"""Of a request that could not be read."""


class RequestStream(Stream):
    """Collects a body, makes a `Request` of it, and sends the answer; whole, or piece by piece.

    Fulfils `request.Answers`, and `exchange.Stream` of an answer in pieces.
    """

    __slots__ = (
        *("_bare", "_given", "_held", "_opening", "_pieces", "_request", "_status", "_streaming"),
        *("gone", "on_drained", "on_gone"),
    )

    def __init__(self, session: Session, number: int, opening: Opening) -> None:
        """Made when the headers have come."""
        super().__init__(session, number, opening.head)
        self._opening = opening
        self._pieces: list[bytes] = []
        self._held = 0  # bytes of the unfinished body, as counted in the hub
        self._request: Request | None = None
        self._status = 0  # of the answer, when it has begun
        self._given = 0
        self._bare = False
        self._streaming = False
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None

    def begin(self, *, last: bool) -> None:
        """The headers have come.

        Args:
            last: they are all there is.
        """
        try:
            if last:
                self.take(b"", last=True)
                return
            admit = self.session.hub.admit
            if admit is not None:
                admit(self.head)
        except Refusal as refusal:
            self.refuse(refusal)
            return
        if self.head.expects:
            block = self.session.block(_CONTINUE)
            self.session.write(frame(HEADERS, END_HEADERS, self.id, block))

    def take(self, payload: bytes, *, last: bool) -> None:
        """See `Stream`."""
        self.taken += len(payload)
        if last:
            self.ended = True
        if self._status or self._request is not None:
            return  # it was refused: what still comes is thrown away
        head = self.head
        if self._opening.sized and (
            self.taken > head.length or (last and self.taken != head.length)
        ):
            raise StreamFault(PROTOCOL_ERROR)
        try:
            self._collect(payload, last=last)
        except Refusal as refusal:
            self.refuse(refusal)

    def _collect(self, payload: bytes, *, last: bool) -> None:
        hub = self.session.hub
        if self.taken > hub.limits.max_body_bytes:
            raise Refusal(413, f"body longer than {hub.limits.max_body_bytes} bytes")
        if not last:
            self._pieces.append(payload)
            self._held += len(payload)
            hub.buffered += len(payload)
            if hub.buffered > hub.limits.max_buffered_bytes:
                raise Refusal(503, "too many large bodies at once", ((b"retry-after", b"1"),))
            return
        body = payload
        if self._pieces:
            self._pieces.append(payload)
            body = b"".join(self._pieces)
            self._drop()
        if self.head.coding:
            body = inflate(body, self.head.coding, hub.limits.max_inflated_bytes)
        self._dispatch(body)

    def _dispatch(self, body: bytes) -> None:
        head, hub = self.head, self.session.hub
        self.received_ns = perf_counter_ns()
        made = Sampled if head.sampled else Echoing if head.echo else Request
        self._request = request = made(self, head, body)
        hub.in_flight += 1
        try:
            hub.handler(request)
        except Exception:  # noqa: BLE001 - one request fails, not the server
            _log.exception("the handler failed on %r", head.path)
            if not request.answered:
                request.reply(500, error_body("internal error: see the server's log"), JSON)
            elif self._streaming:
                self.cut()

    def _drop(self) -> None:
        self.session.hub.buffered -= self._held
        self._held = 0
        self._pieces = []

    def refuse(self, refusal: Refusal) -> None:
        """Answer in place of the handler."""
        self._drop()
        body = error_body(refusal.message)
        self._send(refusal.status, body, JSON, refusal.headers)
        self.session.note(self, refusal.status, len(body))

    def late(self, now: float) -> None:
        """See `Stream`."""
        waits = not self.ended and not self._status and self._request is None
        if waits and body_is_late(self.session.hub.limits, now - self.since, self.taken):
            self.refuse(Refusal(408, "the body came too slowly"))

    def lost(self) -> None:
        """See `Stream`."""
        self._drop()
        self.gone = True
        request, self._request = self._request, None
        if request is None:
            return
        waited = not request.answered
        if waited or self._streaming:
            self.session.hub.in_flight -= 1
            self.session.note(self, self._status or GONE, self._given)
        request.gone = True
        call, request.on_gone = request.on_gone, None
        if self._streaming:
            call, self.on_gone, self.on_drained = self.on_gone, None, None
            request.streamed(self._status)
        self._tell(call)

    # -- the answer as a whole

    def answered(
        self, request: Request, status: int, body: bytes, content_type: bytes, headers: Headers
    ) -> None:
        """See `request.Answers`."""
        del request
        self.session.hub.in_flight -= 1
        self._send(status, body, content_type, headers)
        self.session.note(self, status, len(body))

    def traced(self, request: Sampled, status: int) -> None:
        """See `request.Answers`."""
        tell = self.session.hub.traced
        if tell is not None:
            try:
                tell(request, status)
            except Exception:  # noqa: BLE001 - it is answered already
                _log.exception("what was to be told of a traced request failed")

    def _send(self, status: int, body: bytes, content_type: bytes, headers: Headers) -> None:
        self._status = status
        bare = not body or status in BODILESS or self.head.method == b"HEAD"
        self._write_head(status, len(body), content_type, headers, last=bare)
        if bare:
            self.session.over(self)
        else:
            self.put(body, last=True)

    def _write_head(
        self, status: int, size: int, content_type: bytes, headers: Headers, *, last: bool
    ) -> None:
        """Send the headers of the answer; `size` is -1 where nobody knows it yet."""
        often: tuple[Field, ...] = (_OK if status == 200 else (b":status", b"%d" % status),)
        if content_type:
            often = (*often, (b"content-type", content_type))
        fields: list[Field] = [(b"date", self.session.hub.writer.date)]
        if size >= 0 and status not in BODILESS:
            fields.append((b"content-length", b"%d" % size))
        fields += [(name.lower(), value) for name, value in headers]
        self.session.headers(self.id, often, tuple(fields), last=last)

    # -- the answer piece by piece

    def streamed(
        self, request: Request, status: int, content_type: bytes, headers: Headers
    ) -> "RequestStream":
        """See `request.Answers`."""
        del request
        if self.gone:
            return self
        self._status = status
        self._streaming = True
        self._bare = status in BODILESS or self.head.method == b"HEAD"
        self._write_head(status, -1, content_type, headers, last=self._bare)
        return self

    @property
    def waiting(self) -> int:
        """See `exchange.Stream`."""
        return self.queued

    def write(self, data: bytes) -> None:
        """See `exchange.Stream`.

        Raises:
            RuntimeError: the body was ended before.
        """
        if self.gone:
            return
        if not self._streaming:
            raise RuntimeError("the body of this answer has been ended already")
        if data and not self._bare:
            self._given += len(data)
            self.put(data)

    def end(self) -> None:
        """See `exchange.Stream`.

        Raises:
            RuntimeError: it was ended before.
        """
        if self.gone:
            return
        if not self._streaming:
            raise RuntimeError("the body of this answer has been ended already")
        self._end_streaming()
        if self._bare:
            self.session.over(self)
        else:
            self.put(b"", last=True)

    def cut(self) -> None:
        """See `exchange.Stream`."""
        if self.gone or not self._streaming:
            return
        self._end_streaming()
        self.gone = True
        self.session.end(self.id, INTERNAL_ERROR)

    def _end_streaming(self) -> None:
        self._streaming = False
        self.on_gone = self.on_drained = None
        self.session.hub.in_flight -= 1
        self.session.note(self, self._status, self._given)
        if self._request is not None:
            self._request.streamed(self._status)

    def drained(self) -> None:
        """See `Stream`."""
        self._tell(self.on_drained)

    def _tell(self, call: Callable[[], None] | None) -> None:
        if call is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 - the others must be told too
                _log.exception("what was to be told of a client failed")
