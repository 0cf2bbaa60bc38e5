"""A run of the improvement shop as one HTML file that needs nothing else, and its charts."""

import time
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import SOURCE, Ending, Finding, Measurement
from modelworks.measure.charts import Chart, Curve
from modelworks.measure.page import STYLE, listed
from modelworks.measure.svg import draw
from modelworks.optimize import front
from modelworks.optimize.run import Run

_MOST_CURVES: Final = 8
_MEGA: Final = 1e6
_OWN: Final = """
td.text, th.text { text-align: left; max-width: 44rem; }
tr.kept td:first-child { font-weight: 600; }
tr.lit { outline: 2px solid #2563a8; }
details { margin: .4rem 0; }
summary { cursor: pointer; }
.failed { color: #c23b5e; }
.skipped { color: #6b6b6b; }
.told { max-width: 60rem; }
"""
_ORDER: Final = (Ending.KEPT, Ending.SLOWER, Ending.REFUSED, Ending.FAILED, Ending.PRUNED)
_WORDS: Final = {
    Ending.KEPT: "kept",
    Ending.SLOWER: "not better",
    Ending.REFUSED: "refused",
    Ending.FAILED: "failed",
    Ending.PRUNED: "not tried",
}


def html(run: Run) -> str:
    """The whole page: what was wanted, the front, every candidate, gates and worst rows."""
    title = f"Optimizing {run.model}"
    measured = [one for one in run.findings if one.measured is not None]
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{STYLE}{_OWN}{front.STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="told">{escape(run.conclusion or "This run was not finished.")}</p>',
        listed(facts(run)),
    ]
    if run.source is not None and measured:
        parts.append("<h2>What was measured</h2>")
        parts.append(front.drawn(front.points(run)))
        parts.append(_measured(run, measured))
        charts = "".join(f"<div>{draw(one)}</div>" for one in charts_of(run))
        parts.append(f'<div class="charts">{charts}</div>')
    parts += [_gates(run), _others(run), front.SCRIPT, "</body></html>\n"]
    return "".join(parts)


def facts(run: Run) -> list[str]:
    """What was wanted, on what rows, where and when; a line each."""
    goal, data, hardware = run.goal, run.data, run.hardware
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(run.began_ns / 1e9))
    sizes = ", ".join(map(str, goal.batches))
    metric = goal.metric or "accuracy, or the mean error"
    wanted = (
        f"wanted: {goal.objective}, at {sizes} rows a call, {goal.threads} thread(s); quality may "
        f"fall by {100 * goal.max_drop:.3g} points ({metric}) with {goal.confidence:.0%} "
        f"confidence; from {goal.gain:g} times on it is worth it"
    )
    rows = (
        f"{data.evaluation} rows decided, {data.guide} chose what those were asked about, "
        f"{data.calibration} were for passes; the truth is "
        f"{'known' if data.labels else 'not known'}"
    )
    where = f"on {hardware.processor} ({hardware.kind}, {hardware.cores} cores), {began}"
    lines = [wanted, where, rows, *data.notes, *run.notes]
    if run.environment:
        made = ", ".join(f"{name} {version}" for name, version in sorted(run.environment.items()))
        lines.append(f"libraries: {made}")
    return lines


def charts_of(run: Run) -> list[Chart]:
    """Speed by rows a call, and speed beside size: of the forms that were kept, and the source."""
    source = run.source
    if source is None:
        return []
    best = [(one, one.measured) for one in run.kept if one.measured is not None]
    shown = best[: _MOST_CURVES - 1]
    forms: list[tuple[str, Measurement]] = [(SOURCE, source)]
    forms += [(front.name_of(one), measured) for one, measured in shown]
    by_rows = [
        Curve(name, tuple((float(t.rows), t.ratio) for t in form.times)) for name, form in forms
    ]
    calls = [
        Curve(name, tuple((float(t.rows), t.cpu_us[1]) for t in form.times)) for name, form in forms
    ]
    return [
        Chart(
            "times faster than the source form", "rows a call", "ratio", tuple(by_rows), log_x=True
        ),
        Chart("CPU time of a call", "rows a call", "us", tuple(calls), log_x=True, log_y=True),
    ]


