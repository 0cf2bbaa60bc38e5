"""All tries of one request: the first, further ones that its budget pays, a hedge, the fallback."""

import asyncio

from modelworks.core.errors import UnavailableError
from modelworks.gateway.attempt import Asker, Attempt
from modelworks.gateway.seats import Seat, Seats
from modelworks.gateway.table import RouteState


class Tries:
    """Whom one request asks.

    Args:
        asker: who makes the request.
        state: of its route.

    Attributes:
        all: that are under way.
        arm: who was asked last; empty = nobody yet.
        seats: of the arm that the request fell to, or of the fallback where that was asked; None
            before the arm is known.
    """

    __slots__ = ("_asker", "_hedge", "_paid", "_state", "_tried", "all", "arm", "seats")

    def __init__(self, asker: Asker, state: RouteState) -> None:
        self._asker = asker
        self._state = state
        self._tried: tuple[Seat, ...] = ()
        self._paid = 0
        self._hedge: asyncio.TimerHandle | None = None
        self.all: list[Attempt] = []
        self.arm = ""
        self.seats: Seats | None = None

    def first(self, arm: str) -> None:
        """Ask an arm.

        Raises:
            UnavailableError: nobody is left who answers for it.
        """
        seats = self.seats = self._state.seats[arm]
        if not self._next():
            raise UnavailableError(f"nobody is left who answers for '{seats.arm.name}'")

    def hedge_in(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """Ask somebody else as well, when nothing came for so long."""
        self._hedge = loop.call_later(seconds, self._second, seconds, loop)

    def elsewhere(self, attempt: Attempt, reason: str, *, intact: bool, repeatable: bool) -> bool:
        """Whether somebody else was asked after a try that brought no answer.

        A connection that was not made, or that had ended before, has cost no server anything: such
        a further try need not be paid for.

        Args:
            attempt: that failed.
            reason: see `Asker.lost`.
            intact: nothing of the body was sent that could not be sent again.
            repeatable: the request may be answered twice.
        """
        if reason == "connect":
            self._tried = (*self._tried, attempt.seat)
            return bool(self._state.route.retries.most) and intact and self._next()
        if reason == "stale" and repeatable:
            return self._next(same=True)
        return repeatable and self.again(attempt)

    def again(self, attempt: Attempt) -> bool:
        """Whether a further try of a request that may be repeated was begun, or is under way."""
        state = self._state
        if len(self.all) > 1:  # a hedge is under way, and is the further try
            self._drop(attempt)
            return True
        if self._paid >= state.route.retries.most:
            return False
        if not state.budget.spend():
            state.counts.unaffordable += 1
            return False
        self._paid += 1
        self._tried = (*self._tried, attempt.seat)
        self._drop(attempt)
        if self._next() or self._next(same=True):
            state.counts.retries += 1
            return True
        return False

    def won(self, attempt: Attempt) -> None:
        """This one's answer is the caller's: the others are dropped."""
        if self._hedge is not None:
            self._hedge.cancel()
            self._hedge = None
        if len(self.all) > 1:
            for other in self.all:
                if other is not attempt:
                    other.cancel()
            self.all = [attempt]
        if attempt.hedge:
            self._state.counts.hedges_won += 1

    def failed(self, attempt: Attempt, reason: str, *, fair: bool = True) -> None:
        """Count it, and hold it against the endpoint.

        Args:
            attempt: that failed.
            reason: one of `counts.REASONS`.
            fair: False = it says nothing about the endpoint.
        """
        seat = attempt.seat
        seat.counts.failures[reason] += 1
        if not fair:
            return
        seats = self.seats
        if seats is None or seat not in seats.all:  # it was asked before the fallback was
            seats = next(s for s in self._state.seats.values() if seat in s.all)
        seat.failed(seats)

    def end(self) -> None:
        """Drop all that is under way."""
        for attempt in self.all:
            attempt.cancel()
        self.all = []
        if self._hedge is not None:
            self._hedge.cancel()
            self._hedge = None

    def _next(self, *, same: bool = False) -> bool:
        """Ask an endpoint; False = there is nobody left.

        Args:
            same: one that was tried may be asked again.
        """
        state, seats = self._state, self.seats
        assert seats is not None  # noqa: S101 - `first` has set it
        tried = () if same else self._tried
        seat = seats.pick(tried)
        fallback = state.fallback
        if seat is None and fallback is not None and fallback is not seats:
            seat = fallback.pick(tried)
            if seat is not None:
                state.counts.arm(seats.arm.name).lost["fallback"] += 1
                self.seats = seats = fallback
                state.counts.fallbacks += 1
        seat = seat or seats.any(tried)
        if seat is None:
            return False
        self.arm = seats.arm.name
        self._ask(seat)
        return True

    def _ask(self, seat: Seat, *, hedge: bool = False) -> None:
        attempt = Attempt(self._asker, seat, hedge=hedge)
        self.all.append(attempt)
        attempt.begin()

    def _drop(self, attempt: Attempt) -> None:
        attempt.cancel()
        if attempt in self.all:
            self.all.remove(attempt)

    def _second(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing came for a while: ask somebody else as well, as soon as somebody else is well."""
        self._hedge = None
        state, seats = self._state, self.seats
        if seats is None or not self.all:
            return
        seat = seats.pick((*self._tried, *(attempt.seat for attempt in self.all)))
        if seat is None:
            if len(seats.all) > len(self.all):
                self.hedge_in(2 * seconds, loop)
            return
        if not state.budget.spend():
            state.counts.unaffordable += 1
            return
        state.counts.hedges += 1
        self._ask(seat, hedge=True)
