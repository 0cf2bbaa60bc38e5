"""Larger batches than there was time to measure at load, tried on the requests themselves.

Where the budget of the batch curve was over before its end, the limit on batches is doubled while
batches are full, as long as a row gets cheaper by it. The two limits take turns meanwhile: a
machine that is slower in one second than in the next says nothing of either. A doubling that does
not pay is undone, and tried again later; after the third time nobody looks.
"""

import asyncio
import logging
from collections.abc import Callable
from statistics import median
from typing import Final

from modelworks.serving.forecast import Setting
from modelworks.serving.statistics import BatchRow, Numbers

_log = logging.getLogger("modelworks.serving")
PERIOD_S: Final = 1.0
_CALLS: Final = 5  # of each limit in its turn, at least
_PAIRS: Final = 3  # turns of both
_GAIN: Final = 0.95
_TRIES: Final = 3
_PAUSE: Final = 30  # looks; doubles
_FULL: Final = 0.25  # of the calls since the last look: batches are larger where they may be


class Growth:
    """Decides; pure.

    Args:
        size: the largest batch at present.
        limit: the largest that was asked for.

    Attributes:
        size: the largest batch from now on.
        done: it will not change any more.
        reason: how it came to that.
    """

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.done = size >= limit
        self.reason = ""
        self._limit = limit
        self._proven = size
        self._costs: list[float] = []  # ns of a row: of the proven size, of twice that, and so on
        self._rows: list[BatchRow] = []
        self._failed = 0
        self._pause = 0  # looks until the next trial

    def look(self, batches: tuple[BatchRow, ...]) -> bool:
        """Whether `size` changes, after calls of these sizes since the last look."""
        if self._pause:
            self._pause -= 1
            return False
        trial = self.size > self._proven
        mine = [row for row in batches if row.size >= self._proven]
        if not trial and not self._costs and not _mostly(mine, batches):
            self._rows = []
            return False
        self._rows += [row for row in mine if (row.size > self._proven) == trial]
        if sum(row.calls for row in self._rows) < _CALLS:
            return False
        self._costs.append(_cost(self._rows))
        self._rows = []
        if len(self._costs) == 2 * _PAIRS:
            return self._judge()
        self.size = self._proven if trial else min(self._limit, 2 * self._proven)
        self.reason = "under trial: there was no time at load to measure so large batches"
        return True

    def _judge(self) -> bool:
        before, after = self._costs[::2], self._costs[1::2]
        self._costs = []
        ratio = median(large / small for small, large in zip(before, after, strict=True))
        told = (
            f"{median(before) / 1000:.4g} us a row in batches of {self._proven}, "
            f"{median(after) / 1000:.4g} in batches of up to {self.size}"
        )
        if ratio > _GAIN:
            self.reason = f"learnt under load: {told}: not worth it"
            self.size = self._proven
            self._failed += 1
            self._pause = _PAUSE << self._failed
            self.done = self._failed == _TRIES
            return True
        self._failed = 0
        self.reason = f"learnt under load: {told}"
        self._proven = self.size
        self.done = self.size == self._limit
        return False


def _mostly(large: list[BatchRow], every: tuple[BatchRow, ...]) -> bool:
    """Whether batches are often as large as they may be."""
    return 0 < sum(row.calls for row in large) >= _FULL * sum(row.calls for row in every)


def _cost(rows: list[BatchRow]) -> float:
    """Nanoseconds of a row."""
    spent = sum(row.input_ns + row.infer_ns for row in rows)
    return spent / sum(row.calls * row.size for row in rows)


class Growing:
    """Looks once a second until it is done or stopped. All on the loop's thread.

    Args:
        name: of the model, for the log.
        growth: decides.
        delay_ms: in force; it stays.
        read: this worker's numbers of the model, now.
        apply: puts a setting in force.
    """

    def __init__(
        self,
        name: str,
        growth: Growth,
        delay_ms: float,
        read: Callable[[], Numbers],
        apply: Callable[[Setting], None],
    ) -> None:
        self.growth = growth
        self._name = name
        self._delay_ms = delay_ms
        self._read = read
        self._apply = apply
        self._before = read()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(PERIOD_S, self._look)

    def stop(self) -> None:
        """The limit stays as it is."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._read()
        done = now.since(self._before)
        self._before = now
        growth = self.growth
        if growth.look(done.batches):
            self._apply(Setting(growth.size, self._delay_ms))
            _log.info("%s: batches of up to %d: %s", self._name, growth.size, growth.reason)
        if not growth.done:
            self._timer = self._loop.call_later(PERIOD_S, self._look)
