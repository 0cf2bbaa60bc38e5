"""Which endpoint of an arm is asked: own zone, ready, not resting, least outstanding."""

from random import randrange
from time import monotonic
from typing import Final

from modelworks.core.routes import Arm, Breaker
from modelworks.gateway.counts import SeatCounts
from modelworks.gateway.place import Place

_LONGEST: Final = 16  # a rest is at most so many times as long as the first


class Seat:
    """One endpoint as one arm of one route sees it.

    Attributes:
        place: the upstream itself, which other routes may know as well.
        near: it is in our own zone.
        rests_until: on the clock of `time.monotonic`; until then it is ejected.
        counts: what it did; kept from snapshot to snapshot.
    """

    __slots__ = ("_failures", "_rests", "breaker", "counts", "near", "place", "rests_until")

    def __init__(self, place: Place, breaker: Breaker, counts: SeatCounts, *, near: bool) -> None:
        self.place = place
        self.breaker = breaker
        self.counts = counts
        self.near = near
        self.rests_until = 0.0
        self._failures = 0  # in a row
        self._rests = 0  # in a row

    def like(self, old: "Seat") -> None:
        """Go on where the seat of the last snapshot was."""
        self.rests_until, self._failures, self._rests = old.shown()

    def shown(self) -> tuple[float, int, int]:
        """What it has shown so far: until when it rests, failures and rests in a row."""
        return self.rests_until, self._failures, self._rests

    def worked(self) -> None:
        """An answer came, and it was none of an ill server."""
        self._failures = 0
        self._rests = 0

    def failed(self, seats: "Seats") -> None:
        """No answer came, or one of an ill server: enough in a row, and it rests."""
        breaker = self.breaker
        self._failures += 1
        if not breaker.failures or self._failures < breaker.failures:
            return
        now = monotonic()
        if self.rests_until > now or not seats.may_rest(now):
            return
        self.rests_until = now + breaker.rest_s * min(1 << min(self._rests, 8), _LONGEST)
        self._rests += 1
        # Behind its rest one more failure is enough: it has not shown yet that it is well.
        self._failures = breaker.failures - 1
        self.counts.ejections += 1


class Seats:
    """All endpoints of one arm.

    Args:
        arm: whose.
        seats: at least one, except for an arm that nobody can ask.
        most_ejected: see `Breaker`.

    Attributes:
        arm: whose.
        all: of them.
    """

    __slots__ = ("_most", "_only", "all", "arm")

    def __init__(self, arm: Arm, seats: tuple[Seat, ...], most_ejected: float) -> None:
        self.arm = arm
        self.all = seats
        self._only = seats[0] if len(seats) == 1 else None
        self._most = min(int(most_ejected * len(seats)), len(seats) - 1)

    def may_rest(self, now: float) -> bool:
        """Whether one more may be ejected."""
        return sum(seat.rests_until > now for seat in self.all) < self._most

    def pick(self, tried: tuple[Seat, ...] = ()) -> Seat | None:
        """The best endpoint that was not tried; None = there is none that is well.

        A resting or unready one is never picked: see `any`.
        """
        only = self._only
        if only is not None:
            if only in tried or not only.place.ready or _full(only):
                return None
            return only
        now = monotonic()
        best: Seat | None = None
        least = 0
        count = 0
        for seat in self.all:
            place = seat.place
            if seat.rests_until > now or not place.ready or seat in tried or _full(seat):
                continue
            load = place.outstanding
            if best is None or (seat.near and not best.near):
                best, least, count = seat, load, 1
            elif seat.near == best.near:
                if load < least:
                    best, least, count = seat, load, 1
                elif load == least:
                    # Equals take turns by chance: else the first one gets all of a quiet hour.
                    count += 1
                    if not randrange(count):  # noqa: S311 - no secret
                        best = seat
        return best

    def any(self, tried: tuple[Seat, ...] = ()) -> Seat | None:
        """One that seems ill: better than no answer, for health is known late."""
        left = [seat for seat in self.all if seat not in tried and not _full(seat)]
        return min(left, key=lambda seat: (not seat.near, seat.place.outstanding), default=None)


def _full(seat: Seat) -> bool:
    most = seat.breaker.outstanding
    return bool(most) and seat.place.outstanding >= most
