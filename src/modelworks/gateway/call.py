"""One request of a caller, until it is answered; whom it asks is the business of `Tries`."""

import asyncio
from time import monotonic, perf_counter_ns
from typing import Final

from modelworks.core.errors import DeadlineError, ModelworksError
from modelworks.edge.head import Head
from modelworks.gateway.answer_head import AnswerHead
from modelworks.gateway.attempt import Attempt
from modelworks.gateway.bodies import LAST_CHUNK, chunk
from modelworks.gateway.compared import Compared, copied
from modelworks.gateway.counts import RouteCounts
from modelworks.gateway.front import Front
from modelworks.gateway.link import Link
from modelworks.gateway.outgoing import Names, field_of, framing
from modelworks.gateway.returns import BadGatewayError, Returns
from modelworks.gateway.table import Known
from modelworks.gateway.tries import Tries

_ILL: Final = frozenset({501})  # 5xx that says nothing against the server
_LATE: Final = 504
_FAIR_S: Final = 1.0  # a caller that waits for less proves nothing against a server
_LARGE: Final = 64 * 1024


class Call:
    """Fulfils `Asker`.

    Args:
        front: of the worker.
        back: where the answer goes.
        head: of the request.
        known: where it leads.

    Attributes:
        begun: a byte of the answer was sent on.
        heard: when something last happened, `Front.now`.
        status: of the answer; 0 before it came.
        given: bytes of its body.
    """

    __slots__ = (
        *(
            "_back",
            "_body",
            "_chunked",
            "_compared",
            "_ended",
            "_error",
            "_fair",
            "_front",
            "_head",
        ),
        *("_known", "_names", "_paused", "_started", "_timer", "_tries", "_waiting", "_whole"),
        *("begun", "given", "heard", "over", "status"),
    )

    def __init__(self, front: Front, back: Returns, head: Head, known: Known) -> None:
        self._front = front
        self._back = back
        self._head = head
        self._known = known
        self._tries = Tries(self, known.state)
        self._error: ModelworksError | None = None
        self._body = b""  # all of it, or what waits for a connection
        self._whole = True  # the body is here as a whole, and can be sent again
        self._ended = True  # no more of it comes
        self._chunked = False  # it goes on in chunks
        self._waiting = False
        self._paused = False
        self._fair = True  # being late says something about whoever was asked
        self._timer: asyncio.TimerHandle | None = None
        self._compared: Compared | None = None
        self._started = 0
        self.begun = False
        self.over = False
        self.status = 0
        self.given = 0
        self.heard = front.now
        self._names = Names(known)

    @property
    def id(self) -> bytes:
        """Of the request, its own or made here."""
        return self._names.id

    @property
    def counts(self) -> RouteCounts:
        """Of its route."""
        return self._known.state.counts

    # -- what the caller's connection calls

    def begin(self, body: bytes, *, whole: bool, chunked: bool = False) -> None:
        """Ask.

        Args:
            body: all of it, or the beginning of one that is streamed.
            whole: that is all.
            chunked: a streamed body goes on in chunks, for nobody knows its length.
        """
        known, front = self._known, self._front
        state = known.state
        self._body, self._whole, self._ended, self._chunked = body, whole, whole, chunked
        self._started = perf_counter_ns()
        self.heard = monotonic()
        policy, route = state.policy, state.route
        try:
            named = policy.reads_field
            field = field_of(self._head, body, named) if named and whole else None
            arm = policy.choose(self._head.headers, field)
            limit_s = route.timeout_s
            own_s = known.forward.timeout_ms / 1000
            if own_s and (not limit_s or own_s < limit_s):
                limit_s = own_s
                self._fair = own_s >= _FAIR_S
            if limit_s:
                self._timer = front.loop.call_later(limit_s, self._expired)
            state.budget.earn()
            if route.shadows:
                copy = body if whole else None
                to = policy.shadows(arm)
                self._compared = copied(front, known, self._head, copy, self._names, to)
            self._tries.first(arm.name)
        except ModelworksError as error:
            self._refuse(error)
            return
        if self.over:
            return
        if route.hedge_ms and self._repeatable:
            self._tries.hedge_in(route.hedge_ms / 1000, front.loop)
        if not self._ended and self._tries.all[0].link is None:
            self._waiting = True  # nothing is read until there is somebody to give it to
            self._back.hold(held=True)

    def send(self, piece: bytes, *, done: bool) -> None:
        """More of a streamed body."""
        self._ended = done
        self.heard = self._front.now
        if self.over:
            return
        data = (chunk(piece) + (LAST_CHUNK if done else b"")) if self._chunked else piece
        tries = self._tries.all
        link = tries[0].link if tries else None
        if link is None:
            self._body += data
            return
        if done:
            link.ended()
        link.send(data)

    def gone(self) -> None:
        """The caller left: nobody waits for an answer."""
        if not self.over:
            self._finish()

    def pause(self, *, paused: bool) -> None:
        """The caller takes no more of its answer, or does again."""
        self._paused = paused
        self.heard = self._front.now
        tries = self._tries.all
        link = tries[0].link if self.begun and tries else None
        if link is not None:
            link.pause(paused=paused)

    def tick(self, now: float) -> None:
        """Give up what says nothing; called by the sweep."""
        asked = self._tries.seats is not None and not self.over
        # A caller that does not take its answer is the connection's business.
        if asked and not self._paused and now - self.heard > self._front.ways.silence_s:
            self._expired()

    # -- Asker

    def ask(self, attempt: Attempt, link: Link) -> None:
        """See `Asker`."""
        forward = self._known.forward
        seats = self._tries.seats
        assert seats is not None  # noqa: S101 - an attempt has a seat of them
        try:
            begin = forward.begin(seats.arm, attempt.seat.place.address)
        except ModelworksError as error:
            attempt.cancel()
            self._refuse(error)
            return
        head = begin + self._back.forwarded + self._names.lines
        if self._timer is not None:
            left = max(1, int((self._timer.when() - self._front.loop.time()) * 1000))
            head += b"X-Timeout-Ms: %d\r\n" % left
        body = self._body
        head += framing(self._head, body, whole=self._whole, chunked=self._chunked)
        bare, more = self._head.method == b"HEAD", not self._ended
        if len(body) > _LARGE:
            link.ask(attempt, head, bare=bare, more=more)
            link.send(body)
        else:
            link.ask(attempt, head + body, bare=bare, more=more)
        if not self._whole:
            self._body = b""
            if self._waiting:
                self._waiting = False
                self._back.hold(held=False)

    def came(self, attempt: Attempt, head: AnswerHead, piece: bytes, *, done: bool) -> None:
        """See `Asker`."""
        state, tries = self._known.state, self._tries
        status = head.status
        if status >= 500 and status not in _ILL:
            tries.failed(attempt, "status", fair=self._fair or status != _LATE)
            if status in state.route.retries.statuses and self._repeatable and tries.again(attempt):
                return
        else:
            attempt.seat.worked()
        tries.won(attempt)
        self.begun = True
        self.status = status
        self.heard = self._front.now
        taken = perf_counter_ns() - self._started
        state.counts.arm(tries.arm).answered(status, taken)
        self._take(piece)
        if done:
            self._finish()
        self._back.answer(head, piece, done=done)
        if not done and self._paused and attempt.link is not None:
            attempt.link.pause(paused=True)

    def more(self, attempt: Attempt, piece: bytes, *, done: bool) -> None:
        """See `Asker`."""
        if attempt.over and not done:
            return
        self.heard = self._front.now
        self._take(piece)
        if done:
            self._finish()
        self._back.more(piece, done=done)

    def lost(self, attempt: Attempt, reason: str, why: str) -> None:
        """See `Asker`."""
        tries = self._tries
        if attempt in tries.all:
            tries.all.remove(attempt)
        if reason != "stale":
            tries.failed(attempt, reason)
        if self.over:
            return
        if self.begun:
            self._cut()
            return
        self._error = BadGatewayError(why)
        if tries.all:  # another one is under way, and may still answer
            return
        intact = self._whole or bool(self._body)  # nothing was sent that is no longer here
        if not tries.elsewhere(attempt, reason, intact=intact, repeatable=self._repeatable):
            self._refuse(self._error)

    def blocked(self, attempt: Attempt, *, blocked: bool) -> None:
        """See `Asker`."""
        if not self._ended and attempt in self._tries.all:
            self._back.hold(held=blocked)

    @property
    def _repeatable(self) -> bool:
        return self._whole and self._known.forward.safe

    # -- the end

    def _expired(self) -> None:
        """The time is up."""
        self._timer = None
        for attempt in self._tries.all:
            self._tries.failed(attempt, "timeout", fair=self._fair)
        if self.begun:
            self._cut()
        else:
            self._refuse(DeadlineError(f"'{self._tries.arm}' has not answered in time"))

    def _cut(self) -> None:
        """The answer breaks off."""
        self._known.state.counts.arm(self._tries.arm).lost["cut"] += 1
        self._finish()
        self._back.cut()

    def _refuse(self, error: ModelworksError) -> None:
        if self.over:
            return
        seats = self._tries.seats
        if seats is not None:
            self._known.state.counts.arm(seats.arm.name).lost["refused"] += 1
        self._finish()
        self._back.refuse(error)

    def _finish(self) -> None:
        """Nothing more comes of it."""
        self.over = True
        self._tries.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._compared is not None:
            taken = perf_counter_ns() - self._started
            status = self.status if self.begun else 0
            self._compared.end(self._tries.arm, status, taken, self.given)
            self._compared = None

    def _take(self, piece: bytes) -> None:
        """A piece of the answer."""
        self.given += len(piece)
        if self._compared is not None:
            self._compared.take(piece)
