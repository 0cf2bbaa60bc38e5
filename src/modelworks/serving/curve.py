"""The batch curve: what a call takes by its rows, measured at load; how large batches pay.

A network on a CPU may gain nothing from batches, and cost much memory: then it gets none.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from time import perf_counter_ns
from typing import Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.seams import Session
from modelworks.core.tensor import Signature, Tensors
from modelworks.serving.warmup import made_up

BUDGET_NS: Final = 500_000_000
"""Of all timed calls of one load; after it no other size is begun."""
LENGTH: Final = 32
"""Assumed of axes of unknown length: a text of one token says little about one of thirty."""
CALL_NS: Final = 30_000
"""What the server itself spends on a call, whatever its rows; it counts where models are fast."""
_NEAR: Final = 1.03  # a size this near the best is as good, and takes less memory and time
_GAIN: Final = 0.95
_PATIENCE: Final = 2  # sizes in a row that gain nothing: no more are tried
_CALLS: Final = 4  # of the largest size, at most
_OVER_NS: Final = 100_000_000  # the second call of a size may end that late: one says too little


@dataclass(frozen=True, slots=True)
class Point:
    """The fastest call of `rows` rows took `ns`."""

    rows: int
    ns: float

    @property
    def per_row(self) -> float:
        """Nanoseconds a row, the server's own share of the call included."""
        return (self.ns + CALL_NS) / self.rows


@dataclass(frozen=True, slots=True)
class Curve:
    """What was measured, by rising rows.

    Attributes:
        points: empty where nothing could be measured.
        stopped: why no larger batch was tried; empty = the limit was reached.
        length: assumed of axes of unknown length; 0 = there are none.
        late: it was the time that was over: larger batches may be worth a trial under load.
    """

    points: tuple[Point, ...] = ()
    stopped: str = ""
    length: int = 0
    late: bool = False

    def call_ns(self, rows: int) -> float:
        """A call of `rows` rows: between two points linear, beyond the last as that one's rows.

        Raises:
            ValueError: nothing was measured.
        """
        if not self.points:
            raise ValueError("an empty curve says nothing")
        first, last = self.points[0], self.points[-1]
        if rows >= last.rows:
            return last.ns * rows / last.rows
        if rows <= first.rows:
            return first.ns
        for low, high in pairwise(self.points):
            if rows <= high.rows:
                share = (rows - low.rows) / (high.rows - low.rows)
                return low.ns + share * (high.ns - low.ns)
        return last.ns

    def learnt(self, calls: Iterable[tuple[int, int, int]], weight: float = 0.3) -> "Curve":
        """The curve moved towards calls that were seen: (rows, how many, their nanoseconds).

        The whole curve follows how much slower or faster they were than it says, for sizes that
        were not seen are slower too on a machine that is; then each size follows its own calls.
        """
        seen = [(rows, ns / count, count) for rows, count, ns in calls if count and ns]
        if not seen:
            return self
        if not self.points:
            return replace(self, points=tuple(Point(rows, ns) for rows, ns, _ in sorted(seen)))
        known = [call for call in seen if call[0] <= self.points[-1].rows]
        expected = sum(count * self.call_ns(rows) for rows, _, count in known)
        ratio = sum(count * ns for _, ns, count in known) / expected if known else 1.0
        scale = 1 + weight * (ratio - 1)
        points = {point.rows: scale * point.ns for point in self.points}
        points |= {rows: ns for rows, ns, _ in seen}  # larger ones than ever: it is all there is
        for rows, ns, _ in known:
            old = self.call_ns(rows)
            points[rows] = scale * old * (1 + weight * (ns / (ratio * old) - 1))
        found = tuple(Point(rows, ns) for rows, ns in sorted(points.items()))
        return replace(self, points=found)


def worthwhile(curve: Curve, largest: int) -> tuple[int, str]:
    """The smallest batch size whose rows cost about as little as the cheapest, and why.

    Args:
        curve: measured.
        largest: never above this.
    """
    points = [point for point in curve.points if point.rows <= largest]
    if not points:
        return largest, "nothing was measured at load: the limit is the one given"
    best = min(points, key=lambda point: point.per_row)
    found = next(point for point in points if point.per_row <= _NEAR * best.per_row)
    rest = f"; not tried beyond {points[-1].rows}: {curve.stopped}" if curve.stopped else ""
    if found.rows == 1:
        return 1, f"batches make no row cheaper ({_list(points)}){rest}"
    if found.rows == largest:
        return largest, f"the limit given is also where a row costs least ({_list(points)})"
    return found.rows, f"larger batches make a row no cheaper ({_list(points)}){rest}"


def _list(points: Iterable[Point]) -> str:
    return ", ".join(f"{p.rows}: {p.ns / p.rows / 1000:.4g}" for p in points) + " us a row"


