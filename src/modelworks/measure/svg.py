"""Charts as SVG of our own: no script, no font, nothing fetched."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from modelworks.measure.charts import Chart

WIDTH: Final = 620
HEIGHT: Final = 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 34, 72
_COLOURS: Final = (
    "#2563a8",
    "#d1602b",
    "#2f8f4e",
    "#8a4fa8",
    "#b8942a",
    "#c23b5e",
    "#3a9aa8",
    "#6b6b6b",
)
Scale = Callable[[float], float]


def draw(chart: Chart) -> str:
    """An `<svg>` element."""
    xs = [x for curve in chart.curves for x, _ in curve.points]
    ys = [y for curve in chart.curves for _, y in curve.points]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="{escape(chart.title)}">'
    )
    parts = [head, _text(WIDTH / 2, 18, chart.title, "middle", "title")]
    if not xs:
        parts += [_text(WIDTH / 2, HEIGHT / 2, "nothing measured", "middle"), "</svg>"]
        return "".join(parts)
    x_ticks = [(x, text) for x, text in chart.ticks if min(xs) <= x <= max(xs)]
    x_ticks = x_ticks or [(value, _short(value)) for value in _ticks(xs, log=chart.log_x)]
    y_ticks = [(v, _short(v)) for v in _ticks(ys, log=chart.log_y)]
    x_of = _scale([*xs, *(v for v, _ in x_ticks)], _LEFT, WIDTH - _RIGHT, log=chart.log_x)
    y_of = _scale([*ys, *(v for v, _ in y_ticks)], HEIGHT - _BOTTOM, _TOP, log=chart.log_y)
    parts += _grid(chart, x_ticks, y_ticks, x_of, y_of)
    if chart.mark is not None:
        place = x_of(chart.mark)
        line = f'<path d="M{place:.1f} {_TOP}V{HEIGHT - _BOTTOM}" class="mark"/>'
        side = (4, "start") if place < WIDTH / 2 else (-4, "end")
        parts += [line, _text(place + side[0], _TOP + 10, "knee", side[1])]
    for number, curve in enumerate(chart.curves):
        parts += _line(curve.points, x_of, y_of, _COLOURS[number % len(_COLOURS)])
    return "".join([*parts, *_legend([curve.name for curve in chart.curves]), "</svg>"])


def _grid(
    chart: Chart,
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
    x_of: Scale,
    y_of: Scale,
) -> list[str]:
    parts = []
    bottom = HEIGHT - _BOTTOM
    for value, text in y_ticks:
        parts.append(f'<path d="M{_LEFT} {y_of(value):.1f}H{WIDTH - _RIGHT}" class="grid"/>')
        parts.append(_text(_LEFT - 6, y_of(value) + 4, text, "end"))
    for value, text in x_ticks:
        parts.append(f'<path d="M{x_of(value):.1f} {_TOP}V{bottom}" class="grid"/>')
        parts.append(_text(x_of(value), bottom + 16, text, "middle"))
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, bottom + 34, chart.x, "middle"))
    parts.append(_text(8, _TOP - 8, chart.y, "start"))
    return parts


def _line(
    points: Sequence[tuple[float, float]], x_of: Scale, y_of: Scale, colour: str
) -> list[str]:
    places = [(x_of(x), y_of(y)) for x, y in points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in places]
    return [f'<path d="M{path}" class="curve" stroke="{colour}"/>', *dots]


def _legend(names: Sequence[str]) -> list[str]:
    width = (WIDTH - _LEFT - _RIGHT) / min(4, max(1, len(names)))
    parts = []
    for number, name in enumerate(names):
        x = _LEFT + (number % 4) * width
        y = HEIGHT - 22 + (number // 4) * 14
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<path d="M{x:.0f} {y - 4}h14" class="curve" stroke="{colour}"/>')
        parts.append(_text(x + 18, y, name, "start"))
    return parts


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{escape(text)}</text>'


def _scale(values: Sequence[float], low: float, high: float, *, log: bool) -> Scale:
    """Values to places; what a logarithm cannot show lies at the lower end."""
    shown = [math.log10(v) for v in values if v > 0] if log else list(values)
    first, last = (min(shown), max(shown)) if shown else (0.0, 1.0)
    span = last - first or 1.0

    def place(value: float) -> float:
        if log:
            value = math.log10(value) if value > 0 else first
        return low + (min(max(value, first), last) - first) / span * (high - low)

    return place


def _ticks(values: Sequence[float], *, log: bool) -> list[float]:
    """Round values that span the given ones."""
    if not log:
        return _even(max(values))
    shown = [value for value in values if value > 0]
    if not shown:
        return [1.0]
    first, last = math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown)))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    below = [tick for tick in found if tick <= min(shown)][-1:]
    above = [tick for tick in found if tick >= max(shown)][:1]
    return [*below, *(tick for tick in found if min(shown) < tick < max(shown)), *above]


def _even(top: float) -> list[float]:
    """From 0 in about five equal steps of 1, 2 or 5 times a power of ten."""
    if top <= 0:
        return [0.0, 1.0]
    raw = top / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= raw * 0.999)
    return [number * step for number in range(math.ceil(top / step - 1e-9) + 1)]


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
