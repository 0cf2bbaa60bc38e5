"""`ModelStreamInfer`: many requests on one call, answered in their order.

Each request is refused or answered by a message of its own, as Triton does it: what is wrong with
one does not end the stream, unless the client asked for that (`triton_grpc_error`). So many may be
under way at once; a client that sends more, or does not read, is not read for as long.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from modelworks.edge.exchange import Headers
from modelworks.edge.http2.call import GrpcCall
from modelworks.protocol.oip_grpc.inference import CODEC
from modelworks.protocol.oip_grpc.templates import parts_of
from modelworks.protocol.oip_grpc.wire import LENGTH, tag, varint
from modelworks.serving.grpc.exchange import Asked, Parts
from modelworks.serving.grpc.statuses import OK, UNAVAILABLE, refusal

MOST: Final = 64
"""Requests of one stream that are under way, or answered behind one that is."""
BYTES: Final = 8 << 20
"""Of answers that the client has not taken; beyond, no further request is read."""
STRICT: Final = b"triton_grpc_error"
"""Metadata of a client that wants the first refusal as the stream's status."""
_ANSWER: Final = tag(2, LENGTH)
_RESPONSE: Final = "inference.ModelStreamInferResponse"
Take: TypeAlias = Callable[[Asked], None]


class Streamed(Asked):
    """A request of a stream.

    Attributes:
        kept: its answer, while earlier ones wait for theirs.
    """

    __slots__ = ("_gone", "_line", "_on_gone", "kept")

    def __init__(self, line: "Line", message: bytes, parts: Parts | None) -> None:
        super().__init__(line.call, message, parts)
        self._line = line
        self._gone = False
        self._on_gone: Callable[[], None] | None = None
        self.kept: bytes | None = None

    @property
    def gone(self) -> bool:
        """See `Exchange`."""
        return self._gone

    @property
    def on_gone(self) -> Callable[[], None] | None:
        """See `Exchange`."""
        return self._on_gone

    @on_gone.setter
    def on_gone(self, told: Callable[[], None] | None) -> None:
        self._on_gone = told

    def leave(self) -> None:
        """The client is gone."""
        self._gone = True
        told, self._on_gone = self._on_gone, None
        if told is not None:
            told()

    def reply(self, status: int, body: bytes, content_type: bytes, headers: Headers = ()) -> None:
        """Answer, when the earlier ones are answered."""
        del content_type
        self._on_gone = None
        if not self._gone and self.kept is None:
            self._line.answered(self, status, body, headers)
        if self.tell is not None:
            self.tell(self, status)


class Line:
    """One stream.

    Args:
        call: that it is.
        take: answers a request of it.
        ended: told when nothing is left of it.
    """

    def __init__(self, call: GrpcCall, take: Take, ended: Callable[["Line"], None]) -> None:
        self.call = call
        self._take = take
        self._ended = ended
        self._under_way: deque[Streamed] = deque()
        self._held = False
        self._half = False  # the client sends no more
        self._leaving = False  # the server ends
        self._over = False
        self._strict = call.headers.get(STRICT) == b"true"
        call.state = self
        call.on_message = self.message
        call.on_half_closed = self.half_closed
        call.on_gone = self.gone
        call.on_drained = self._look

    def message(self, call: GrpcCall, message: bytes) -> None:
        """A request came."""
        del call
        if self._over:
            return
        asked = Streamed(self, message, parts_of(message))
        self._under_way.append(asked)
        self._look()
        self._take(asked)

    def half_closed(self, call: GrpcCall) -> None:
        """No further request comes: the last answer ends the stream."""
        del call
        self._half = True
        self._settle()

    def leave(self) -> None:
        """The server ends: what is under way is answered, and nothing more is taken."""
        self._leaving = True
        self._look()
        self._settle()

    def gone(self) -> None:
        """The client left: what waits leaves the queues."""
        if self._over:
            return
        self._end()
        waiting = list(self._under_way)
        self._under_way.clear()
        for asked in waiting:
            asked.leave()

    def answered(self, asked: Streamed, status: int, body: bytes, headers: Headers) -> None:
        """Keep an answer, and send what is due."""
        if status == 200:
            asked.kept = b"".join((_ANSWER, varint(len(body)), body))
        else:
            code, why, trailers = refusal(status, body, headers)
            if self._strict:
                self._break(code, why, trailers)
                return
            # The id tells the client whose refusal it is.
            told = {"error_message": why, "infer_response": {"id": asked.own}}
            asked.kept = CODEC.encode(_RESPONSE, told)
        while self._under_way and self._under_way[0].kept is not None:
            self.call.send(self._under_way.popleft().kept or b"")
        self._look()
        self._settle()

    def _break(self, code: int, why: str, trailers: Headers) -> None:
        """End with a status; those who still wait are answered by nobody."""
        self.gone()
        self.call.finish(code, why, trailers)

    def _look(self) -> None:
        """Read on, or do not."""
        if self._over:
            return
        full = len(self._under_way) >= MOST or self.call.waiting > BYTES or self._leaving
        if full and not self._held:
            self._held = True
            self.call.hold()
        elif self._held and not full:
            self._held = False
            self.call.go_on()

    def _settle(self) -> None:
        if self._over or self._under_way or not (self._half or self._leaving):
            return
        self._end()
        if self._half:
            self.call.finish(OK)
        else:
            self.call.finish(UNAVAILABLE, "the server is ending: open the stream anew")

    def _end(self) -> None:
        self._over = True
        call = self.call
        # Nothing of it refers to us any more: what has ended is freed without a collection.
        call.on_message = call.on_half_closed = call.on_gone = call.on_drained = call.state = None
        self._ended(self)
