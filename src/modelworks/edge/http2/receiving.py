"""The half of a gRPC call that comes in: messages, their order, their bounds, the client's end."""

import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from modelworks.core.ids import uuid7
from modelworks.edge.exchange import Headers
from modelworks.edge.head import Refusal
from modelworks.edge.http2.call import GrpcCall
from modelworks.edge.http2.frames import PROTOCOL_ERROR, StreamFault
from modelworks.edge.http2.messages import LENGTH, PREFIX, Gathering, TooLongError
from modelworks.edge.http2.opening import Opening
from modelworks.edge.http2.statuses import INTERNAL, RESOURCE_EXHAUSTED, UNAVAILABLE, of_http
from modelworks.edge.http2.stream import Session, Stream
from modelworks.edge.inflate import inflate
from modelworks.edge.trace import TraceContext, request_id_of, trace_of

_log = logging.getLogger(__name__)


class Receiving(Stream):
    """See `call.GrpcCall` for what has no underscore."""

    __slots__ = (
        *("_answered", "_gathering", "_half", "_held", "_holding", "_id", "_messages"),
        *("_opening", "awaited", "gone", "headers", "path", "state", "timeout_us"),
        *("on_drained", "on_gone", "on_half_closed", "on_message"),
    )

    def __init__(self, session: Session, number: int, opening: Opening) -> None:
        """Made when the headers have come."""
        super().__init__(session, number, opening.head)
        head = opening.head
        self.path = head.path
        self.headers = head.headers
        self.gone = False
        self.state: Any = None
        self.awaited = False
        self.timeout_us = opening.timeout_us
        self.on_gone: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None
        self.on_message: Callable[[GrpcCall, bytes], None] | None = None
        self.on_half_closed: Callable[[GrpcCall], None] | None = None
        self._opening = opening
        self._gathering: Gathering | None = None  # an unfinished message
        self._held = 0  # bytes of it, and of messages held back, as counted in the hub
        self._messages: deque[bytes] | None = None  # held back
        self._holding = False
        self._half = False  # the client has ended, and nobody was told
        self._answered = False

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

    @abstractmethod
    def send(self, message: bytes) -> None:
        """See `GrpcCall`."""

    @abstractmethod
    def answer(self, message: bytes) -> None:
        """See `GrpcCall`."""

    @abstractmethod
    def finish(self, status: int, message: str = "", trailers: Headers = ()) -> None:
        """See `GrpcCall`."""

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
                self._gathering is None
                and size >= PREFIX
                and LENGTH.unpack_from(payload, 1)[0] == size - PREFIX
                and size <= self.session.hub.limits.max_body_bytes
            ):
                self._message(payload[0], payload[PREFIX:])  # the usual: one frame, one message
            else:
                self._gather(payload)
        if last and not self._answered:
            self._end_of_client()

    def _gather(self, payload: bytes) -> None:
        """Put messages together that do not begin and end with a frame."""
        hub = self.session.hub
        gathering = self._gathering
        if gathering is None:
            gathering = self._gathering = Gathering(hub.limits.max_body_bytes)
            self.since = hub.now
        before = gathering.held
        try:
            found = gathering.add(payload)
        except TooLongError as error:
            most = hub.limits.max_body_bytes
            told = f"a message of {error.length} bytes: {most} may be sent"
            self._stop(RESOURCE_EXHAUSTED, told)
            return
        if found:
            self.since = hub.now
            if not gathering.held:
                self._gathering = None
        self._count(gathering.held - before)
        for flag, message in found:
            if self.answered:
                return
            self._message(flag, message)

    def _count(self, more: int) -> None:
        hub = self.session.hub
        self._held += more
        hub.buffered += more
        if more > 0 and hub.buffered > hub.limits.max_buffered_bytes and not self._answered:
            self._stop(UNAVAILABLE, "too many large messages at once")

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
        self.awaited = False
        call = self.on_message
        if call is not None:
            try:
                call(self, message)
            except Exception:  # noqa: BLE001 - one call fails, not the server
                self._failed()

    def _inflated(self, flag: int, message: bytes) -> bytes | None:
        if flag != 1 or not self._opening.zipped:
            self._stop(INTERNAL, "a compressed message, and no grpc-encoding that says how")
            return None
        try:
            return inflate(message, "gzip", self.session.hub.limits.max_inflated_bytes)
        except Refusal as refusal:
            self._stop(of_http(refusal.status), refusal.message)
            return None

    def _end_of_client(self) -> None:
        if self._gathering is not None:
            self._stop(INTERNAL, "the stream ended within a message")
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
            self._stop(INTERNAL, "internal error: see the server's log")

    def _stop(self, status: int, message: str) -> None:
        """End it in place of the service, which is told as of a client that left."""
        call, self.on_gone = self.on_gone, None
        self.finish(status, message)
        self.gone = True
        self._tell(call)

    def _tell(self, call: Callable[[], None] | None) -> None:
        if call is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 - the others must be told too
                _log.exception("what was to be told of a client failed")

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

    def _drop(self) -> None:
        self.session.hub.buffered -= self._held
        self._held = 0
        self._gathering = self._messages = None
        self.on_message = self.on_half_closed = None
