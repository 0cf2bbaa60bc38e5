"""The curves of a benchmark as data: what is drawn, not how."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from modelworks.measure.duel import Compared
from modelworks.measure.histogram import Histogram
from modelworks.measure.observe import Point
from modelworks.measure.sweep import Axis, Swept

_MOST_CURVES: Final = 8
_PERCENTS: Final = (
    *range(5, 95, 5),
    *(90, 92, 94, 95, 96, 97, 98, 99, 99.2, 99.4, 99.6, 99.8, 99.9, 99.95, 99.99),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points.

    Attributes:
        name: in the legend.
        points: (x, y), ascending in x.
    """

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A few curves on one pair of axes.

    Attributes:
        title: of it.
        x: what the horizontal axis says.
        y: what the vertical axis says.
        curves: at most eight.
        log_x: whether the horizontal axis is logarithmic.
        log_y: whether the vertical one is.
        mark: x of a vertical line, such as the knee; None = none.
        ticks: (x, text) of the horizontal axis; empty = made from the values.
    """

    title: str
    x: str
    y: str
    curves: tuple[Curve, ...]
    log_x: bool = False
    log_y: bool = False
    mark: float | None = None
    ticks: tuple[tuple[float, str], ...] = field(default=())


def of_sweep(swept: Swept) -> list[Chart]:
    """Throughput, latencies, percentiles and time course of a sweep."""
    closed = swept.axis is Axis.CONNECTIONS
    x = "connections" if closed else "requests/s offered"
    places = [_offered(point) for point in swept.points]
    knee = places[swept.knee.place] if swept.knee.place >= 0 else None
    answered = [point.loaded.throughput for point in swept.points]
    curves = [_curve("answered", places, answered)]
    if any(point.loaded.late for point in swept.points):
        good = [point.loaded.goodput for point in swept.points]
        curves.append(_curve("within the deadline", places, good))
    found = []
    if len(swept.points) > 1:
        found = [
            Chart("Throughput", x, "requests/s", tuple(curves), log_x=closed, mark=knee),
            Chart("Latency", x, "ms", _latencies(swept), log_x=closed, log_y=True, mark=knee),
        ]
    found.append(percentiles([(_name(one), one.loaded.latency) for one in swept.points]))
    course = [
        Curve(_name(point), _rates(point.loaded.series))
        for point in swept.points
        if len(point.loaded.series) > 2
    ]
    if course:
        chosen = tuple(course[:_MOST_CURVES])
        found.append(Chart("Over time", "seconds", "requests/s", chosen))
    return found


def of_comparison(found: Compared) -> list[Chart]:
    """Throughput round by round, and the percentiles of all rounds together."""
    rounds = [
        Curve(name, tuple((n + 1.0, point.loaded.predictions) for n, point in enumerate(points)))
        for name, points in found.points.items()
    ]
    return [
        Chart("Throughput by round", "round", "predictions/s", tuple(rounds)),
        percentiles([(name, _together(points)) for name, points in found.points.items()]),
    ]


def percentiles(named: Sequence[tuple[str, Histogram]]) -> Chart:
    """Latency by percentile; the axis stretches as the tail thins: x = 1 / (1 - percentile).

    Args:
        named: name -> durations.
    """
    curves = []
    for name, histogram in named[-_MOST_CURVES:]:
        count = histogram.count
        shown = [p for p in _PERCENTS if count * (100 - p) >= 100]  # one answer lies beyond
        points = tuple((100 / (100 - p), histogram.percentile(p) / 1e6) for p in shown)
        if points:
            curves.append(Curve(name, points))
    ticks = tuple((100 / (100 - p), f"{p:g}%") for p in (50, 90, 99, 99.9, 99.99))
    return Chart(
        "Latency by percentile",
        "percentile",
        "ms",
        tuple(curves),
        log_x=True,
        log_y=True,
        ticks=ticks,
    )


def _latencies(swept: Swept) -> tuple[Curve, ...]:
    places = [_offered(point) for point in swept.points]
    found = [point.loaded.latency.latency() for point in swept.points]
    curves = [
        _curve(name, places, [getattr(one, key) * 1000 for one in found])
        for name, key in (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p99.9", "p999"))
    ]
    if swept.axis is Axis.RATE:
        sent = [point.loaded.service.latency().p99 * 1000 for point in swept.points]
        curves.append(_curve("p99 from the true send time", places, sent))
    return tuple(curves)


def _curve(name: str, places: Sequence[float], values: Sequence[float]) -> Curve:
    return Curve(name, tuple(zip(places, values, strict=True)))


def _offered(point: Point) -> float:
    loaded = point.loaded
    return float(loaded.connections) if loaded.rate is None else loaded.rate


def _name(point: Point) -> str:
    loaded = point.loaded
    return f"{loaded.connections} conn." if loaded.rate is None else f"{loaded.rate:g}/s"


def _rates(series: Sequence[tuple[float, int]]) -> tuple[tuple[float, float], ...]:
    """Answers a second between the points of a running count."""
    found, last, counted = [], 0.0, 0
    for seconds, count in series:
        if seconds > last:
            found.append((seconds, (count - counted) / (seconds - last)))
        last, counted = seconds, count
    return tuple(found)


def _together(points: Sequence[Point]) -> Histogram:
    whole = Histogram()
    for point in points:
        whole.merge(point.loaded.latency)
    return whole
