"""Learn mode at work: once a second it reads one worker's counters and changes the limits.

Off the hot path: requests know nothing of it. Each worker learns for itself, from its own requests.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, time
from typing import Final

from modelworks.core.served import Batching
from modelworks.serving.curve import Curve
from modelworks.serving.decisions import Decision, Seen, Step
from modelworks.serving.forecast import Setting
from modelworks.serving.learn import ENOUGH, Learner
from modelworks.serving.statistics import Numbers, Outcome, Stage

_log = logging.getLogger("modelworks.serving")
PERIOD_S: Final = 1.0
WINDOW_S: Final = 10.0
"""Seconds after which a window ends, however few its requests."""
_WANTED: Final = 2 * ENOUGH
KEPT: Final = 64
"""Decisions remembered."""
_SAID: Final = {Step.IMPOSSIBLE: logging.WARNING}


@dataclass(frozen=True, slots=True)
class Noted:
    """A decision and when it was taken, milliseconds since the epoch."""

    at_ms: int
    decision: Decision


class Learning:
    """Learns for one loaded model until it is stopped. All on the loop's thread.

    Args:
        name: of the model and version, for the log.
        limits: as asked for.
        curve: measured at load.
        sized: batch size that pays, by that curve.
        read: this worker's numbers of the model, now.
        apply: puts a setting in force.

    Attributes:
        learner: what decides.
        history: the last `KEPT` decisions, oldest first.
    """

    def __init__(
        self,
        *,
        name: str,
        limits: Batching,
        curve: Curve,
        sized: int,
        read: Callable[[], Numbers],
        apply: Callable[[Setting], None],
    ) -> None:
        self.learner = Learner(limits, curve, sized)
        self.history: deque[Noted] = deque(maxlen=KEPT)
        self._name = name
        self._read = read
        self._apply = apply
        self._before = read()
        self._began = monotonic()
        self._loop = asyncio.get_running_loop()
        self._act(self.learner.start())
        self._timer = self._loop.call_later(PERIOD_S, self._tick)

    def stop(self) -> None:
        """No decision comes after this one."""
        self._timer.cancel()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(PERIOD_S, self._tick)
        try:
            self._look()
        except Exception:  # noqa: BLE001 - serving goes on with the setting in force
            _log.exception("%s: learning stopped", self._name)
            self.stop()

    def _look(self) -> None:
        now = self._read()
        seconds = monotonic() - self._began
        seen = seen_between(self._before, now, seconds)
        if seen.requests + seen.refused < _WANTED and seconds < WINDOW_S:
            return
        self._before, self._began = now, monotonic()
        decision = self.learner.look(seen)
        if decision is not None:
            self._act(decision)

    def _act(self, decision: Decision) -> None:
        self._apply(decision.setting)
        self.history.append(Noted(int(time() * 1000), decision))
        level = _SAID.get(decision.step, logging.INFO)
        _log.log(
            level, "%s: %s: %s: %s", self._name, decision.step, decision.setting, decision.reason
        )


def seen_between(before: Numbers, after: Numbers, seconds: float) -> Seen:
    """What a worker did between two readings of its numbers."""
    done = after.since(before)
    requests = done.outcomes[Outcome.SUCCESS]
    refused = done.outcomes[Outcome.REJECTED] + done.outcomes[Outcome.EXPIRED]
    p99 = done.stages[Stage.TOTAL].quantile(0.99)
    calls = tuple((row.size, row.calls, row.input_ns + row.infer_ns) for row in done.batches)
    spent = sum(ns for _, _, ns in calls)
    return Seen(
        seconds=max(seconds, 1e-3),
        requests=requests,
        rows=done.items,
        refused=refused,
        p99_ms=p99.estimate / 1e6 if p99 else 0.0,
        work_us=spent / 1000 / max(1, done.items),
        calls=calls,
    )
