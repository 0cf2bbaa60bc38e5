"""Whether a request can still be answered in its time: told before it waits, not afterwards.

Asked for requests with a deadline only. Without it an overloaded server fills its queue with
requests that all run out of time, and computes less than it could for those that would not.
"""

from typing import Final

from modelworks.serving.cost import Cost

_UP: Final = 0.057  # nineteen steps down are one up: it settles where one wait of twenty is longer
_DOWN: Final = 0.003
_SURPRISE: Final = 0.1  # of what is missing; a machine that became slow is noticed in a few calls
_FORGET: Final = 0.002  # a refusal teaches nothing; what was learnt from others grows old
_LEAST: Final = 0.25
_MOST: Final = 4.0
_WORTH_NS: Final = 20_000  # shorter waits are the loop's own turns, not the model's


class Outlook:
    """Expected waits from what calls cost, held against what waiting really took.

    Costs are those of engine calls alone. What else takes time (decoding, hand-over, neighbours on
    the machine) shows in how much longer than expected requests waited: of that ratio the 95th
    percentile is followed (stochastic approximation of a quantile, Robbins and Monro 1951).

    Args:
        cost: what calls take, by rows.
    """

    __slots__ = ("_cost", "_stretch")

    def __init__(self, cost: Cost) -> None:
        self._cost = cost
        self._stretch = 1.0

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
        needed = (wait_ns + self._cost.predict(rows)) * self._stretch
        if needed <= left_ns or needed == float("inf"):
            return True
        self._stretch += _FORGET * (1.0 - self._stretch)
        return False

    def saw(self, expected_ns: float, taken_ns: float) -> None:
        """Somebody who was told `expected_ns` (of `wait`) has waited `taken_ns`."""
        if expected_ns < _WORTH_NS or expected_ns == float("inf"):
            return
        ratio = min(_MOST, max(_LEAST, taken_ns / expected_ns))
        off = ratio - self._stretch
        step = max(_UP, _SURPRISE * off) if off > 0 else -_DOWN
        self._stretch = min(_MOST, max(_LEAST, self._stretch + step))
