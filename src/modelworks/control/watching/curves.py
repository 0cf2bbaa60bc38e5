"""The curves of a page of the watch: which series are drawn, and where the clock's ticks are."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from modelworks.control.watching.board import DISTANCE
from modelworks.control.watching.spans import known, whole
from modelworks.core.series import Series, SeriesSource, hourly
from modelworks.measure.charts import Chart, Curve

MOST: Final = 8
"""Curves of a chart: of more series those of the largest values are drawn."""
_DAY: Final = 86_400.0
_YEAR: Final = 300 * _DAY
_HOURLY: Final = _DAY
"""Series that have a value an hour are drawn over a day at least."""
_TICKS: Final = 6
_STEPS: Final = (
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200),
    *(86_400, 2 * 86_400, 7 * 86_400, 14 * 86_400, 30 * 86_400, 91 * 86_400, 365 * 86_400),
)
_CHARTS: Final[tuple[tuple[str, str, str, Mapping[str, str]], ...]] = (
    ("Requests", "requests", "a window", {}),
    ("Latency, 99th percentile", "latency_p99_ms", "ms", {}),
    ("Latency, median", "latency_p50_ms", "ms", {}),
    ("Errors", "errors", "a window", {}),
    ("Requests that were wrong", "invalid", "a window", {}),
    ("Drift from the reference", "drift", "Jensen-Shannon", {"method": DISTANCE}),
    ("Estimated loss by drift", "drift_loss", "loss", {}),
    ("Quality", "quality", "", {"slice": "[*]"}),
    ("Outcomes", "business", "", {}),
)


def charts(source: SeriesSource, model: str, since: float, until: float) -> list[Chart]:
    """Requests, latency, errors, drift, quality, outcomes; x = seconds since 1970, UTC.

    Args:
        source: of the series.
        model: one, or a pattern; empty = all.
        since: seconds since 1970.
        until: the same.
    """
    wanted = {"model": model or "?*"}
    found = []
    for title, name, y, more in _CHARTS:
        begin = min(since, until - _HOURLY) if hourly(name) else since
        all_ = whole(source, name, {**wanted, **more}, begin, until)
        chosen = sorted(all_, key=lambda one: -max(map(abs, known(one)), default=0.0))[:MOST]
        curves = tuple(Curve(_named(one), _points(one)) for one in chosen if known(one))
        curves = tuple(sorted(curves, key=lambda one: one.name))  # colours alike in every chart
        if curves:
            spread = [x for curve in curves for x, _ in curve.points]
            ticks = clock_ticks(min(spread), max(spread))
            found.append(Chart(title, "UTC", y, curves, ticks=ticks))
    return found


def clock_ticks(since: float, until: float) -> tuple[tuple[float, str], ...]:
    """Round times of a span, a few of them, as `14:05`, `23 Nov 14:00`, `23 Nov` or `23 Nov 2026`.

    Args:
        since: seconds since 1970, UTC.
        until: the same.
    """
    span = max(until - since, 60.0)
    step = next((one for one in _STEPS if span / one <= _TICKS), _STEPS[-1])
    form = "%H:%M" if span <= _DAY else "%d %b %H:%M" if step < _DAY else "%d %b"
    form += " %Y" if span >= _YEAR else ""
    first = math.ceil(since / step)
    last = math.floor(until / step)
    return tuple(
        (float(n * step), datetime.fromtimestamp(n * step, UTC).strftime(form))
        for n in range(first, last + 1)
    )


def _points(one: Series) -> tuple[tuple[float, float], ...]:
    pairs = zip(one.times, one.values, strict=True)
    return tuple((time, value) for time, value in pairs if not math.isnan(value))


def _named(one: Series) -> str:
    shown = {k: v for k, v in one.labels.items() if k not in {"method", "le"} and v != "*"}
    model = ":".join(shown.pop(k) for k in ("model", "version") if k in shown)
    return " ".join([model, *(f"{v}" for _, v in sorted(shown.items()))]).strip()
