"""One connection to an upstream: a request out, its answer in, one after the other."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Protocol, cast

from modelworks.edge.head import Refusal
from modelworks.gateway.answer_head import MOST, AnswerHead, BadAnswer
from modelworks.gateway.bodies import Body, ToEnd


class Sink(Protocol):
    """Who waits for the answer on a link; called on the loop's thread."""

    def head(self, head: AnswerHead, piece: bytes, *, done: bool) -> None:
        """The answer begins, with as much of its body as is here; `done` = that is all."""
        ...

    def piece(self, piece: bytes, *, done: bool) -> None:
        """More of the body."""
        ...

    def failed(self, why: str, *, stale: bool) -> None:
        """No (further) answer comes.

        Args:
            why: for people.
            stale: a connection that had been idle ended before a byte of the answer: the upstream
                closed it while the request was on its way, and has not begun with it.
        """
        ...

    def blocked(self, *, blocked: bool) -> None:
        """The upstream takes no more of the request's body, or does again."""
        ...


class Link:
    """The protocol of one connection to an upstream.

    Args:
        idle: is given this link when it can take another request.
        lost: is told when it ended.
    """

    __slots__ = (
        *(
            "_body",
            "_buffer",
            "_bare",
            "_idle",
            "_last",
            "_lost",
            "_sink",
            "_used",
            "sending",
            "since",
        ),
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, idle: Callable[["Link"], None], lost: Callable[["Link"], None]) -> None:
        self._idle = idle
        self._lost = lost
        self._sink: Sink | None = None
        self._body: Body | None = None
        self._buffer = b""
        self._bare = False
        self._last = False  # it ends behind this answer
        self._used = False  # it has carried an answer
        self.sending = False  # more of the request's body is to come
        self.since = 0.0  # when it became idle

    # -- what whoever asks calls

    def ask(self, sink: Sink, data: bytes, *, bare: bool, more: bool = False) -> None:
        """Send a request, or its beginning.

        Args:
            sink: who gets the answer.
            data: head and body, as far as it is here.
            bare: it is a HEAD request.
            more: the rest of the body comes by `send`, its end by `ended`.
        """
        self._sink = sink
        self._bare = bare
        self.sending = more
        self.transport.write(data)

    def send(self, data: bytes) -> None:
        """More of the request's body."""
        if self._sink is not None:
            self.transport.write(data)

    def ended(self) -> None:
        """The request's body is complete."""
        self.sending = False

    def pause(self, *, paused: bool) -> None:
        """Read no further, or do again: the caller takes no more of the answer."""
        if self.transport.is_closing():
            return
        if paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def forget(self) -> None:
        """The answer is not wanted any more; a model server then drops a request that waits."""
        self._sink = None
        self.transport.abort()

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=256 * 1024)

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        sink = self._sink
        if sink is None:  # nobody asked: what it says next might be taken for an answer
            self.transport.abort()
            return
        try:
            if self._body is None:
                self._head(sink, data)
            else:
                piece, position = self._body.feed(data, 0)
                self._more(sink, piece, position == len(data))
        except (BadAnswer, Refusal) as error:
            self._fail(str(error))

    def eof_received(self) -> bool:
        """The upstream sends no more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended: some bodies end so, everything else is cut off."""
        del exc
        self._lost(self)
        sink, self._sink = self._sink, None
        if sink is None:
            return
        body = self._body
        if isinstance(body, ToEnd):
            sink.piece(b"", done=True)
            return
        stale = self._used and body is None and not self._buffer
        sink.failed("the connection ended before the answer did", stale=stale)

    def pause_writing(self) -> None:
        """The upstream is slower than the client."""
        if self._sink is not None:
            self._sink.blocked(blocked=True)

    def resume_writing(self) -> None:
        """It takes more."""
        if self._sink is not None:
            self._sink.blocked(blocked=False)

    # -- answers

    def _head(self, sink: Sink, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end == 3:
                if len(data) > MOST:
                    raise BadAnswer(f"its head is longer than {MOST} bytes")
                self._buffer = data
                return
            head = AnswerHead(data[:end], bare=self._bare)
            if head.status >= 200:
                break
            data = data[end:]  # 100 Continue, 103 Early Hints: the answer is behind it
        body = head.body()
        piece, position = body.feed(data, end) if end < len(data) else (b"", end)
        self._body = body
        done = body.done
        if not done:
            self._last = not head.keep
            sink.head(head, piece, done=False)
            return
        self._done(head.keep and position == len(data))
        sink.head(head, piece, done=True)

    def _more(self, sink: Sink, piece: bytes, clean: bool) -> None:  # noqa: FBT001 - a fact
        assert self._body is not None  # noqa: S101 - the head was read
        if not self._body.done:
            if piece:
                sink.piece(piece, done=False)
            return
        self._done(clean)
        sink.piece(piece, done=True)

    def _done(self, keep: bool) -> None:  # noqa: FBT001 - a fact
        """The answer is complete."""
        self._sink = None
        self._body = None
        self._used = True
        if keep and not self._last and not self.sending and not self.transport.is_closing():
            self.since = monotonic()
            self._idle(self)
        else:
            self.transport.close()

    def _fail(self, why: str) -> None:
        sink, self._sink = self._sink, None
        self.transport.abort()
        if sink is not None:
            sink.failed(why, stale=False)
