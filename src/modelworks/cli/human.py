"""Values as people read them: times, sizes, plain tables. Pure; JSON carries the exact ones."""

from collections.abc import Sequence
from datetime import UTC, datetime

_STEPS = ((86400 * 365, "year"), (86400 * 30, "month"), (86400, "day"), (3600, "hour"))


def when(at_ns: int, now_ns: int) -> str:
    """`3 hours ago (2026-10-03 14:00 UTC)`."""
    stamp = datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{ago((now_ns - at_ns) / 1e9)} ({stamp})"


def ago(seconds: float) -> str:
    """`3 hours ago`; the future and the last five seconds are `just now`."""
    if seconds < 5:
        return "just now"
    for size, word in (*_STEPS, (60, "minute"), (1, "second")):
        count = int(seconds // size)
        if count >= 1:
            return f"{count} {word}{'s' if count > 1 else ''} ago"
    return "just now"


def size(count: int) -> str:
    """`1.4 MB`: decimal units, as disks are sold."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def count(number: int, word: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def shape(axes: Sequence[int | None]) -> str:
    """`[-1, 30]`: a dynamic axis is -1, as in the Open Inference Protocol."""
    return "[" + ", ".join("-1" if axis is None else str(axis) for axis in axes) + "]"


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: capital heads (references stay as they are), two spaces between columns."""
    head = [column if ":" in column else column.upper() for column in columns]
    table = [head, *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def printable(text: str) -> str:
    """One line without control characters: names from files must not drive the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
