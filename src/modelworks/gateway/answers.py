"""What a caller's connection writes: upstreams' answers as they come, and ours in their place."""

from abc import abstractmethod
from time import perf_counter_ns
from typing import Final

from modelworks.core.errors import ModelworksError
from modelworks.edge.answer import BODILESS, JSON
from modelworks.edge.head import Head, Refusal
from modelworks.edge.hub import Hub
from modelworks.edge.journal import GONE
from modelworks.gateway.answer_head import AnswerHead
from modelworks.gateway.bodies import LAST_CHUNK, chunk
from modelworks.gateway.front import Front
from modelworks.gateway.incoming import Incoming
from modelworks.gateway.returns import BAD_GATEWAY, BadGatewayError
from modelworks.gateway.wire import Wire
from modelworks.protocol.problems import error_body, problem

_LARGE: Final = 64 * 1024
_CLOSE: Final = b"Connection: close\r\n"


class Answers(Wire):
    """Fulfils `Returns`.

    Args:
        hub: of the listener.
        front: of the worker.
        scheme: see `Wire`.
    """

    __slots__ = ("_chunked", "_front", "_head", "_keep", "_received_ns")

    _head: Head

    def __init__(self, hub: Hub, front: Front, scheme: str) -> None:
        super().__init__(hub, Incoming(hub, front.ways.replay), scheme)
        self._front = front
        self._received_ns = 0
        self._keep = True  # the connection lives on behind this answer
        self._chunked = False

    @abstractmethod
    def _next(self) -> None:
        """Go on reading where we stopped."""

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
