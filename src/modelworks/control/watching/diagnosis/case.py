"""What a diagnosis looks at: two spans of series, and what was done meanwhile."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from modelworks.core.series import Series, SeriesSource
from modelworks.monitor.series.names import Roll, roll_of

_APART: Final = frozenset({"version", "machine"})
_FEWEST: Final = 3
"""Windows of each span below which nothing is said of a series."""
NAMES: Final = (
    "requests",
    "errors",
    "rejected",
    "invalid",
    "latency_p50_ms",
    "latency_p99_ms",
    "queue_p99_ms",
    "compute_p99_ms",
    "model_queue_items",
    "drift",
    "drift_loss",
    "missing",
    "out_of_range",
    "new_category",
    "wrong_type",
    "quality",
)
HOST: Final = (
    "host_cpu_share",
    "host_memory_share",
    "host_disk_share",
    "host_major_faults_per_s",
    "process_memory_bytes",
)


@dataclass(frozen=True, slots=True)
class Act:
    """Something that was done, or happened.

    Attributes:
        at: seconds since 1970, UTC.
        what: a sentence.
        version: that serves since then; empty = none was exchanged.
    """

    at: float
    what: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """One series, before and now.

    Attributes:
        name: of it.
        labels: of it.
        before: median of its windows.
        now: the same.
        spread: median distance of the windows before from their median, as a normal's standard
            deviation; at least a hundredth of the median.
        since: end of the first window that was beyond what it was before; 0 = none was.
    """

    name: str
    labels: Mapping[str, str]
    before: float
    now: float
    spread: float
    since: float = 0.0

    @property
    def sigmas(self) -> float:
        """How far it moved, in spreads."""
        return (self.now - self.before) / self.spread if self.spread else 0.0

    @property
    def ratio(self) -> float:
        """Now in terms of before."""
        return self.now / self.before if self.before > 0 else math.inf if self.now > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Case:
    """What is known.

    Attributes:
        subject: deployment or model, for people.
        since: of the span in question, seconds since 1970.
        until: its end.
        moved: series by name, those that moved most first.
        acts: newest first.
        alerts: summaries of those that fire.
    """

    subject: str
    since: float
    until: float
    moved: Mapping[str, Sequence[Moved]] = field(default_factory=dict)
    acts: Sequence[Act] = ()
    alerts: Sequence[str] = ()

    def most(self, name: str, **labels: str) -> Moved | None:
        """The series of that name that rose most; None = there is none."""
        found = [
            one
            for one in self.moved.get(name, ())
            if all(one.labels.get(key) == value for key, value in labels.items())
        ]
        return max(found, key=lambda one: one.sigmas, default=None)


def gather(
    source: SeriesSource,
    labels: Mapping[str, str],
    since: float,
    until: float,
    before_s: float = 0.0,
) -> dict[str, list[Moved]]:
    """Compare the series of a model in the span in question with the span before it.

    Args:
        source: of the series.
        labels: `model`, and `deployment` where it is one's.
        since: beginning of the span in question.
        until: its end.
        before_s: length of the span before; 0 = four times as long.
    """
    start = since - (before_s or 4 * (until - since))
    found: dict[str, list[Moved]] = {}
    for name in (*NAMES, *HOST):
        wanted = {} if name in HOST else labels
        for one in together(name, source.select(name, wanted, start, until)):
            moved = compare(one, since)
            if moved is not None:
                found.setdefault(name, []).append(moved)
    for rows in found.values():
        rows.sort(key=lambda one: -abs(one.sigmas))
    return found


def together(name: str, found: Iterable[Series]) -> Iterator[Series]:
    """The series of all versions as one: another version goes on where the last one ended."""
    joined: dict[tuple[tuple[str, str], ...], dict[float, float]] = {}
    counts = roll_of(name) is Roll.SUM
    for one in found:
        key = tuple(sorted((k, v) for k, v in one.labels.items() if k not in _APART))
        windows = joined.setdefault(key, {})
        for time, value in zip(one.times, one.values, strict=True):
            if math.isnan(value):
                continue
            there = windows.get(time)
            if there is None:
                windows[time] = value
            else:
                windows[time] = there + value if counts else max(there, value)
    for key, windows in joined.items():
        times = sorted(windows)
        yield Series(name, dict(key), times, [windows[time] for time in times])


def compare(one: Series, since: float) -> Moved | None:
    """Both spans of one series; None = there are too few windows of either."""
    pairs = [p for p in zip(one.times, one.values, strict=True) if not math.isnan(p[1])]
    before = [value for time, value in pairs if time <= since]
    now = [(time, value) for time, value in pairs if time > since]
    if len(now) < _FEWEST:
        return None
    if len(before) < _FEWEST:
        return None
    middle = median(before)
    spread = 1.4826 * median(abs(value - middle) for value in before)
    spread = max(spread, abs(middle) / 100, 1e-6)
    late = median(value for _, value in now)
    beyond = [time for time, value in now if abs(value - middle) > 4 * spread]
    return Moved(one.name, dict(one.labels), middle, late, spread, beyond[0] if beyond else 0.0)
