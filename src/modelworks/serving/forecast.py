"""What a batch size and a delay would do to latency and work, from the batch curve and the load.

A coarse queueing model: it ranks settings. Whoever uses it multiplies by what was measured, tries,
and undoes what did not come true.
"""

from dataclasses import dataclass
from math import inf, log, sqrt
from typing import Final

from modelworks.serving.curve import CALL_NS, Curve

_ROUNDS: Final = 30
_FULL: Final = 0.97  # of what the engine can do: beyond that a queue only grows
_RARE: Final = 0.02  # an engine busy for less of the time does not show in one of a hundred


@dataclass(frozen=True, slots=True)
class Setting:
    """What learn mode changes."""

    max_batch_size: int
    max_delay_ms: float = 0.0

    def __str__(self) -> str:
        """For a sentence: `batches of 8, delay 2 ms`."""
        return f"batches of {self.max_batch_size}, delay {self.max_delay_ms:.3g} ms"


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of one setting under one load.

    Attributes:
        setting: which.
        p99_ns: of requests, without what HTTP takes; infinite = more comes than can be done.
        work_ns: the engine's time and the server's share of a call, a row.
        most: rows a second that can be done.
        batch: rows of a usual call.
    """

    setting: Setting
    p99_ns: float
    work_ns: float
    most: float
    batch: float


def forecast(curve: Curve, setting: Setting, rate: float) -> Forecast:
    """What `setting` does where `rate` rows a second come, independently of each other.

    Args:
        curve: not empty.
        setting: to judge.
        rate: rows a second.
    """
    size, delay = setting.max_batch_size, setting.max_delay_ms * 1e6
    full = _call(curve, size)
    load = rate * full / size / 1e9
    batch = _batch(curve, size, delay, rate)
    taken = _call(curve, batch)
    work = taken / batch
    most = 1e9 * size / full
    if load >= _FULL:
        return Forecast(setting, inf, full / size, most, size)
    # One of a hundred requests meets a batch of the larger sort, behind another one.
    met = rate * max(taken, delay) / 1e9
    large = _call(curve, min(size, 1 + met + 2 * sqrt(met)))
    busy = rate * work / 1e9
    wait = max(delay if size > 1 else 0.0, large if busy > _RARE else 0.0)
    # The tail of what piles up: heavy traffic, exponential (Kingman).
    piled = full / size * max(0.0, log(100 * load)) / (2 * (1 - load)) if load > _RARE else 0.0
    return Forecast(setting, wait + large + piled, work, most, batch)


def _batch(curve: Curve, size: int, delay: float, rate: float) -> float:
    """Rows of a usual call: those that come while the one before runs, or while it is waited."""
    batch = 1.0
    for _ in range(_ROUNDS):
        gathered = max(rate * _call(curve, batch), rate * delay + 1e9) / 1e9
        batch += (min(float(size), max(1.0, gathered)) - batch) / 2
    return batch


def _call(curve: Curve, rows: float) -> float:
    """Of a whole or a broken number of rows."""
    low = int(rows)
    if low == rows:
        return curve.call_ns(low) + CALL_NS
    share = rows - low
    return (1 - share) * curve.call_ns(low) + share * curve.call_ns(low + 1) + CALL_NS
