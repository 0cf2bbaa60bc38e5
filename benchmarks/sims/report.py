"""The simulations' table and picture."""

from html import escape

HEAD = (
    "| Method | Setting | Looks | Declared | Found where nothing is (99 % lower bound) | Power | "
    "Best at any time | Ratio | Planned | Decided at |"
)
RULE = "|---|---|" + "---:|" * 8
ROW, TOP, LABELS, PANEL, GAP = 22, 70, 330, 300, 70
WIDTH = LABELS + 2 * PANEL + GAP + 30
OURS, RIVAL, BAD, INK, GREY = "#1b6ca8", "#e08e0b", "#b3261e", "#222222", "#777777"


def table(document):
    """Markdown."""
    lines = [HEAD, RULE]
    for row in document["methods"]:
        kept = "" if row["kept"] else (" **(as known)**" if row["naive"] else " **exceeded**")
        lines.append(
            f"| {row['method']} | {row['setting']} | {row['looks']} | {row['declared']:.0%} | "
            f"{row['false']:.2%} ({row['low']:.2%}){kept} | {_share(row['power'])} | "
            f"{_share(row['best'])} | {_number(row['ratio'])} | "
            f"{_share(row['planned'])} | {_share(row['stop'], 0)} |"
        )
    lines += [
        "",
        "| Bandit | Share of the best of three arms | An equal split |",
        "|---|---:|---:|",
    ]
    lines += [
        f"| {name} | {row['best_share']:.0%} | {row['equal_share']:.0%} |"
        for name, row in document["bandits"].items()
    ]
    return "\n".join(lines)


def _share(value, digits=1):
    return "" if value is None else f"{value:.{digits}%}"


def _number(value):
    return "" if value is None else f"{value:.2f}"


def svg(document):
    """The picture as text: error rates left, power right."""
    rows = document["methods"]
    height = TOP + ROW * len(rows) + 50
    left, right = LABELS, LABELS + PANEL + GAP
    most = 0.4

    def x(value):
        return left + PANEL * min(value, most) / most

    def y(value):
        return right + PANEL * value

    parts = [
        _text(10, 22, "Error rates and power under continuous peeking", bold=True),
        _text(10, 42, document["note"], GREY),
        _text(left, TOP - 10, "found where nothing is (bar from the 99 % lower bound)"),
        _text(right, TOP - 10, "power: ours (blue), best known (orange)"),
    ]
    bottom = TOP + ROW * len(rows)
    for value in (0.0, 0.1, 0.2, 0.3, 0.4):
        parts += [_line(x(value), TOP, x(value), bottom, "#dddddd")]
        parts += [_text(x(value) - 8, bottom + 16, f"{value:.0%}", GREY)]
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts += [_line(y(value), TOP, y(value), bottom, "#dddddd")]
        parts += [_text(y(value) - 8, bottom + 16, f"{value:.0%}", GREY)]
    for number, row in enumerate(rows):
        middle = TOP + ROW * number + ROW / 2
        colour = OURS if row["kept"] else BAD
        name = _named(row)
        parts += [_text(10, middle + 4, name[:52])]
        parts += [_line(x(row["low"]), middle, x(row["false"]), middle, colour, 3)]
        parts += [_dot(x(row["false"]), middle, colour)]
        parts += [_line(x(row["declared"]), middle - 8, x(row["declared"]), middle + 8, INK, 2)]
        if row["best"] is not None:
            parts += [_dot(y(row["best"]), middle, RIVAL)]
        if row["power"] is not None:
            parts += [_dot(y(row["power"]), middle, OURS)]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="{INK}">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _named(row):
    """The method, and of several settings which one."""
    what = row["setting"].split(",")[0]
    told = what.endswith("events") or what.startswith(("better", "not worse"))
    return f"{row['method']}: {what}" if told else row["method"]


def _text(x, y, words, colour=INK, *, bold=False):
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{weight}>{escape(words)}</text>'


def _line(x1, y1, x2, y2, colour, width=1):
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}" stroke-width="{width}"/>'
    )


def _dot(x, y, colour):
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
