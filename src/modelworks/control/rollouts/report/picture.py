"""Pictures of a roll-out as SVG: shares over time, differences with their intervals. Pure.

No script, no font, no style of their own: whoever shows them has the classes `rule`, `curve`, `c0`
and so on, `band`, `zero`, `limit` and `step` in a style sheet.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from modelworks.control.rollouts.report.figures import span

WIDTH: Final = 620
HEIGHT: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 10, 24
_COLOURS: Final = 8
_TICKS: Final = (
    *(1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 10_800, 21_600, 43_200),
    *(86_400, 2 * 86_400, 7 * 86_400, 30 * 86_400),
)
_MOST_TICKS: Final = 6
Place = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    Attributes:
        id: of the page's element.
        title: of it.
        unit: of its values, or what they are.
        names: of its curves, in the order of their colours.
        svg: the element.
        banded: it shows a difference with its interval.
    """

    id: str
    title: str
    unit: str
    names: tuple[str, ...]
    svg: str
    banded: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """A difference at one time, and what is allowed: a share of the stable figure moves with it."""

    x: float
    middle: float
    low: float | None
    high: float | None
    margin: float


def stairs(
    id_: str, title: str, curves: dict[str, list[tuple[float, float]]], end: float
) -> Picture:
    """Shares that stand until they change.

    Args:
        id_: of the page's element.
        title: of it.
        curves: arm -> (seconds since the beginning, share 0 to 1), ascending.
        end: seconds, of the last one.
    """
    x_of, y_of = _axes(end, 0.0, 1.0)
    parts = _frame(x_of, y_of, end, [(part, f"{part:.0%}") for part in (0.0, 0.25, 0.5, 0.75, 1.0)])
    for number, points in enumerate(curves.values()):
        path = ""
        for x, y in points:
            path += f"H{x_of(x)}V{y_of(y)}" if path else f"M{x_of(x)} {y_of(y)}"
        parts.append(f'<path class="curve c{number % _COLOURS}" d="{path}H{x_of(end)}"/>')
    last = ", ".join(f"{name} {points[-1][1]:.0%}" for name, points in curves.items())
    return Picture(
        id_, title, "share of the traffic", tuple(curves), _svg(parts, f"{title}: {last}")
    )


def band(
    id_: str,
    title: str,
    unit: str,
    points: Sequence[Band],
    steps: Sequence[float],
    end: float,
) -> Picture:
    """A difference with its interval, and how much was allowed.

    The first intervals are wide: the picture is as high as the later ones and the margin want it,
    and what is beyond is cut.

    Args:
        id_: of the page's element.
        title: of it.
        unit: of the values.
        points: ascending in x, one at least.
        steps: seconds at which evidence began anew.
        end: seconds, of the last look.
    """
    low, high = _span(points)
    x_of, y_of = _axes(end, low, high)
    ticks = [(tick, f"{tick:g}") for tick in _even(low, high)]
    parts = _frame(x_of, y_of, end, ticks)
    parts += [
        f'<path class="step" d="M{x_of(x)} {_TOP}V{HEIGHT - _BOTTOM}"/>'
        for x in steps
        if 0 < x < end
    ]
    for part in _whole(points, steps):
        upper = [f"{x_of(one.x)} {y_of(_known(one.high, high))}" for one in part]
        lower = [f"{x_of(one.x)} {y_of(_known(one.low, low))}" for one in reversed(part)]
        parts.append(f'<path class="band" d="M{"L".join([*upper, *lower])}Z"/>')
        line = "L".join(f"{x_of(one.x)} {y_of(one.middle)}" for one in part)
        parts.append(f'<path class="curve c0" d="M{line}{"h0" if len(part) == 1 else ""}"/>')
    if low <= 0 <= high:
        parts.append(f'<path class="zero" d="M{_LEFT} {y_of(0.0)}H{WIDTH - _RIGHT}"/>')
    allowed = "L".join(f"{x_of(one.x)} {y_of(one.margin)}" for one in points)
    ends = f"M{_LEFT} {y_of(points[0].margin)}L{allowed}H{WIDTH - _RIGHT}"
    parts.append(f'<path class="limit" d="{ends}"/>')
    last = points[-1]
    known = f"{_text(last.low)} to {_text(last.high)}"
    words = f"{title}: {_text(last.middle)} {unit} worse, {known}; allowed {_text(last.margin)}"
    return Picture(id_, title, unit, ("worse by", "allowed"), _svg(parts, words), banded=True)


def _axes(end: float, low: float, high: float) -> tuple[Place, Place]:
    def across(x: float) -> float:
        part = min(max(x / end, 0.0), 1.0) if end > 0 else 0.5
        return round(_LEFT + part * (WIDTH - _LEFT - _RIGHT), 1)

    def up(y: float) -> float:
        part = (min(max(y, low), high) - low) / (high - low)
        return round(HEIGHT - _BOTTOM - part * (HEIGHT - _TOP - _BOTTOM), 1)

    return across, up


def _frame(x_of: Place, y_of: Place, end: float, y_ticks: Iterable[tuple[float, str]]) -> list[str]:
    parts = []
    for y, text in y_ticks:
        parts.append(f'<path class="rule" d="M{_LEFT} {y_of(y)}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y_of(y) + 4}" text-anchor="end">{text}</text>')
    step = next((one for one in _TICKS if end / one <= _MOST_TICKS), max(end, 1) / _MOST_TICKS)
    for number in range(int(end // step) + 1):
        text = span(number * step) if number else "0"
        place = x_of(number * step)
        parts.append(
            f'<text x="{place}" y="{HEIGHT - 6}" text-anchor="middle">{escape(text)}</text>'
        )
    return parts


def _svg(parts: Iterable[str], said: str) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(said)}">'
    return "".join([head, *parts, "</svg>"])


def _span(points: Sequence[Band]) -> tuple[float, float]:
    """From where to where the picture goes: zero, the margin and more, the later half."""
    later = points[len(points) // 2 :]
    margin = max(one.margin for one in later)
    ends = [end for one in later for end in (one.middle, one.low, one.high)]
    shown = [end for end in ends if end is not None and math.isfinite(end)]
    most = 4 * max(2 * abs(margin), *(abs(one.middle) for one in later), 1e-9)
    low = max(min(0.0, margin, *shown), -most) if shown else min(0.0, margin)
    high = min(max(0.0, 1.25 * margin, *shown), most) if shown else max(0.0, 1.25 * margin)
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def _even(low: float, high: float) -> list[float]:
    """A few round values within."""
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _whole(points: Sequence[Band], steps: Sequence[float]) -> list[list[Band]]:
    """Parts of one evidence each, in which something is known."""
    found: list[list[Band]] = [[]]
    before = -1.0
    for one in points:
        known = math.isfinite(one.middle) and not (one.low is None and one.high is None)
        anew = any(before < step <= one.x for step in steps)
        if found[-1] and (anew or not known):
            found.append([])
        if known:
            found[-1].append(one)
        before = one.x
    return [part for part in found if part]


def _known(end: float | None, otherwise: float) -> float:
    return otherwise if end is None else end


def _text(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
