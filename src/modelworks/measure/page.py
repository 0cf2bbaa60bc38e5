"""A benchmark as one HTML file that needs nothing else: tables, charts, the machine."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from modelworks.measure.charts import Chart
from modelworks.measure.svg import draw

STYLE: Final = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --faint: #ddd; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181c; --faint: #383c44; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 84rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .8rem; border-bottom: 1px solid var(--faint); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
svg { width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--ink); }
svg text.title { font-size: 14px; font-weight: 600; }
.grid { stroke: var(--faint); fill: none; }
.curve { fill: none; stroke-width: 1.8; }
.mark { stroke: var(--ink); stroke-dasharray: 4 4; fill: none; }
"""


def page(
    title: str,
    facts: Iterable[str],
    tables: Iterable[tuple[Sequence[str], Sequence[Sequence[str]]]],
    remarks: Iterable[str],
    charts: Iterable[Chart],
) -> str:
    """The whole file.

    Args:
        title: of it.
        facts: what was measured, where and when; a line each.
        tables: (head, rows).
        remarks: what is to be known beside the figures; a line each.
        charts: to draw.
    """
    return "".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            listed(facts),
            *(table(head, rows) for head, rows in tables),
            listed(remarks),
            f'<div class="charts">{"".join(f"<div>{draw(chart)}</div>" for chart in charts)}</div>',
            "</body></html>\n",
        ]
    )


def listed(lines: Iterable[str]) -> str:
    """A list, a line each."""
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the head has as many cells as a row."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
