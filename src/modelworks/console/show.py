"""Values as the pages show them. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

from modelworks.console import plots
from modelworks.core.model import Evidence

_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def utc(at_ns: int) -> str:
    """`2026-10-03 14:00:05 UTC`."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def when(at_ns: int, now_ns: int) -> str:
    """`3 h ago`."""
    past = (now_ns - at_ns) / 1e9
    for size, unit in _SPANS:
        if past >= size:
            return f"{int(past // size)} {unit} ago"
    return "now"


def size(count: int) -> str:
    """`1.4 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def seconds(span: float | None) -> str:
    """`0.35 ms`; a dash where nothing was measured."""
    if span is None:
        return "\N{EN DASH}"
    if span < 1:
        return f"{span * 1000:.2g} ms" if span < 0.0995 else f"{span * 1000:.0f} ms"
    return f"{span:.1f} s"


def ms(value: float | None) -> str:
    """Milliseconds as `seconds` has them."""
    return seconds(None if value is None else value / 1000)


def maybe(value: float | None) -> str:
    """A figure; a dash where there is none."""
    return "\N{EN DASH}" if value is None else plots.figure(value)


def rate(value: float) -> str:
    """Requests a second: `0`, `0.5`, `38`, `12,400`."""
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.05 else "0"


def shape(axes: Sequence[int | None]) -> str:
    """`[-1, 30]`."""
    return "[" + ", ".join("-1" if axis is None else str(axis) for axis in axes) + "]"


def figures(evidence: Evidence) -> list[tuple[str, str]]:
    """The plain numbers and words of an evidence's report; lists and tables are left out."""
    found = []
    for key, value in evidence.detail.items():
        if isinstance(value, bool):
            found.append((key, "yes" if value else "no"))
        elif isinstance(value, float):
            found.append((key, f"{value:.3g}"))
        elif isinstance(value, int) or (isinstance(value, str) and value):
            found.append((key, str(value)))
    return [(key.replace("_", " "), text) for key, text in found]
