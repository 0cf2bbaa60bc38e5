"""One caller's connection: requests in, one after the other, answers out as they come.

The next request of a connection is not read before the last one is answered: pipelined ones wait
in the kernel. Bodies up to `Ways.replay` are collected (so a slow caller holds no upstream, and the
request can be sent again); longer ones are passed on piece by piece, at the slower side's pace.
"""

from time import monotonic, perf_counter_ns
from typing import Final

from modelworks.core.errors import ModelworksError
from modelworks.edge.answer import CONTINUE
from modelworks.edge.connection import State
from modelworks.edge.head import Head, Refusal, check_partial
from modelworks.edge.hub import Hub
from modelworks.edge.journal import GONE
from modelworks.gateway.answers import Answers
from modelworks.gateway.call import Call
from modelworks.gateway.front import Front
from modelworks.gateway.own import Own
from modelworks.gateway.wire import CLOSING

_HEAD: Final = State.HEAD
_BODY: Final = State.BODY
_LAST: Final = State.LAST
_GENERATED: Final = (b"/generate", b"/generate_stream", b"/completions")
"""How paths end whose answer is generated."""


class Caller(Answers):
    """The protocol of one accepted socket: reads requests, and asks for each.

    Args:
        hub: of the listener.
        front: of the worker.
        own: what the gateway answers itself.
        scheme: `http` or `https`.
    """

    __slots__ = ("_own",)

    def __init__(self, hub: Hub, front: Front, own: Own, scheme: str = "http") -> None:
        super().__init__(hub, front, scheme)
        front.hub = hub
        self._own = own

    # -- what the transport calls

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
        """The caller sends no more; what it is owed it still gets.

        Of a text that is generated, and of an answer whose length nobody knows, it is taken to
        have left, as the servers behind us take it.
        """
        if self.state is State.LINGER:
            return False
        self._eof = True
        call = self._call
        if call is not None and (
            (call.begun and self._chunked) or self._head.path.endswith(_GENERATED)
        ):
            self.cut()  # the answer is long, and nobody else could tell that it need not be made
            return False
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

    def _next(self) -> None:
        """Go on reading where we stopped."""
        if self._call is not None or self.state in CLOSING:
            return
        if not self._outflow.open:
            return
        self._unpause()
        if self._buffer and not self._partial:
            data, self._buffer = self._buffer, b""
            self._consume(data, 0)
        if self._eof and self._call is None and self.state is State.HEAD:
            self._finish()
