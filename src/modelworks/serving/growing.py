"""Larger batches than there was time to measure at load, tried on the requests themselves.

Where the budget of the batch curve was over before its end, the limit on batches is doubled while
batches are full, as long as a row gets cheaper by it. A doubling that does not pay is undone, and
tried again later, for one measurement on a busy machine says little; after the third none looks.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from modelworks.serving.forecast import Setting
from modelworks.serving.statistics import BatchRow, Numbers

_log = logging.getLogger("modelworks.serving")
PERIOD_S: Final = 1.0
_CALLS: Final = 20  # before and after: fewer say too little
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
        self._cheapest = 0.0  # ns of a row in batches of the proven size
        self._rows: list[BatchRow] = []
        self._failed = 0
        self._pause = 0  # looks until the next trial

    def look(self, batches: tuple[BatchRow, ...]) -> bool:
        """Whether `size` changes, after calls of these sizes since the last look."""
        if self._pause:
            self._pause -= 1
            return False
        proven = self._proven
        self._rows += [row for row in batches if row.size >= proven]
        trial = self.size > proven
        mine = [row for row in self._rows if (row.size > proven) == trial]
        calls = sum(row.calls for row in mine)
        if calls < _CALLS or (not trial and calls < _FULL * sum(row.calls for row in batches)):
            return False
        rows = sum(row.calls * row.size for row in mine)
        cost = sum(row.input_ns + row.infer_ns for row in mine) / rows
        self._rows = []
        if not trial:
            self._cheapest = cost
            self.size = min(self._limit, 2 * proven)
            self.reason = "under trial: there was no time at load to measure so large batches"
            return True
        told = f"{self._cheapest / 1000:.4g} us a row in batches of {proven}, {cost / 1000:.4g}"
        if cost > _GAIN * self._cheapest:
            self.reason = f"learnt under load: {told} in batches of up to {self.size}: not worth it"
            self.size = proven
            self._failed += 1
            self._pause = _PAUSE << self._failed
            self.done = self._failed == _TRIES
            return True
        self._failed = 0
        self.reason = f"learnt under load: {told} in batches of up to {self.size}"
        self._proven = self.size
        self.done = self.size == self._limit
        return False


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
