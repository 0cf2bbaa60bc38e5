"""Samples as rules read them: each series is read once a tick, however many rules look at it."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import accumulate
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.core.series import Series, SeriesSource
from modelworks.protocol.manifest.alerts.fields import pattern

_SPANS: Final = (3600, 86_400, 8 * 86_400)
"""Rules that look back about as far share what is read; seconds."""

Where = Mapping[str, str]
Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Want:
    """What a rule will ask for.

    Attributes:
        name: of the series.
        where: labels.
        span: seconds back.
    """

    name: str
    where: Where
    span: int


class Row:
    """One series, without the samples that are NaN: there nothing was measured.

    Args:
        series: as it was read.
    """

    __slots__ = ("__dict__", "key", "labels", "times", "values")

    def __init__(self, series: Series) -> None:
        self.labels = dict(series.labels)
        self.key: Key = tuple(sorted(self.labels.items()))
        times, values = list(series.times), list(series.values)
        if any(map(math.isnan, values)):
            kept = [n for n, value in enumerate(values) if not math.isnan(value)]
            times, values = [times[n] for n in kept], [values[n] for n in kept]
        self.times: list[float] = times
        self.values: list[float] = values

    @cached_property
    def sums(self) -> list[float]:
        """Of the first n values, for each n."""
        return [0.0, *accumulate(self.values)]

    def span(self, since: float, until: float) -> tuple[int, int]:
        """Places of the samples after `since`, up to `until`."""
        times = self.times
        if not times or times[-1] <= since:
            return 0, 0
        last = len(times) if times[-1] <= until else bisect_right(times, until)
        return bisect_right(times, since), last

    def between(self, since: float, until: float) -> list[float]:
        """Values after `since`, up to `until`."""
        first, last = self.span(since, until)
        return self.values[first:last]

    def total(self, since: float, until: float) -> tuple[float, int]:
        """Their sum and number."""
        first, last = self.span(since, until)
        return self.sums[last] - self.sums[first], last - first


@dataclass(slots=True)
class _Read:
    """What was read of one name.

    Attributes:
        rows: every series.
        by: label -> value -> rows.
        found: of each `where` that was asked for.
        keys: all labels -> row; empty = not made yet.
    """

    rows: list[Row]
    by: dict[str, dict[str, list[Row]]] = field(default_factory=dict)
    found: dict[Key, list[Row]] = field(default_factory=dict)
    keys: dict[Key, Row] = field(default_factory=dict)

    def twin(self, key: Key) -> Row | None:
        """The one with exactly these labels."""
        if not self.keys:
            self.keys = {row.key: row for row in self.rows}
        return self.keys.get(key)

    def matching(self, where: Where) -> list[Row]:
        """Those that have these labels."""
        key = tuple(sorted(where.items()))
        found = self.found.get(key)
        if found is None:
            found = self.found[key] = self._match(where)
        return found

    def _match(self, where: Where) -> list[Row]:
        rows = self.rows
        patterns = []
        for name, value in where.items():
            if pattern(value):
                patterns.append((name, value))
                continue
            bucket = self._bucket(name).get(value, [])
            if len(bucket) < len(rows):
                rows = bucket
        exact = [(name, value) for name, value in where.items() if not pattern(value)]
        return [
            row
            for row in rows
            if all(row.labels.get(name) == value for name, value in exact)
            and all(fnmatchcase(row.labels.get(name, ""), value) for name, value in patterns)
        ]

    def _bucket(self, name: str) -> dict[str, list[Row]]:
        found = self.by.get(name)
        if found is None:
            found = self.by[name] = {}
            for row in self.rows:
                if name in row.labels:
                    found.setdefault(row.labels[name], []).append(row)
        return found


class Samples:
    """What all rules of one tick read.

    Args:
        source: of the series.
        wants: of all rules.
        now: seconds since 1970.
    """

    def __init__(self, source: SeriesSource, wants: Iterable[Want], now: float) -> None:
        self._source = source
        self.now = now
        self._read: dict[tuple[str, int], _Read] = {}
        self._apart: dict[tuple[str, Key, int], _Read] = {}
        self._large: set[tuple[str, int]] = set()
        shared: dict[tuple[str, int], tuple[int, dict[str, str]]] = {}
        for want in wants:
            group = want.name, _shared_span(want.span)
            if group not in shared:
                shared[group] = want.span, dict(want.where)
                continue
            span, common = shared[group]
            common = {k: v for k, v in common.items() if want.where.get(k) == v}
            shared[group] = max(span, want.span), common
        self._shared = shared

    def rows(self, want: Want) -> list[Row]:
        """The series that a rule asked for."""
        return self._reading(want).matching(want.where)

    def twin(self, want: Want, row: Row) -> Row | None:
        """The series of another name with the same labels."""
        return self._reading(want).twin(row.key)

    def _reading(self, want: Want) -> _Read:
        group = want.name, _shared_span(want.span)
        read = self._read.get(group) or self._apart.get((want.name, _key(want.where), want.span))
        if read is not None:
            return read
        if group not in self._large:
            span, common = self._shared[group]
            try:
                read = self._read[group] = self._select(want.name, common, span)
            except InvalidError:  # more than the source gives at once: each rule for itself
                self._large.add(group)
            else:
                return read
        read = self._select(want.name, want.where, want.span)
        self._apart[want.name, _key(want.where), want.span] = read
        return read

    def _select(self, name: str, where: Where, span: int) -> _Read:
        found = self._source.select(name, where, self.now - span, self.now)
        return _Read([Row(series) for series in found])

    def past(self, name: str, where: Where, since: float, until: float) -> Sequence[Row]:
        """Series of another time; what is read so is kept by who asks."""
        return [Row(series) for series in self._source.select(name, where, since, until)]


def _key(where: Where) -> Key:
    return tuple(sorted(where.items()))


def _shared_span(span: int) -> int:
    return next((one for one in _SPANS if span <= one), span)
