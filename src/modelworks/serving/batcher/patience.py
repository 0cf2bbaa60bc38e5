"""Whether an idle engine waits for company, and for how long: pure, told the time.

A delay is an upper bound. Waiting ends as soon as it cannot pay any more: callers that wait for
their answers before they ask again are all there when as many wait as ever did of late.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from modelworks.serving.batcher.line import Group, Line
from modelworks.serving.execute import Cut

_LOOK_BACK: Final = 8  # engine calls
_SHARE: Final = 100  # one hundredth of the time may go into looking whether there are more callers
_MARGIN: Final = 1.25
_GRAIN_NS: Final = 1_000_000  # of the loop's timers
_NOBODY: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Go:
    """Send now.

    Attributes:
        group: who goes.
        cut: why now.
        above: what else may be said of the batch, and says less.
    """

    group: Group
    cut: Cut
    above: frozenset[Cut] = frozenset({Cut.IDLE, Cut.SHAPE})


class Patience:
    """When to stop waiting.

    Args:
        delay_ns: since the oldest member of a group was queued.
        size: rows of a full batch.
        predict: nanoseconds of a call, by rows.
    """

    def __init__(self, delay_ns: int, size: int, predict: Callable[[int], float]) -> None:
        self._delay = delay_ns
        self._size = size
        self._predict = predict
        self._crowds: deque[int] = deque(maxlen=_LOOK_BACK)
        self._spare = 0  # nanoseconds that may be spent on waiting for somebody unheard of
        self._looked = 0
        self._until = 0  # a look goes on; 0 = none does
        self._length = 0  # of it
        self._before = 0  # who waited when it began

    def seen(self, members: int, line: Line) -> None:
        """An engine call ended: of so many members, while those of `line` waited."""
        self._crowds.append(members + sum([len(group.members) for group in line.groups()]))
        if self._until and members > self._before:
            self._spare = min(self._delay, 2 * self._length)
        self._until = 0

    def decide(self, line: Line, *, timed: bool, now: int) -> Go | int:
        """Who goes now, or nanoseconds until the next look.

        Args:
            line: not empty.
            timed: whether any member has a deadline.
            now: on the members' clock.
        """
        first: Group | None = None
        until = _NOBODY
        waiting = 0
        for group in line.groups():
            first = first or group
            waiting += len(group.members)
            if group.rows >= self._size:
                return Go(group, Cut.FULL)
            due = group.members[0].queued_ns + self._delay
            if due <= now:
                return Go(group, Cut.DELAY)
            if timed and (latest := self._latest(group)) < due:
                if latest <= now:
                    return Go(group, Cut.DEADLINE)
                due = latest
            until = min(until, due)
        if first is None:
            raise ValueError("nobody waits")
        if waiting >= max(self._crowds, default=_NOBODY):
            until = min(until, self._probe(waiting, now))
            if until <= now:
                return Go(first, Cut.ALONE, frozenset({Cut.IDLE}))
        return until - now

    def _latest(self, group: Group) -> int:
        """When the group has to go for its most hurried member to be answered in time."""
        soonest = _soonest(m.deadline_ns for m in group.members)
        needed = _MARGIN * self._predict(group.rows) + _GRAIN_NS
        return soonest - int(min(needed, float(_NOBODY)))

    def _probe(self, waiting: int, now: int) -> int:
        """Until when to look whether there are more callers than is known; not over `now`: no.

        What was waited in vain comes out of a share of the time; what brought somebody is free,
        and the next look is twice as long.
        """
        if self._looked:
            self._spare = min(self._delay, self._spare + (now - self._looked) // _SHARE)
        self._looked = now
        if not self._until and self._spare >= min(self._delay, max(self._delay // 16, _GRAIN_NS)):
            self._until, self._length, self._before = now + self._spare, self._spare, waiting
            self._spare = 0
        return self._until


def _soonest(deadlines: Iterable[int]) -> int:
    return min((at for at in deadlines if at), default=_NOBODY)
