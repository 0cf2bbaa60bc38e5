"""Alerts as text: a title, a line each, and no longer than a service takes."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from modelworks.core.alerts import Alert, AlertState, Notification

_SIGN: Final = {"critical": "🔴", "warning": "🟠", "info": "🔵"}
RESOLVED: Final = "✅"


def title(told: Notification) -> str:
    """`[firing 2] Slow, Drift: model fraud`."""
    rules = ", ".join(dict.fromkeys(alert.rule for alert in told.alerts))
    group = ", ".join(f"{name} {value}" for name, value in sorted(told.group.items()))
    about = f": {group}" if group else ""
    count = len(told.firing)
    state = f"[firing {count}]" if count else "[resolved]"
    again = " (still)" if told.repeated else ""
    return f"{state}{again} {rules}{about}"


def sign(alert: Alert) -> str:
    """A coloured mark."""
    return RESOLVED if alert.state is AlertState.RESOLVED else _SIGN[alert.severity.value]


def stamp(at_ns: int) -> str:
    """`2026-10-03 14:00 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at_ns // 1_000_000_000))


def facts(alert: Alert, escaped: Callable[[str], str] = str) -> list[str]:
    """What is known of an alert, a line each."""
    labels = ", ".join(f"{name} {value}" for name, value in sorted(alert.labels.items()))
    since = f"since {stamp(alert.since_ns)}"
    if alert.ended_ns:
        since += f", ended {stamp(alert.ended_ns)}"
    lines = [f"{alert.severity.value}, {since}"]
    lines += [labels] if labels else []
    lines += [f"{name}: {text}" for name, text in alert.annotations.items()]
    return [escaped(line) for line in lines]


def cut(text: str, most: int) -> str:
    """At most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def cut_bytes(text: str, most: int) -> str:
    """At most so many bytes of UTF-8, and no half character."""
    data = text.encode()
    if len(data) <= most:
        return text
    return data[: most - 3].decode(errors="ignore") + "…"


def fitted(parts: Sequence[str], most: int, between: str = "\n\n") -> str:
    """As many whole parts as fit into so many bytes, and how many there are besides.

    Args:
        parts: the most important first; the first is cut where it alone is too long.
        most: bytes of UTF-8.
        between: two of them.
    """
    whole = between.join(parts)
    if len(whole.encode()) <= most:
        return whole
    room = most - len(f"{between}and {len(parts)} more".encode())
    kept: list[str] = []
    for part in parts:
        if len(between.join([*kept, part]).encode()) > room:
            break
        kept.append(part)
    if not kept:
        kept = [cut_bytes(parts[0], room)]
    left = len(parts) - len(kept)
    return between.join([*kept, f"and {left} more"] if left else kept)


def markdown(text: str) -> str:
    """Text that says nothing to Markdown."""
    found = "".join("\\" + sign if sign in "\\`*_{}[]()#+-!|~>" else sign for sign in text)
    return found.replace("<", "&lt;").replace("\n", " ")