def measure(
    session: Session,
    free: int,
    largest: int,
    learn: Callable[[int, float], None],
    clock: Callable[[], int] = perf_counter_ns,
) -> Curve:
    """Time batches of 1, 2, 4 ... rows until they gain nothing, or the budget is used up.

    Then all of them again, in turn: a machine that was slow for a tenth of a second must neither
    choose a size nor be the reason that a larger one is not tried.

    Args:
        session: warm.
        free: length of free axes that the model accepts.
        largest: rows at most.
        learn: told of every call that is like those of requests: rows, nanoseconds.
        clock: nanoseconds.
    """
    length = _length(session, free) if _free_axes(session.signature) else 0
    told = learn if not length or length == free else _ignore

    def begin(rows: int) -> _Size:
        inputs = made_up(session.signature, rows, length or free)
        return _Size(session, inputs, rows, partial(told, rows))

    trials = _Trials(largest, begin, clock)
    while trials.extend() or trials.repeat():
        pass
    points = tuple(Point(size.rows, size.ns) for size in trials.sizes)
    return Curve(points, trials.stopped or trials.gains_nothing(), length, trials.late)


class _Trials:
    """The sizes of one load, within its budget.

    Attributes:
        sizes: by rising rows.
        stopped: why there will be no larger one; empty = nothing but their worth is against it.
        late: there was no time for one.
    """

    def __init__(
        self, largest: int, begin: Callable[[int], "_Size"], clock: Callable[[], int]
    ) -> None:
        self.sizes: list[_Size] = []
        self.stopped = ""
        self.late = False
        self._left = deque(_rows(largest))
        self._begin = begin
        self._clock = clock
        self._until = clock() + BUDGET_NS

    def gains_nothing(self) -> str:
        """Said where the last sizes made no row cheaper than those before them did."""
        points = [Point(size.rows, size.ns).per_row for size in self.sizes]
        before, last = points[:-_PATIENCE], points[-_PATIENCE:]
        if self._left and before and min(last) >= _GAIN * min(before):
            return "two sizes in a row gained nothing"
        return ""

    def extend(self) -> bool:
        """Time the next size, where it may be worth it."""
        if not self._left or self.stopped or self.gains_nothing():
            return False
        rows = self._left[0]
        if self.sizes and self._clock() + _expected(self.sizes, rows) > self._until:
            self.stopped = f"measuring it would have taken over {BUDGET_NS / 1e9:g} s"
            self.late = True
            return False
        size = self._begin(rows)
        try:
            size.call(self._clock)
        except InvalidError as error:
            self.stopped = f"a batch of {rows} is refused: {error}"
            return False
        if self._clock() + size.ns <= self._until + _OVER_NS:
            size.call(self._clock)
        self.sizes.append(size)
        self._left.popleft()
        return True

    def repeat(self) -> bool:
        """Time each once more, where there is time for all; False = there is not, or enough."""
        sizes = self.sizes
        if not sizes or len(sizes[-1].taken) >= _CALLS:
            return False
        if self._clock() + sum(size.ns for size in sizes) > self._until:
            return False
        for size in sizes:
            size.call(self._clock)
        return True


class _Size:
    """The calls of one number of rows, joined as those of requests are.

    Attributes:
        rows: of each.
        taken: nanoseconds of each.
    """

    def __init__(
        self, session: Session, inputs: Tensors, rows: int, learn: Callable[[float], None]
    ) -> None:
        self.rows = rows
        self.taken: list[float] = []
        self._infer = session.infer
        self._inputs = inputs
        single = {} if rows == 1 else inputs  # nothing to take apart, perhaps not even an axis
        self._parts = {
            name: [array[row : row + 1] for row in range(rows)] for name, array in single.items()
        }
        self._learn = learn

    @property
    def ns(self) -> float:
        """The fastest: what disturbs a call makes it longer, never shorter."""
        return min(self.taken)

    def call(self, clock: Callable[[], int]) -> None:
        """One more."""
        began = clock()
        inputs = self._inputs
        if self.rows > 1:
            inputs = {name: np.concatenate(parts) for name, parts in self._parts.items()}
        self._infer(inputs)
        self.taken.append(float(clock() - began))
        self._learn(self.taken[-1])


def _expected(sizes: list[_Size], rows: int) -> float:
    """What a call of more rows than any before it will take: as the last step went on."""
    last = sizes[-1]
    if len(sizes) == 1:
        return last.ns * rows / last.rows
    before = sizes[-2]
    step = max(0.0, last.ns - before.ns) / (last.rows - before.rows)
    return last.ns + step * (rows - last.rows)


def _ignore(rows: int, ns: float) -> None:
    """A call of another length than requests may have."""


def _rows(largest: int) -> Iterator[int]:
    rows = 1
    while rows < largest:
        yield rows
        rows *= 2
    yield largest


def _free_axes(signature: Signature) -> bool:
    return any(None in spec.shape[1:] for spec in signature.inputs)


def _length(session: Session, free: int) -> int:
    """`LENGTH` where the model takes it, else what it is known to take."""
    if free >= LENGTH:
        return free
    try:
        session.infer(made_up(session.signature, 1, LENGTH))
    except InvalidError:
        return free
    return LENGTH
