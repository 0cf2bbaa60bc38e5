"""The front: every measured form as a point; two menus choose what its axes say.

Without scripts the picture stands as it was drawn: speed at the goal's call, and size.
"""

import math
from dataclasses import dataclass
from html import escape
from typing import Final

from modelworks.core.optimizing.variants import SOURCE, Ending, Finding, Measurement, Objective
from modelworks.optimize.run import Run

_WIDTH: Final = 760
_HEIGHT: Final = 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 20, 20, 50
_LONGEST: Final = 120
STYLE: Final = """
#front { max-width: 60rem; }
#front circle { stroke: var(--paper); cursor: pointer; }
#front .kept { fill: #2f8f4e; } #front .source { fill: var(--ink); }
#front .refused { fill: #c23b5e; } #front .slower { fill: #8a8f98; }
#front .failed, #front .pruned { fill: #b8942a; }
#front-said { min-height: 1.5em; }
"""
SCRIPT: Final = """<script>
(() => {
  const box = document.getElementById('front');
  if (!box) return;
  const svg = box.querySelector('svg'), [xs, ys] = box.querySelectorAll('select');
  const said = document.getElementById('front-said'), dots = [...svg.querySelectorAll('circle')];
  const left = 80, right = 740, top = 20, bottom = 370;
  const put = (name, x, y, text, anchor) => {
    const one = document.createElementNS('http://www.w3.org/2000/svg', 'text');
    one.setAttribute('x', x); one.setAttribute('y', y); one.setAttribute('text-anchor', anchor);
    one.setAttribute('class', name); one.textContent = text; svg.append(one);
  };
  const scale = (values, from, to) => {
    const logs = values.map(Math.log), low = Math.min(...logs), span = Math.max(...logs) - low || 1;
    return value => from + (Math.log(value) - low) / span * (to - from);
  };
  const draw = () => {
    svg.querySelectorAll('.tick').forEach(one => one.remove());
    const of = menu => dots.map(dot => Number(dot.dataset['v' + menu.value]));
    const x = of(xs), y = of(ys);
    const fine = dots.map((_, place) => x[place] > 0 && y[place] > 0);
    const some = values => values.filter((_, place) => fine[place]);
    if (!fine.some(Boolean)) return;
    const sx = scale(some(x), left + 20, right - 20), sy = scale(some(y), bottom - 20, top + 20);
    dots.forEach((dot, place) => {
      dot.style.display = fine[place] ? '' : 'none';
      if (!fine[place]) return;
      dot.setAttribute('cx', sx(x[place])); dot.setAttribute('cy', sy(y[place]));
    });
    const ends = values => [Math.min(...values), Math.max(...values)];
    ends(some(x)).forEach(v => put('tick', sx(v), bottom + 16, v.toPrecision(3), 'middle'));
    ends(some(y)).forEach(v => put('tick', left - 6, sy(v) + 4, v.toPrecision(3), 'end'));
  };
  const tell = dot => {
    said.textContent = dot.querySelector('title').textContent;
    document.querySelectorAll('tr.lit').forEach(row => row.classList.remove('lit'));
    document.getElementById('f-' + dot.dataset.key)?.classList.add('lit');
  };
  xs.onchange = ys.onchange = draw;
  dots.forEach(dot => { dot.onmouseenter = dot.onclick = () => tell(dot); });
  box.querySelector('.menus').hidden = false;
  draw();
})();
</script>"""


@dataclass(frozen=True, slots=True)
class Point:
    """A form in the picture.

    Attributes:
        key: of its row in the table.
        name: of it.
        became: what became of it, or `source`.
        values: one an axis, see `axes`.
    """

    key: str
    name: str
    became: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Points:
    """All of them.

    Attributes:
        axes: what the values are.
        points: the source form first.
        x: axis that lies at first.
        y: axis that stands at first.
    """

    axes: tuple[str, ...]
    points: tuple[Point, ...]
    x: int
    y: int


def name_of(one: Finding) -> str:
    """A form's name: the variant's, and how it is made."""
    title = one.recipe.title
    title = title if len(title) <= _LONGEST else f"{title[: _LONGEST - 3]}..."
    return f"{one.variant}: {title}" if one.variant else title


def points(run: Run) -> Points:
    """The forms of a run that were measured.

    Args:
        run: its source form was measured.
    """
    source = run.source
    assert source is not None  # noqa: S101 - asked by the caller
    sizes = [one.rows for one in source.times]
    axes = (
        *(f"times faster at {size} rows" for size in sizes),
        "MB on disk",
        "MB of memory",
        "us p99",
    )
    found = [Point(SOURCE, SOURCE, SOURCE, _values(source, sizes))]
    for one in run.findings:
        if one.measured is not None:
            values = _values(one.measured, sizes)
            found.append(Point(one.recipe.id, name_of(one), one.ending.value, values))
    x = 0 if run.goal.objective is Objective.P99 else len(sizes) - 1
    y = len(sizes) + (1 if run.goal.objective is Objective.MEMORY else 0)
    return Points(axes, tuple(found), x, y)


def _values(form: Measurement, sizes: list[int]) -> tuple[float, ...]:
    times = {one.rows: one for one in form.times}
    ratios = [times[size].ratio if size in times else 0.0 for size in sizes]
    p99 = form.times[0].p99_us if form.times else 0.0
    return (*ratios, form.size_bytes / 1e6, form.memory_bytes / 1e6, p99)


def drawn(given: Points) -> str:
    """The picture and its menus."""
    options = [
        f'<option value="{place}">{escape(name)}</option>' for place, name in enumerate(given.axes)
    ]
    menus = " ".join(
        _menu(label, options, chosen) for label, chosen in (("across", given.x), ("up", given.y))
    )
    xs, ys = ([max(p.values[axis], 1e-9) for p in given.points] for axis in (given.x, given.y))
    dots = []
    order = sorted(
        range(len(given.points)), key=lambda place: given.points[place].became == Ending.KEPT
    )
    for place in order:
        one = given.points[place]
        data = "".join(f' data-v{axis}="{value:.6g}"' for axis, value in enumerate(one.values))
        cx = _place(xs[place], xs, _LEFT + 20, _WIDTH - _RIGHT - 20)
        cy = _place(ys[place], ys, _HEIGHT - _BOTTOM - 20, _TOP + 20)
        told = ", ".join(f"{v:.3g} {axis}" for axis, v in zip(given.axes, one.values, strict=True))
        dots.append(
            f'<circle r="6" cx="{cx:.1f}" cy="{cy:.1f}" class="{one.became}" '
            f'data-key="{escape(one.key)}"{data}>'
            f"<title>{escape(f'{one.name} ({one.became}): {told}')}</title></circle>"
        )
    frame = f'<path d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}" class="grid"/>'
    return (
        f'<div id="front"><p class="menus" hidden>{menus}</p>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(given.axes[given.x])} and {escape(given.axes[given.y])}">'
        f'{frame}{"".join(dots)}</svg><p id="front-said">Green: kept. Red: refused by a gate. '
        "Grey: not better. Dark: the form that was imported. Both axes are logarithmic.</p></div>"
    )


def _menu(label: str, options: list[str], chosen: int) -> str:
    parts = [
        one.replace("<option ", "<option selected ", 1) if place == chosen else one
        for place, one in enumerate(options)
    ]
    return f"<label>{label} <select>{''.join(parts)}</select></label>"


def _place(value: float, values: list[float], low: float, high: float) -> float:
    logs = [math.log(one) for one in values]
    span = max(logs) - min(logs) or 1.0
    return low + (math.log(value) - min(logs)) / span * (high - low)
