"""Copies of requests for shadows: bounded, behind what callers wait for, dropped when too many.

A copy is put into a queue and sent when the loop has nothing older to do. No caller waits for it,
or for room: what does not fit is dropped and counted.
"""

import asyncio
from collections import deque
from time import perf_counter_ns
from typing import Final

from modelworks.edge.head import Head
from modelworks.gateway.answer_head import AnswerHead
from modelworks.gateway.attempt import Attempt
from modelworks.gateway.counts import ArmCounts
from modelworks.gateway.forward import Forward
from modelworks.gateway.link import Link
from modelworks.gateway.pairs import Half, Pair, Pairs
from modelworks.gateway.seats import Seats

QUEUE: Final = 1024
QUEUE_BYTES: Final = 64 * 1024 * 1024
OUTSTANDING: Final = 64
_SECONDS: Final = 30.0
_KEPT: Final = 1024 * 1024
_FROM: Final = b"X-Forwarded-For: "
SHADOW: Final = b"X-Modelworks-Shadow: 1\r\n"
"""Says that nobody reads the answer; records tell copies from requests by it."""


class Copy:
    """One request on its way to one shadow; fulfils `attempt.Asker`."""

    __slots__ = (
        *("_attempt", "_begun", "_body", "_counts", "_forward", "_given", "_head", "_id"),
        *("_pair", "_pieces", "_seats", "_started", "_status", "_timer", "done", "size"),
    )

    def __init__(
        self,
        counts: ArmCounts,
        seats: Seats,
        forward: Forward,
        head: Head,
        body: bytes,
        request_id: bytes,
        pair: Pair | None,
    ) -> None:
        self._counts = counts
        self._seats = seats
        self._forward = forward
        self._head = head
        self._body = body
        self._id = request_id
        self._pair = pair
        self._attempt: Attempt | None = None
        self._pieces: list[bytes] = []
        self._given = 0
        self._status = 0
        self._started = 0
        self._timer: asyncio.TimerHandle | None = None
        self.size = len(body)
        self.done: Shadows | None = None

    def begin(self, shadows: "Shadows", loop: asyncio.AbstractEventLoop) -> None:
        """Send it."""
        self.done = shadows
        self._counts.copies += 1
        seat = self._seats.pick()
        if seat is None:
            self._end(answered=False)
            return
        self._started = perf_counter_ns()
        self._timer = loop.call_later(_SECONDS, self._late)
        self._attempt = Attempt(self, seat)
        self._attempt.begin()

    def drop(self) -> None:
        """It is not sent."""
        if self._pair is not None:
            self._pair.put(None, first=False)

    # -- Asker

    def ask(self, attempt: Attempt, link: Link) -> None:
        """See `Asker`."""
        begin = self._forward.begin(self._seats.arm, attempt.seat.place.address)
        begin = begin[: begin.rindex(_FROM)]
        body = self._body
        size = b"Content-Length: %d\r\n" % len(body) if body else b""
        head = b"%bX-Request-Id: %b\r\n%b%b\r\n" % (begin, self._id, SHADOW, size)
        link.ask(attempt, head + body, bare=self._head.method == b"HEAD")

    def came(self, attempt: Attempt, head: AnswerHead, piece: bytes, *, done: bool) -> None:
        """See `Asker`."""
        self._status = head.status
        self._counts.copied.answered(head.status, perf_counter_ns() - self._started)
        self.more(attempt, piece, done=done)

    def more(self, attempt: Attempt, piece: bytes, *, done: bool) -> None:
        """See `Asker`."""
        if self._pair is not None and self._given < _KEPT:
            self._pieces.append(piece)
        self._given += len(piece)
        if done:
            attempt.seat.worked()
            self._end(answered=True)

    def lost(self, attempt: Attempt, reason: str, why: str) -> None:
        """See `Asker`; a copy is sent once."""
        del why
        if reason != "stale":
            attempt.seat.counts.failures[reason] += 1
            attempt.seat.failed(self._seats)
        self._end(answered=False)

    def blocked(self, attempt: Attempt, *, blocked: bool) -> None:
        """See `Asker`: all of it was given at once."""

    def _late(self) -> None:
        if self._attempt is not None:
            self._attempt.cancel()
        self._end(answered=False)

    def _end(self, *, answered: bool) -> None:
        shadows, self.done = self.done, None
        if shadows is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        if not answered:
            self._counts.copies_failed += 1
        if self._pair is not None:
            taken = perf_counter_ns() - self._started
            body = b"".join(self._pieces)
            arm = self._seats.arm.name
            half = Half(arm, self._status, taken, body, self._given) if answered else None
            self._pair.put(half, first=False)
        shadows.ended(self)


class Shadows:
    """The queue of one worker.

    Args:
        pairs: where answers are kept beside those of callers; None = nowhere.

    Attributes:
        waiting: copies in the queue.
        held: bytes of their bodies, and of those under way.
    """

    __slots__ = (
        "_loop",
        "_queue",
        "_scheduled",
        "_under_way",
        "held",
        "most",
        "most_bytes",
        "pairs",
    )

    def __init__(
        self, pairs: Pairs | None = None, most: int = QUEUE, most_bytes: int = QUEUE_BYTES
    ) -> None:
        self.pairs = pairs
        self.most = most
        self.most_bytes = most_bytes
        self.held = 0
        self._queue: deque[Copy] = deque()
        self._under_way: set[Copy] = set()
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def waiting(self) -> int:
        """Copies that are not sent yet."""
        return len(self._queue)

    @property
    def under_way(self) -> int:
        """Copies whose answer is owed."""
        return len(self._under_way)

    def put(self, copy: Copy) -> bool:
        """Take a copy; False = there is no room."""
        if len(self._queue) >= self.most or self.held + copy.size > self.most_bytes:
            return False
        self._queue.append(copy)
        self.held += copy.size
        if not self._scheduled:
            self._scheduled = True
            self._loop = self._loop or asyncio.get_running_loop()
            self._loop.call_soon(self._send)
        return True

    def close(self) -> None:
        """Send no more of them: the gateway ends."""
        for copy in self._queue:
            copy.drop()
        self._queue.clear()

    def ended(self, copy: Copy) -> None:
        """One was answered, or never will be."""
        self.held -= copy.size
        self._under_way.discard(copy)
        if self._queue and not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
        assert self._loop is not None  # noqa: S101 - `put` has it
        while self._queue and len(self._under_way) < OUTSTANDING:
            copy = self._queue.popleft()
            self._under_way.add(copy)
            copy.begin(self, self._loop)
