"""What servers counted, look after look, as rates and latencies. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from modelworks.control.exposition import Counts, Key, quantile

WINDOW = 15
"""Looks over which a latency quantile is taken."""


@dataclass(frozen=True, slots=True)
class Point:
    """One look.

    Attributes:
        at_ns: UTC.
        rate: requests a second since the look before, whatever their outcome.
    """

    at_ns: int
    rate: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests of one version, one model, or one server.

    Attributes:
        requests: since the server began, whatever their outcome.
        failures: of them, those that failed.
        rate: requests a second between the last two looks; 0 before the second.
        failed: of them, those that failed, a second.
        p50: seconds, over the last looks; None without requests.
        p99: the same.
        recent: looks, oldest first.
    """

    requests: int = 0
    failures: int = 0
    rate: float = 0.0
    failed: float = 0.0
    p50: float | None = None
    p99: float | None = None
    recent: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """What a server had counted at one time.

    Attributes:
        at: seconds of a clock that never jumps.
        at_ns: UTC.
        counts: by model and version, since the server began.
    """

    at: float
    at_ns: int
    counts: dict[Key, Counts]


def traffic(histories: Sequence[tuple[Sequence[Sample], Collection[Key]]]) -> Traffic:
    """The traffic of some versions on some servers, added up.

    Args:
        histories: for each server its samples, oldest first, and the versions that count.
    """
    total, last, window = Counts(), Counts(), Counts()
    rows: list[list[Point]] = []
    failed = 0.0
    for samples, keys in histories:
        if not samples:
            continue
        total = total.plus(_sum(samples[-1], keys))
        steps = [(newer, *_step(older, newer, keys)) for older, newer in pairwise(samples)]
        rows.append([Point(at.at_ns, met.requests / span) for at, span, met in steps])
        for _, _, met in steps[-WINDOW:]:
            window = window.plus(met)
        if steps:
            _, span, last = steps[-1]
            failed += last.failures / span
    recent = _side_by_side(rows)
    return Traffic(
        requests=int(total.requests),
        failures=int(total.failures),
        rate=recent[-1].rate if recent else 0.0,
        failed=failed,
        p50=quantile(window.buckets, 0.5),
        p99=quantile(window.buckets, 0.99),
        recent=recent,
    )


def _sum(sample: Sample, keys: Collection[Key]) -> Counts:
    total = Counts()
    for key in keys:
        if key in sample.counts:
            total = total.plus(sample.counts[key])
    return total


def _step(older: Sample, newer: Sample, keys: Collection[Key]) -> tuple[float, Counts]:
    """Seconds between two samples, and what was counted meanwhile."""
    total = Counts()
    for key in keys:
        now, before = newer.counts.get(key, Counts()), older.counts.get(key, Counts())
        if now != before:  # most versions rest most of the time
            total = total.plus(now.since(before))
    return max(newer.at - older.at, 1e-3), total


def _side_by_side(rows: Sequence[Sequence[Point]]) -> tuple[Point, ...]:
    """Rates added up, the newest looks of all servers in one place; oldest first."""
    places = zip_longest(*(row[::-1] for row in rows))
    added = [
        Point(max(point.at_ns for point in place if point), sum(p.rate for p in place if p))
        for place in places
    ]
    return tuple(added[::-1])
