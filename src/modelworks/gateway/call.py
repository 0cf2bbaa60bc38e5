"""One request of a caller: whom to ask, again, at the same time, instead; until it is answered."""

import asyncio
from time import monotonic, perf_counter_ns
from typing import Final

from modelworks.core.errors import (
    DeadlineError,
    ModelworksError,
    UnavailableError,
)
from modelworks.edge.head import Head
from modelworks.gateway.answer_head import AnswerHead
from modelworks.gateway.attempt import Attempt
from modelworks.gateway.bodies import LAST_CHUNK, chunk
from modelworks.gateway.counts import RouteCounts
from modelworks.gateway.front import Front
from modelworks.gateway.link import Link
from modelworks.gateway.outgoing import Names, copy_to, field_of, framing
from modelworks.gateway.pairs import Half, Pair
from modelworks.gateway.returns import BadGatewayError, Returns
from modelworks.gateway.seats import Seat, Seats
from modelworks.gateway.table import Known
from modelworks.protocol.routes.policy import Copied

_ILL: Final = frozenset({501})  # 5xx that says nothing against the server
_LARGE: Final = 64 * 1024


class Call:
    """Fulfils `Asker`.

    Args:
        front: of the worker.
        back: where the answer goes.
        head: of the request.
        known: where it leads.

    Attributes:
        arm: who answers; empty before it is known.
        begun: a byte of the answer was sent on.
        heard: when something last happened, `Front.now`.
        status: of the answer; 0 before it came.
        given: bytes of its body.
    """

    __slots__ = (
        *("_attempts", "_back", "_body", "_chunked", "_ended", "_error", "_front", "_head"),
        *("_hedge", "_known", "_names", "_pairs", "_paused", "_pieces", "_seats", "_started"),
        *("_timer", "_tried", "_tries", "_waiting", "_whole", "arm", "begun", "given", "heard"),
        *("over", "status"),
    )

    def __init__(self, front: Front, back: Returns, head: Head, known: Known) -> None:
        self._front = front
        self._back = back
        self._head = head
        self._known = known
        self._attempts: list[Attempt] = []
        self._tried: tuple[Seat, ...] = ()
        self._tries = 0  # beyond the first, that were paid for
        self._seats: Seats | None = None
        self._error: ModelworksError | None = None
        self._body = b""  # all of it, or what waits for a connection
        self._whole = True  # the body is here as a whole, and can be sent again
        self._ended = True  # no more of it comes
        self._chunked = False  # it goes on in chunks
        self._waiting = False
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._hedge: asyncio.TimerHandle | None = None
        self._pairs: tuple[Pair, ...] = ()
        self._pieces: list[bytes] = []
        self._started = 0
        self.arm = ""
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
        state, known = self._known.state, self._known
        self._body, self._whole, self._ended, self._chunked = body, whole, whole, chunked
        self._started = perf_counter_ns()
        self.heard = monotonic()
        policy = state.policy
        try:
            named = policy.reads_field
            field = field_of(self._head, body, named) if named and whole else None
            arm = policy.choose(self._head.headers, field)
            self._seats = state.seats[arm.name]
            route = state.route
            limit_s = route.timeout_s
            own_s = known.forward.timeout_ms / 1000
            if own_s and (not limit_s or own_s < limit_s):
                limit_s = own_s
            if limit_s:
                self._timer = self._front.loop.call_later(limit_s, self._expired)
            state.budget.earn()
            if route.shadows:
                self._copy(policy.shadows(arm))
            self._try()
            if route.hedge_ms and self._repeatable and not self.over:
                delay = route.hedge_ms / 1000
                self._hedge = self._front.loop.call_later(delay, self._second)
        except ModelworksError as error:
            self._refuse(error)

    def send(self, piece: bytes, *, done: bool) -> None:
        """More of a streamed body."""
        self._ended = done
        self.heard = self._front.now
        if self.over:
            return
        data = (chunk(piece) + (LAST_CHUNK if done else b"")) if self._chunked else piece
        link = self._attempts[0].link if self._attempts else None
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
        link = self._attempts[0].link if self.begun and self._attempts else None
        if link is not None:
            link.pause(paused=paused)

    def tick(self, now: float) -> None:
        """Give up what says nothing; called by the sweep."""
        asked = self._seats is not None and not self.over
        # A caller that does not take its answer is the connection's business.
        if asked and not self._paused and now - self.heard > self._front.ways.silence_s:
            self._expired()

    # -- Asker

    def ask(self, attempt: Attempt, link: Link) -> None:
        """See `Asker`."""
        forward = self._known.forward
        seats = self._seats
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
        state = self._known.state
        status = head.status
        seat = attempt.seat
        if status >= 500 and status not in _ILL:
            seat.failed(self._seats_of(seat))
            seat.counts.failures["status"] += 1
            if status in state.route.retries.statuses and self._again(attempt):
                return
        else:
            seat.worked()
        if self._hedge is not None:
            self._hedge.cancel()
            self._hedge = None
        if len(self._attempts) > 1:
            for other in self._attempts:
                if other is not attempt:
                    other.cancel()
            self._attempts = [attempt]
        if attempt.hedge:
            state.counts.hedges_won += 1
        self.begun = True
        self.status = status
        self.heard = self._front.now
        taken = perf_counter_ns() - self._started
        state.counts.arm(self.arm).answered(status, taken)
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
        seat = attempt.seat
        if attempt in self._attempts:
            self._attempts.remove(attempt)
        if reason != "stale":
            seat.counts.failures[reason] += 1
            seat.failed(self._seats_of(seat))
        if self.over:
            return
        if self.begun:
            self._cut()
            return
        self._error = BadGatewayError(why)
        if self._attempts:  # another one is under way, and may still answer
            return
        if not self._elsewhere(attempt, reason):
            self._refuse(self._error)

    def blocked(self, attempt: Attempt, *, blocked: bool) -> None:
        """See `Asker`."""
        if not self._ended and attempt in self._attempts:
            self._back.hold(held=blocked)

    # -- whom to ask

    @property
    def _intact(self) -> bool:
        """Nothing of the body was sent that could not be sent again."""
        return self._whole or bool(self._body)

    @property
    def _repeatable(self) -> bool:
        return self._whole and self._known.forward.safe

    def _seats_of(self, seat: Seat) -> Seats:
        seats = self._seats
        assert seats is not None  # noqa: S101 - an attempt has a seat of them
        if seat in seats.all:
            return seats
        return next(s for s in self._known.state.seats.values() if seat in s.all)

    def _try(self, *, further: bool = False, same: bool = False) -> bool:
        """Ask an endpoint.

        Args:
            further: quietly False when there is nobody left, instead of an error.
            same: one that was tried may be asked again.

        Raises:
            UnavailableError: there is nobody.
        """
        state = self._known.state
        seats = self._seats
        assert seats is not None  # noqa: S101 - `begin` found them
        tried = () if same else self._tried
        seat = seats.pick(tried)
        fallback = state.fallback
        if seat is None and fallback is not None and fallback is not seats:
            seat = fallback.pick(tried)
            if seat is not None:
                state.counts.arm(seats.arm.name).lost["fallback"] += 1
                self._seats = seats = fallback
                state.counts.fallbacks += 1
        seat = seat or seats.any(tried)
        if seat is None:
            if further:
                return False
            raise UnavailableError(f"nobody is left who answers for '{seats.arm.name}'")
        self.arm = seats.arm.name
        self._ask(seat, hedge=False)
        return True

    def _ask(self, seat: Seat, *, hedge: bool) -> None:
        attempt = Attempt(self, seat, hedge=hedge)
        self._attempts.append(attempt)
        attempt.begin()
        if attempt.link is None and not self._ended and not self.over and not self._waiting:
            self._waiting = True  # nothing is read until there is somebody to give it to
            self._back.hold(held=True)

    def _elsewhere(self, attempt: Attempt, reason: str) -> bool:
        """Whether somebody else was asked after a try that brought no answer.

        A connection that was not made, or that had ended before, has cost no server anything: such
        a further try need not be paid for.
        """
        if reason == "connect":
            self._tried = (*self._tried, attempt.seat)
            allowed = self._known.state.route.retries.most and self._intact
            return bool(allowed) and self._try(further=True)
        if reason == "stale" and self._repeatable:
            return self._try(further=True, same=True)
        return self._again(attempt)

    def _again(self, attempt: Attempt) -> bool:
        """Whether a further try was begun, elsewhere where there is an elsewhere."""
        state = self._known.state
        route = state.route
        if self.begun or not self._repeatable:
            return False
        if len(self._attempts) > 1:  # a hedge is under way, and is the further try
            attempt.cancel()
            self._attempts.remove(attempt)
            return True
        if self._tries >= route.retries.most:
            return False
        if not state.budget.spend():
            state.counts.unaffordable += 1
            return False
        self._tries += 1
        self._tried = (*self._tried, attempt.seat)
        attempt.cancel()
        if attempt in self._attempts:
            self._attempts.remove(attempt)
        if self._try(further=True) or self._try(further=True, same=True):
            state.counts.retries += 1
            return True
        return False

    def _second(self) -> None:
        """Nothing came for a while: ask somebody else as well."""
        self._hedge = None
        state, seats = self._known.state, self._seats
        if self.begun or self.over or seats is None or not self._attempts:
            return
        tried = (*self._tried, *(attempt.seat for attempt in self._attempts))
        seat = seats.pick(tried)
        if seat is None:
            return
        if not state.budget.spend():
            state.counts.unaffordable += 1
            return
        state.counts.hedges += 1
        self._ask(seat, hedge=True)

    # -- the end

    def _expired(self) -> None:
        """The time is up."""
        self._timer = None
        for attempt in self._attempts:
            attempt.seat.counts.failures["timeout"] += 1
            attempt.seat.failed(self._seats_of(attempt.seat))
        if self.begun:
            self._cut()
        else:
            self._refuse(DeadlineError(f"'{self.arm}' has not answered in time"))

    def _cut(self) -> None:
        """The answer breaks off."""
        self._known.state.counts.arm(self.arm).lost["cut"] += 1
        self._finish()
        self._back.cut()

    def _refuse(self, error: ModelworksError) -> None:
        if self.over:
            return
        if self._seats is not None:
            self._known.state.counts.arm(self._seats.arm.name).lost["refused"] += 1
        self._finish()
        self._back.refuse(error)

    def _finish(self) -> None:
        """Nothing more comes of it."""
        self.over = True
        for attempt in self._attempts:
            attempt.cancel()
        self._attempts = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._hedge is not None:
            self._hedge.cancel()
            self._hedge = None
        if self._pairs:
            taken = perf_counter_ns() - self._started
            half = Half(self.arm, self.status, taken, b"".join(self._pieces), self.given)
            for pair in self._pairs:
                pair.put(half if self.begun else None, first=True)
            self._pairs = ()

    # -- shadows

    def _copy(self, copies: tuple[Copied, ...]) -> None:
        """Let shadows have the request."""
        body = self._body if self._whole else None
        found = [
            copy_to(self._front, self._known, self._head, body, self._names, to) for to in copies
        ]
        self._pairs = tuple(pair for pair in found if pair is not None)

    def _take(self, piece: bytes) -> None:
        """Keep a piece of the answer, where it is compared."""
        before = self.given
        self.given = before + len(piece)
        if self._pairs and before < self._front.ways.replay:
            self._pieces.append(piece)
