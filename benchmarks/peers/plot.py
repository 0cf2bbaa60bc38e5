"""The saved document as an SVG: a row a server and wire, a dot a number of connections.

Left: requests a second, logarithmic, whiskers from the lower to the upper quartile of the rounds.
Right: p99 in milliseconds, logarithmic. It is text: another figure is another line.
"""

import math
from html import escape

from benchmarks.peers import ratios, report
from benchmarks.peers.models import TITLES

ROW, TITLE, GAP = 20, 66, 24
LABELS, PANEL, MARGIN = 230, 320, 60
WIDTH = LABELS + 2 * PANEL + 2 * MARGIN
COLOURS = ("#1b6ca8", "#e08e0b", "#8a2f6b", "#3b8f4a", "#777777")
PANELS = (
    ("requests_s", 1, "requests/s, logarithmic: right is better"),
    ("p99_us", 1e-3, "p99 in ms, logarithmic: left is better"),
)
INK, GREY = "#222222", "#666666"


def svg(document):
    """The picture as text."""
    parts, top = [], 10
    for key, section in document["models"].items():
        rows = report.ranked(section)
        if rows:
            parts += chart(key, section, rows, top)
            top += TITLE + ROW * len(rows) + GAP + 20
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
        f'viewBox="0 0 {WIDTH} {top}" font-family="sans-serif" font-size="12" fill="{INK}">\n'
        f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def chart(key, section, rows, top):
    """One model."""
    machine = section["machine"]
    note = (
        f"{section['at'][:10]}, {section['rounds']} interleaved rounds: medians, whiskers from "
        f"quartile to quartile; one core of {machine['cores']} ({machine['processor']}), "
        f"load {section['load_before']:.1f} before"
    )
    parts = [
        text(10, top + 14, f"{key}: {TITLES[key]}", weight="bold"),
        text(10, top + 32, note, colour=GREY),
    ]
    at = WIDTH - MARGIN - 110 * len(section["connections"])
    for colour, count in zip(COLOURS, section["connections"], strict=False):
        parts += [dot(at, top + 10, colour), text(at + 8, top + 14, counted(count))]
        at += 110
    for i, (name, wire) in enumerate(rows):
        middle = top + TITLE + ROW * i + ROW / 2
        if i % 2 == 0:
            parts.append(box(top + TITLE + ROW * i))
        heavy = "bold" if name.startswith(ratios.OURS) else "normal"
        parts.append(text(10, middle + 4, f"{name}, {wire}", weight=heavy))
    for number, (figure, scale, title) in enumerate(PANELS):
        left = LABELS + number * (PANEL + MARGIN)
        parts += panel(section, rows, (left, top), (figure, scale, title))
    return parts


def panel(section, rows, corner, what):
    """One figure of one model: axis, dots, whiskers."""
    left, top = corner
    figure, scale, title = what
    found = {
        (name, wire, count): [
            value * scale
            for value in ratios.values(section, name, wire, count, figure)
            if value > 0
        ]
        for name, wire in rows
        for count in section["connections"]
    }
    everything = [value for values in found.values() for value in values]
    if not everything:
        return []
    low = math.floor(math.log10(min(everything)))
    high = max(math.ceil(math.log10(max(everything))), low + 1)

    def x(value):
        return left + (math.log10(value) - low) / (high - low) * PANEL

    bottom = top + TITLE + ROW * len(rows)
    parts = [text(left, top + TITLE - 8, title)]
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts.append(line(at, top + TITLE, at, bottom, "#bbbbbb"))
        parts.append(text(at, bottom + 14, f"{10.0**power:,.10g}", anchor="middle"))
    for i, (name, wire) in enumerate(rows):
        middle = top + TITLE + ROW * i + ROW / 2
        for colour, count in zip(COLOURS, section["connections"], strict=False):
            values = found[name, wire, count]
            if values:
                first, half, last = ratios.quartiles(values)
                parts.append(line(x(first), middle, x(last), middle, colour, 3))
                parts.append(dot(x(half), middle, colour))
    return parts


def counted(connections):
    """So many connections, in words."""
    return f"{connections} connection{'s' if connections > 1 else ''}"


def text(x, y, words, *, weight="normal", anchor="start", colour=INK):
    """A line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{colour}">'
        f"{escape(words)}</text>"
    )


def line(x1, y1, x2, y2, colour, width=1):
    """A straight line."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def dot(x, y, colour):
    """A mark."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'


def box(y):
    """The light ground of every other row."""
    return f'<rect x="0" y="{y}" width="{WIDTH}" height="{ROW}" fill="#f3f3f3"/>'
