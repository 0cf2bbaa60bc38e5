"""Curves over time as places in a picture: a template draws them as SVG, and lists the figures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from modelworks.measure.charts import Chart, Curve

WIDTH: Final = 620
HEIGHT: Final = 220
LEFT, RIGHT, TOP, BOTTOM = 56, 34, 10, 24
_BINS: Final = 200
"""Of more points the lowest and the highest of each part of the time are drawn: no peak is lost."""
_GAP: Final = 2.5
"""Of the usual distance of two points: a longer one is a hole in the line."""
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One curve.

    Attributes:
        name: in the legend.
        path: of an SVG `path`.
        last: value.
        low: the smallest one.
        high: the largest one.
    """

    name: str
    path: str
    last: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Plot:
    """One chart.

    Attributes:
        id: of the page's element.
        title: of it.
        unit: of the values; empty = none.
        curves: in the order of their colours.
        x: (place, text) of the clock's ticks.
        y: the same of the values'.
        said: what it shows, for who cannot see it.
    """

    id: str
    title: str
    unit: str
    curves: tuple[Drawn, ...]
    x: tuple[tuple[float, str], ...]
    y: tuple[tuple[float, str], ...]
    said: str


def plot(chart: Chart) -> Plot:
    """Place a chart's curves; x is time in seconds. Where values have a unit, its axis shows 0.

    Args:
        chart: with a point at least.
    """
    times = [x for curve in chart.curves for x, _ in curve.points]
    values = [y for curve in chart.curves for _, y in curve.points]
    ticks = y_ticks(min(values), max(values), zero=bool(chart.y))
    first, last = min(times), max(times)
    low, high = ticks[0], ticks[-1]

    def across(time: float) -> float:
        part = (time - first) / (last - first) if last > first else 0.5
        return round(LEFT + part * (WIDTH - LEFT - RIGHT), 1)

    def up(value: float) -> float:
        part = (value - low) / (high - low)
        return round(HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM), 1)

    def drawn(curve: Curve) -> Drawn:
        lines = (thinned(part) for part in whole_parts(curve.points))
        path = "".join(
            "M" + "L".join(f"{across(x)} {up(y)}" for x, y in line) + ("h0" if one else "")
            for line in lines
            for one in (len(line) == 1,)
        )
        own = [y for _, y in curve.points]
        return Drawn(curve.name, path, own[-1], min(own), max(own))

    curves = tuple(drawn(curve) for curve in chart.curves)
    told = "; ".join(
        f"{one.name}: {figure(one.last)}, from {figure(one.low)} to {figure(one.high)}"
        for one in curves
    )
    return Plot(
        "plot-" + "-".join(chart.title.lower().replace(",", "").split()),
        chart.title,
        chart.y,
        curves,
        tuple((across(x), text) for x, text in chart.ticks),
        tuple((up(y), figure(y)) for y in ticks),
        f"{chart.title}. Last value, lowest and highest: {told}",
    )


def y_ticks(low: float, high: float, *, zero: bool = False) -> list[float]:
    """About four round values from below the lowest to above the highest.

    Args:
        low: the lowest value.
        high: the highest one.
        zero: show it, also where all values lie close together far above it.
    """
    bottom = low if low < 0 or (low > 0.7 * high and not zero) else 0.0
    span = high - bottom or abs(high) or 1.0
    raw = span / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= raw * 0.999)
    first, last = math.floor(bottom / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, max(last, first + 1) + 1)]


def whole_parts(points: Points) -> list[Points]:
    """A curve cut where windows are missing."""
    steps = sorted(after - before for (before, _), (after, _) in pairwise(points))
    if not steps:
        return [points]
    longest = _GAP * steps[len(steps) // 2]
    cuts = [n + 1 for n, (a, b) in enumerate(pairwise(points)) if b[0] - a[0] > longest]
    return [points[a:b] for a, b in pairwise([0, *cuts, len(points)])]


def thinned(points: Points) -> Points:
    """At most some hundred points, the lowest and the highest of each part among them."""
    if len(points) <= 2 * _BINS:
        return points
    found: list[tuple[float, float]] = []
    size = math.ceil(len(points) / _BINS)
    for begin in range(0, len(points), size):
        part = points[begin : begin + size]
        ends = {min(part, key=lambda one: one[1]), max(part, key=lambda one: one[1])}
        found += sorted(ends)
    return [*found[:-1], points[-1]] if found[-1] != points[-1] else found


def figure(value: float) -> str:
    """`0`, `0.042`, `12.5`, `1,240`, `3.1M`."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if size >= 1e-4 or size == 0 else f"{value:.1e}"
