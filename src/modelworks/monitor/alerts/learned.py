"""Rules that look at the past: a trend, an anomaly, a change of level."""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from modelworks.monitor.alerts.findings import Finding, OfSeries
from modelworks.monitor.alerts.samples import Key, Row, Samples
from modelworks.protocol.manifest.alerts.conditions import Anomaly, Change, Side, Trend
from modelworks.protocol.manifest.alerts.fields import spelt_duration
from modelworks.stats.levels import Level, cusum, level, limit
from modelworks.stats.trend import theil_sen, thinned

HOUR: Final = 3600
_SEASONS: Final = {"hour-of-week": 168, "hour-of-day": 24, "none": 0}


class Bending(OfSeries):
    """`trend`: its value is the seconds that are left.

    Args:
        rule: as written.
        lasting: whether series that vanish are asked for.
    """

    def __init__(self, rule: Trend, *, lasting: bool) -> None:
        super().__init__(rule.series, rule.where, rule.over, lasting=lasting)
        self._rule = rule
        self._up = rule.above is not None
        self._bound = rule.above if rule.above is not None else float(rule.below or 0.0)
        side = "over" if self._up else "under"
        self.said = f"{rule.series} will be {side} {{bound:.4g}} in {{left}}: it is {{level:.4g}}"

    def judge(self, row: Row, samples: Samples) -> Finding | None:
        """A line through the samples, and when it is there."""
        first, last = row.span(samples.now - self._rule.over, samples.now)
        if last - first < self._rule.samples:
            return None
        times = [time - samples.now for time in row.times[first:last]]
        x, y = thinned(times, row.values[first:last])
        line = theil_sen(x, y, self._rule.certain)
        left = self._left(line.slope, line.at(0.0), line.low if self._up else line.high)
        words: dict[str, str | float] = {
            "bound": self._bound,
            "level": line.at(0.0),
            "per_day": line.slope * 86_400,
            "left": spelt_duration(round(left)) if math.isfinite(left) else "never",
        }
        active = left < self._rule.within
        return Finding(row.labels, left, active, active, words)

    def _left(self, slope: float, height: float, sure: float) -> float:
        sign = 1 if self._up else -1
        gap = (self._bound - height) * sign
        if gap <= 0:
            return 0.0
        return gap / (slope * sign) if sure * sign > 0 else math.inf


class Past:
    """Levels of the past, learnt anew each hour: what is known does not depend on who asked first.

    Args:
        name: of the series.
        where: labels.
        learn: the level of a series' samples; None = too few.
    """

    def __init__(
        self, name: str, where: Mapping[str, str], learn: Callable[[Row, float], Level | None]
    ) -> None:
        self._name = name
        self._where = where
        self._learn = learn
        self._at: tuple[float, float] | None = None
        self._levels: dict[Key, Level | None] = {}

    def of(self, row: Row, samples: Samples, since: float, until: float) -> Level | None:
        """The level of one series.

        Args:
            row: the series, now.
            samples: reads others.
            since: seconds since 1970.
            until: the same; whole hours.
        """
        if self._at != (since, until):
            self._at = since, until
            rows = samples.past(self._name, self._where, since, until)
            self._levels = {one.key: self._learn(one, until) for one in rows}
        return self._levels.get(row.key)


class Odd(OfSeries):
    """`anomaly`: its value is the robust z-score.

    Args:
        rule: as written.
        lasting: whether series that vanish are asked for.
    """

    def __init__(self, rule: Anomaly, *, lasting: bool) -> None:
        super().__init__(rule.series, rule.where, rule.over, lasting=lasting)
        self._rule = rule
        self._past = Past(rule.series, rule.where, self._learn)
        when = {"hour-of-week": "at this hour of the week", "hour-of-day": "at this hour"}
        self.said = (
            f"{rule.series} is {{now:.4g}}, {{value:.1f}} standard deviations from the usual "
            f"{{usual:.4g}} {when.get(rule.season, '')}"
        ).strip()

    def judge(self, row: Row, samples: Samples) -> Finding | None:
        """The median of the last samples against that of the same hours before."""
        now = samples.now
        values = row.between(now - self._rule.over, now)
        if not values:
            return None
        hour = _hour(now) * HOUR
        usual = self._past.of(row, samples, hour - self._rule.history, hour)
        if usual is None:
            return None
        value = float(np.median(values))
        z = usual.z(value)
        off = abs(value - usual.centre) > self._rule.least
        active = off and _sided(z, self._rule.side) > self._rule.z
        words = {"usual": usual.centre, "now": value, "bound": self._rule.z}
        return Finding(row.labels, z, active, active, words)

    def _learn(self, row: Row, until: float) -> Level | None:
        """Of the same hour, the one before and the one after it, of every season."""
        season = _SEASONS[self._rule.season]
        values = row.values if not season else _seasonal(row, _hour(until + 1), season)
        return level(values) if len(values) >= self._rule.samples else None


class Shifted(OfSeries):
    """`change`: its value is the shift, in standard deviations.

    Args:
        rule: as written.
        lasting: whether series that vanish are asked for.
    """

    def __init__(self, rule: Change, *, lasting: bool) -> None:
        super().__init__(rule.series, rule.where, rule.over, lasting=lasting)
        self._rule = rule
        both = rule.side is Side.BOTH
        self._limit = limit(rule.shift, rule.false_alarm_every, both=both)
        self._past = Past(rule.series, rule.where, self._learn)
        self.said = (
            f"{rule.series} has another level: {{now:.4g}} after {{usual:.4g}}, "
            "{value:.1f} standard deviations"
        )

    def judge(self, row: Row, samples: Samples) -> Finding | None:
        """The sums after the last sample."""
        since = (samples.now - self._rule.over) // HOUR * HOUR
        values = row.between(since, samples.now)
        if not values:
            return None
        usual = self._past.of(row, samples, since - self._rule.history, since)
        if usual is None:
            return None
        z = [max(-_FAR, min(_FAR, usual.z(value))) for value in values]
        up, down = cusum(z, self._rule.shift)
        side = self._rule.side
        most = max(up if side is not Side.DOWN else 0.0, down if side is not Side.UP else 0.0)
        now = float(np.median(values[-_RECENT:]))
        words = {"usual": usual.centre, "now": now, "bound": self._limit}
        active = most > self._limit
        return Finding(row.labels, float(np.median(z[-_RECENT:])), active, active, words)

    def _learn(self, row: Row, _until: float) -> Level | None:
        return level(row.values) if len(row.values) >= self._rule.samples else None


_FAR: Final = 10.0
"""Standard deviations: one sample that is far off is no change of level."""
_RECENT: Final = 12


def _seasonal(row: Row, hour: int, season: int) -> list[float]:
    """Values of an hour, the one before and the one after it, of every season of so many hours.

    They are found by bisection: looking at every minute of a week was most of a first tick.
    """
    times = row.times
    found: list[list[float]] = []
    if not times:
        return []
    first = hour + (_hour(times[-1]) - hour) // season * season + season
    while HOUR * (first + 2) >= times[0]:
        start = bisect_left(times, HOUR * (first - 1) + 1)
        found.append(row.values[start : bisect_left(times, HOUR * (first + 2) + 1)])
        first -= season
    return [value for some in reversed(found) for value in some]


def _hour(time: float) -> int:
    """Hours since 1970; what ends on the hour belongs to the one before."""
    return int((time - 1) // HOUR)


def _sided(z: float, side: Side) -> float:
    return {Side.BOTH: abs(z), Side.UP: z, Side.DOWN: -z}[side]