def _measured(run: Run, findings: Sequence[Finding]) -> str:
    """Every form that was measured, the fastest first."""
    source = run.source
    assert source is not None  # noqa: S101 - asked by the caller
    sizes = [one.rows for one in source.times]
    head = [
        "form",
        "became",
        *(f"x at {size}" for size in sizes),
        "p99 us",
        "MB",
        "memory MB",
        "load s",
    ]
    rows = [_row(SOURCE, "", source, sizes, "source")]
    ordered = sorted(findings, key=_speed, reverse=True)
    for one in ordered:
        assert one.measured is not None  # noqa: S101 - chosen so
        label = front.name_of(one)
        rows.append(_row(label, _WORDS[one.ending], one.measured, sizes, one.recipe.id))
    cells = "".join(
        f"<th{' class=text' if not n else ''}>{escape(c)}</th>" for n, c in enumerate(head)
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _speed(one: Finding) -> float:
    return one.measured.times[0].ratio if one.measured and one.measured.times else 0.0


def _row(name: str, became: str, form: Measurement, sizes: Sequence[int], key: str) -> str:
    times = {one.rows: one for one in form.times}
    ratios = [
        f"{times[size].ratio:.2f} ({times[size].low:.2f} to {times[size].high:.2f})"
        if size in times
        else ""
        for size in sizes
    ]
    first = form.times[0].p99_us if form.times else 0.0
    cells = [
        became,
        *ratios,
        f"{first:.0f}",
        f"{form.size_bytes / _MEGA:.2f}",
        f"{form.memory_bytes / _MEGA:.1f}",
        f"{form.load_s:.3f}",
    ]
    tail = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    kind = "kept" if became == _WORDS[Ending.KEPT] else ""
    return (
        f'<tr id="f-{escape(key)}" class="{kind}"><td class="text">{escape(name)}</td>{tail}</tr>'
    )


def _gates(run: Run) -> str:
    """What each form was held against, and its worst rows; folded up but for those kept."""
    tried = [one for one in run.findings if one.gates]
    if not tried:
        return ""
    parts = ["<h2>Gates</h2>"]
    for one in sorted(tried, key=lambda one: _ORDER.index(one.ending)):
        gates = "".join(
            f'<li class="{gate.verdict.value}">{escape(gate.name)} {gate.verdict.value}: '
            f"{escape(gate.summary)}</li>"
            for gate in one.gates
        )
        missed = [gate.name for gate in one.gates if gate.verdict is Verdict.FAILED]
        why = f" by {', '.join(dict.fromkeys(missed))}" if missed else ""
        parts.append(
            f"<details{' open' if one.ending is Ending.KEPT else ''}><summary>"
            f"{escape(front.name_of(one))}: {_WORDS[one.ending]}{escape(why)}</summary>"
            f"<ul>{gates}{_parting(one)}</ul>{_worst(one)}</details>"
        )
    return "".join(parts)


def _parting(one: Finding) -> str:
    return f"<li>{escape(one.parts)}</li>" if one.parts else ""


def _worst(one: Finding) -> str:
    if not one.worst:
        return ""
    keys = [key for key in ("row", "truth", "before", "after", "difference") if key in one.worst[0]]
    rows = [[str(row.get(key, "")) for key in keys] for row in one.worst]
    return f"<p>Rows whose answers differ most</p>{_table(keys, rows)}"


def _others(run: Run) -> str:
    """Every candidate with what became of it and why."""
    if not run.findings:
        return ""
    rows = [
        [_WORDS[one.ending], front.name_of(one), one.why, f"{one.seconds:.1f}"]
        for one in sorted(run.findings, key=lambda one: _ORDER.index(one.ending))
    ]
    counts = ", ".join(
        f"{sum(one.ending is ending for one in run.findings)} {_WORDS[ending]}"
        for ending in _ORDER
        if any(one.ending is ending for one in run.findings)
    )
    head = ["became", "form", "why", "seconds"]
    return f"<h2>All candidates</h2><p>{escape(counts)}</p>{_table(head, rows, text=True)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, text: bool = False) -> str:
    kind = ' class="text"' if text else ""
    top = "".join(f"<th{kind}>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
