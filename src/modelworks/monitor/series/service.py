"""Keeps series and reads them: appends twice are as once, old windows become longer ones."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.ids import now_ns
from modelworks.core.series import Series
from modelworks.db.engine import TenantScope
from modelworks.db.session import TenantSession
from modelworks.monitor.series import chunk as chunks
from modelworks.monitor.series import store
from modelworks.monitor.series.chunk import WINDOWS, Chunk, Key, span, start_of
from modelworks.monitor.series.names import DAY, HOUR, MINUTE, PARTS, RESOLUTIONS, part_of
from modelworks.monitor.series.rollup import derived, rolled

KEPT_S: Final = {MINUTE: 7 * DAY, HOUR: 400 * DAY, DAY: 3650 * DAY}
"""How long windows are kept, by their length."""
FINE_S: Final = {MINUTE: 2 * DAY, HOUR: 60 * DAY}
"""What is asked for over a longer time comes in the next longer windows."""
MAX_CHUNKS: Final = 1_500
MAX_POINTS: Final = 200_000
_WILD: Final = "*?["

Filled = dict[tuple[str, str, int], dict[Key, dict[int, float]]]
"""(part, model, start) -> series -> number of a window -> value."""


class SeriesStore:
    """The series of one tenant; a `SeriesSource`.

    Args:
        scope: the tenant's rows.
        clock: UTC nanoseconds.
    """

    def __init__(self, scope: TenantScope, clock: Callable[[], int] = now_ns) -> None:
        self._scope = scope
        self._clock = clock

    # -- writing -------------------------------------------------------------------------------

    def append(
        self,
        found: Iterable[Series],
        resolution: int = MINUTE,
        session: TenantSession | None = None,
    ) -> None:
        """Keep windows, in place of what was there; hours and days that are over are made anew.

        Args:
            found: with the ends of their windows, which are rounded up to whole ones.
            resolution: seconds of a window.
            session: a write transaction to take part in; None = one of its own.
        """
        filled = _filled(found, resolution)
        if filled:
            with self._writing(session) as inside:
                self._keep(inside, filled, resolution)

    def _keep(self, session: TenantSession, filled: Filled, resolution: int) -> None:
        touched: dict[int, set[str]] = {}
        for part, start, models in _grouped(filled):
            there = store.rows(session, part, resolution, models, start)
            for model in models:
                row = there.get(model)
                held = chunks.unpack(row.body, self._where) if row else Chunk()
                for key, windows in filled[part, model, start].items():
                    places = np.fromiter(windows, np.int64, len(windows))
                    held.put(key, places, list(windows.values()))
                body = chunks.pack(held)
                if row is None:
                    store.add(session, part, resolution, model, start, body)
                else:
                    row.body = body
                for end in self._over(filled[part, model, start], start, resolution):
                    touched.setdefault(end, set()).add(model)
        session.flush()
        for end, models_of in sorted(touched.items()):
            self._roll(session, resolution, end, sorted(models_of))

    def _over(
        self, rows: Mapping[Key, Mapping[int, float]], start: int, resolution: int
    ) -> set[int]:
        """Ends of the next longer windows, over by now, that these windows belong to."""
        if resolution == RESOLUTIONS[-1]:
            return set()
        longer = RESOLUTIONS[RESOLUTIONS.index(resolution) + 1]
        ends = {start + (place + 1) * resolution for row in rows.values() for place in row}
        now = self._clock() // 10**9
        return {over for end in ends if (over := -(-end // longer) * longer) <= now}

    def _roll(self, session: TenantSession, resolution: int, end: int, models: list[str]) -> None:
        """Make one longer window of some models out of the shorter ones in it."""
        longer = RESOLUTIONS[RESOLUTIONS.index(resolution) + 1]
        filled: Filled = {}
        start = int(start_of(end, longer))
        place = (end - start) // longer - 1
        for part in PARTS:
            windows = self._windows(session, part, resolution, models, end - longer, end)
            for model, rows in windows.items():
                one = rolled(rows)
                for name, values in ((part, one), ("traffic", derived(one))):
                    if values:
                        cells = filled.setdefault((name, model, start), {})
                        cells |= {key: {place: value} for key, value in values.items()}
        if filled:
            self._keep(session, filled, longer)

    def _windows(
        self,
        session: TenantSession,
        part: str,
        resolution: int,
        models: list[str],
        since: int,
        until: int,
    ) -> dict[str, dict[Key, Any]]:
        """The values of each model's windows that end in (since, until]."""
        length = (until - since) // resolution
        found: dict[str, dict[Key, Any]] = {}
        first = int(start_of(since + 1, resolution))
        rows = store.bodies_of(session, part, resolution, models, first, until - 1)
        for model, start, body in rows:
            shift = (start - since) // resolution
            low, high = max(0, -shift), min(WINDOWS, length - shift)
            for key, row in chunks.unpack(body, self._where).rows.items():
                whole = found.setdefault(model, {}).setdefault(key, np.full(length, np.nan))
                whole[low + shift : high + shift] = row[low:high]
        return found

    def settle(self, until: float) -> None:
        """Make the last whole hour and day before a time, of what has had no window since."""
        with self._scope.write() as session:
            for resolution, longer in ((MINUTE, HOUR), (HOUR, DAY)):
                end = int(until) // longer * longer
                since = int(start_of(end - longer + 1, resolution))
                models: set[str] = set()
                for part in PARTS:
                    models |= set(store.models(session, part, resolution, since, end - 1))
                self._roll(session, resolution, end, sorted(models))

    def expire(self, now: float) -> int:
        """Delete chunks all of whose windows are too old; how many went."""
        count = 0
        with self._scope.write() as session:
            for resolution, kept in KEPT_S.items():
                before = int(now) - kept - span(resolution)
                count += store.expire(session, resolution, before, sketches=False)
            count += store.expire(session, HOUR, int(now) - KEPT_S[HOUR] - DAY, sketches=True)
        return count

    # -- reading -------------------------------------------------------------------------------

    def select(
        self, name: str, labels: Mapping[str, str], since: float, until: float
    ) -> list[Series]:
        """See `SeriesSource`: windows as short as the time asked for allows, all of one length."""
        return self.read(name, labels, since, until)[1]

    def read(
        self, name: str, labels: Mapping[str, str], since: float, until: float, resolution: int = 0
    ) -> tuple[int, list[Series]]:
        """The length of the windows, seconds, and the series.

        Args:
            name: of the series.
            labels: that are wanted; a value may be a pattern of `fnmatch`.
            since: seconds since 1970, exclusive.
            until: seconds since 1970, inclusive.
            resolution: 60, 3600 or 86400; 0 = as the time and what is there allow.

        Raises:
            InvalidError: no such resolution, or more than one answer holds.
        """
        if resolution and resolution not in RESOLUTIONS:
            known = ", ".join(map(str, RESOLUTIONS))
            raise InvalidError(f"step: {resolution} is none of {known}", field="step")
        part, wanted = part_of(name), str(labels.get("model", "*"))
        model = "*" if any(mark in wanted for mark in _WILD) else wanted
        with self._scope.read() as session:
            for step in [resolution] if resolution else self._steps(since, until):
                first = int(start_of(max(0, math.floor(since)) + 1, step))
                last = min(math.floor(until), (1 << 62)) - 1
                weight = store.weigh(session, part, step, model, first, last)
                if not weight or (weight > MAX_CHUNKS and step != RESOLUTIONS[-1]):
                    if resolution and weight:
                        _too_many(weight)
                    continue
                if weight > MAX_CHUNKS:
                    _too_many(weight)
                rows = store.bodies(session, part, step, model, first, last)
                found = self._joined(rows, name, labels, since, until, step)
                if found:
                    return step, found
        return resolution or MINUTE, []

    def _steps(self, since: float, until: float) -> list[int]:
        """Lengths of windows, in the order in which they are tried: longer ones, then shorter."""
        length = until - max(0.0, since)
        old = self._clock() / 1e9 - since > KEPT_S[MINUTE]
        best = MINUTE if length <= FINE_S[MINUTE] and not old else HOUR
        best = DAY if length > FINE_S[HOUR] else best
        longer = [step for step in RESOLUTIONS if step >= best]
        return longer + [step for step in reversed(RESOLUTIONS) if step < best]

    def _joined(
        self,
        rows: Iterable[Any],
        name: str,
        labels: Mapping[str, str],
        since: float,
        until: float,
        step: int,
    ) -> list[Series]:
        """The chunks of each series, one behind the other."""
        pieces: dict[tuple[str, Key], list[tuple[Any, Any]]] = {}
        count = 0
        others = {k: v for k, v in labels.items() if k != "model"}

        def wanted(key: Key) -> bool:
            return key[0] == name and _matches(dict(key[1]), others)

        for model, start, body in rows:
            if not fnmatchcase(model, labels.get("model", "*")):
                continue
            ends = start + step * np.arange(1, WINDOWS + 1)
            inside = (ends > since) & (ends <= until)
            for key, row in chunks.unpack(body, self._where, wanted).rows.items():
                here = inside & ~np.isnan(row)
                count += int(here.sum())
                if count > MAX_POINTS:
                    _too_many(count)
                pieces.setdefault((model, key), []).append((ends[here], row[here]))
        found = []
        for (model, (_, told)), parts in sorted(pieces.items()):
            times, values = (np.concatenate(column).tolist() for column in zip(*parts, strict=True))
            if times:
                named = {"model": model, **dict(told)} if model else dict(told)
                found.append(Series(name, named, times, values))
        return found

    @property
    def _where(self) -> str:
        return self._scope.database.where

    @contextmanager
    def _writing(self, session: TenantSession | None) -> Iterator[TenantSession]:
        if session is not None:
            yield session
            return
        with self._scope.write() as own:
            yield own


def _filled(found: Iterable[Series], resolution: int) -> Filled:
    """Windows by the chunk they lie in."""
    filled: Filled = {}
    for one in found:
        labels = dict(one.labels)
        model = labels.pop("model", "")
        key = (one.name, tuple(sorted(labels.items())))
        for time, value in zip(one.times, one.values, strict=True):
            end = math.ceil(time / resolution) * resolution
            start = int(start_of(end, resolution))
            cells = filled.setdefault((part_of(one.name), model, start), {}).setdefault(key, {})
            cells[(end - start) // resolution - 1] = float(value)
    return filled


def _grouped(filled: Filled) -> Iterator[tuple[str, int, list[str]]]:
    groups: dict[tuple[str, int], list[str]] = {}
    for part, model, start in sorted(filled):
        groups.setdefault((part, start), []).append(model)
    for (part, start), models in sorted(groups.items()):
        yield part, start, models


def _matches(told: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a series has the labels; a value may be a pattern."""
    return all(name in told and fnmatchcase(told[name], wanted[name]) for name in wanted)


def _too_many(count: int) -> None:
    raise InvalidError(
        f"the answer would hold more than {MAX_POINTS} points ({count} counted so far): name a "
        "model or more labels, or ask for a shorter time",
        field="since",
    )
