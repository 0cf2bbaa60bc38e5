"""Whether a request can still be answered in its time: told before it waits, not afterwards.

Asked for requests with a deadline only. Without it an overloaded server fills its queue with
requests that all run out of time, and computes less than it could for those that would not. What
refusing costs is taken from those who are answered: one refusal is made for all who come while it
holds.
"""

from math import ceil
from typing import Final

from modelworks.core.errors import UnavailableError
from modelworks.edge.exchange import Headers
from modelworks.serving.cost import Cost

_UP: Final = 0.057  # nineteen steps down are one up: it settles where one wait of twenty is longer
_DOWN: Final = 0.003
_SURPRISE: Final = 0.1  # of what is missing; a machine that became slow is noticed in a few calls
_FORGET: Final = 0.002  # a refusal teaches nothing; what was learnt from others grows old
_LEAST: Final = 0.25
_MOST: Final = 4.0
_WORTH_NS: Final = 20_000  # shorter waits are the loop's own turns, not the model's
_HOLDS_NS: Final = 5_000_000  # so much later a deadline may be for a refusal to hold unasked


class LateError(UnavailableError):
    """A request would be answered too late; raised again for everybody of whom that is true.

    Attributes:
        answer: it as status, body and headers, once somebody has written that.
    """

    answer: tuple[int, bytes, Headers] | None = None


class Outlook:
    """Expected waits from what calls cost, held against what waiting really took.

    Costs are those of engine calls alone. What else takes time (decoding, hand-over, neighbours on
    the machine) shows in how much longer than expected requests waited: of that ratio the 95th
    percentile is followed (stochastic approximation of a quantile, Robbins and Monro 1951).

    Args:
        cost: what calls take, by rows.
    """

    __slots__ = (
        *("_again", "_cost", "_items", "_largest", "_late", "_over", "_rows", "_stretch"),
        "_until",
    )

    def __init__(self, cost: Cost) -> None:
        self._cost = cost
        self._stretch = 1.0
        self._over = 0.0  # nanoseconds that the last one who did not fit was late
        self._late: LateError | None = None  # the last refusal, and of whom it is true
        self._items = self._rows = self._largest = self._until = 0
        self._again = 0  # how often it was used again

    @property
    def stretch(self) -> float:
        """How many times longer than the bare engine calls a wait takes."""
        return self._stretch

    def wait(self, items: int, largest: int, running: int, since_ns: int) -> float:
        """Nanoseconds of engine calls until somebody behind `items` begins; infinite = unknown.

        Args:
            items: rows that wait in front.
            largest: rows a call takes at most.
            running: rows of the call that runs now; 0 = none.
            since_ns: how long it has been running.
        """
        left = max(0.0, self._cost.predict(running) - since_ns) if running else 0.0
        return left + items // largest * self._cost.predict(largest) if items >= largest else left

    def fits(self, wait_ns: float, rows: int, left_ns: float) -> bool:
        """Whether `rows` that begin after `wait_ns` are answered within `left_ns`.

        Args:
            wait_ns: as `wait` has it.
            rows: of the call that they will be in.
            left_ns: to the deadline.
        """
        if self._again:
            self._stretch = 1.0 + (self._stretch - 1.0) * (1.0 - _FORGET) ** self._again
            self._again = 0
        needed = (wait_ns + self._cost.predict(rows)) * self._stretch
        if needed <= left_ns or needed == float("inf"):
            return True
        self._over = needed - left_ns
        self._stretch += _FORGET * (1.0 - self._stretch)
        return False

    def late(self, items: int, rows: int, largest: int, deadline_ns: int) -> LateError | None:
        """The last refusal, where it is true of this request too; None = work it out.

        As many wait in front of it, so it is answered no earlier; and it has no more time. What
        time passed meanwhile has brought the answer to both nearer by the same.

        Args:
            items: rows that wait in front.
            rows: of its own.
            largest: rows a call takes at most.
            deadline_ns: of `perf_counter_ns`.
        """
        if (
            deadline_ns > self._until
            or items < self._items
            or rows < self._rows
            or largest != self._largest
        ):
            return None
        self._again += 1
        return self._late

    def refusal(
        self, name: str, items: int, rows: int, largest: int, deadline_ns: int, wait_ns: float
    ) -> LateError:
        """Of somebody who did not fit, just now; kept for `late`.

        Args:
            name: of the model.
            items: as in `late`; so are `rows`, `largest` and `deadline_ns`.
            rows: of its own.
            largest: rows a call takes at most.
            deadline_ns: of `perf_counter_ns`.
            wait_ns: as `wait` has it.
        """
        self._items, self._rows, self._largest = items, rows, largest
        self._until = deadline_ns + int(min(self._over, _HOLDS_NS))
        self._late = LateError(
            f"model '{name}' has {items} items waiting: this request would be answered too late "
            "for its time-out; try again later",
            retry_after=max(1, ceil(wait_ns / 1e9)),
        )
        return self._late

    def saw(self, expected_ns: float, taken_ns: float) -> None:
        """Somebody who was told `expected_ns` (of `wait`) has waited `taken_ns`."""
        if expected_ns < _WORTH_NS or expected_ns == float("inf"):
            return
        ratio = min(_MOST, max(_LEAST, taken_ns / expected_ns))
        off = ratio - self._stretch
        step = max(_UP, _SURPRISE * off) if off > 0 else -_DOWN
        self._stretch = min(_MOST, max(_LEAST, self._stretch + step))
