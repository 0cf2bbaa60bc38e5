"""When a recorder counts what it noted: half a second later, and a part a turn of the loop."""

import asyncio
from typing import Final

from modelworks.serving.statistics import Recorder

SETTLE_S: Final = 0.5
"""How far other workers' view of the counters lags behind. Counting ten thousand requests takes
2 ms, most of it because everything it touches has left the processor's caches: so it is done
seldom, and nobody's request waits for more than a part of it."""


class Counting:
    """Of one recorder, on the running loop. Holds neither model nor session.

    Attributes:
        due: it will look; whoever notes a call calls `begin` where it is not.
    """

    __slots__ = ("_loop", "_recorder", "due")

    def __init__(self, recorder: Recorder) -> None:
        self._loop = asyncio.get_running_loop()
        self._recorder = recorder
        self.due = False

    def begin(self) -> None:
        """Something was noted."""
        self.due = True
        self._loop.call_later(SETTLE_S, self._step)

    def _step(self) -> None:
        if self._recorder.step():
            self._loop.call_soon(self._step)
        elif self._recorder.noted:  # while the last was counted
            self._loop.call_later(SETTLE_S, self._step)
        else:
            self.due = False
