"""A latency document as text for people. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from modelworks.cli.human import aligned, count

_BAR = 24
_SIZES = 12


def lines(document: dict[str, Any]) -> Iterator[str]:
    """The whole report."""
    yield from _head(document)
    if not document["stages"]["total"]["count"]:
        yield from _verdict(document)
        return
    yield ""
    yield from _waterfall(document)
    yield ""
    yield from _batches(document)
    yield ""
    yield from _engine(document)
    if document["learning"] is not None:
        yield ""
        yield from _learning(document)
    yield ""
    yield from _verdict(document)


def duration(ns: float | None) -> str:
    """`1.2 ms`, `85 us`; a dash where nothing is known."""
    if ns is None:
        return "-"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def _head(document: dict[str, Any]) -> Iterator[str]:
    answered = document["stages"]["total"]["count"]
    seconds = document["seconds"]
    rate = f", {answered / seconds:.4g} a second" if seconds else ""
    yield (
        f"{document['model']} {document['version']}: {count(answered, 'request')} answered in "
        f"{duration(seconds * 1e9)}{rate}, {count(len(document['workers']), 'worker')}"
    )
    others = {
        name: number
        for name, number in document["outcomes"].items()
        if number and name != "success"
    }
    if others:
        yield "  not answered: " + ", ".join(f"{number} {name}" for name, number in others.items())


def _waterfall(document: dict[str, Any]) -> Iterator[str]:
    rows, begin = [], 0.0
    for row in document["waterfall"]:
        total = row["stage"] == "total"
        begin = 0.0 if total else begin
        bar = _bar(begin, row["share"])
        begin += row["share"]
        rows.append(
            [
                row["stage"].replace("_", " "),
                duration(row["mean_ns"]),
                *(duration(row[name] and row[name]["ns"]) for name in ("p50", "p99")),
                f"{row['share']:.0%}",
                bar,
                row["meaning"],
            ]
        )
    yield from aligned(["stage", "mean", "p50", "p99", "share", "", "what it is"], rows)
    yield f"  {document['method']} (--json has the bounds)"
    yield f"  {document['unmeasured']}"


def _bar(begin: float, share: float) -> str:
    """A piece of a line `_BAR` long."""
    first = min(_BAR - 1, round(begin * _BAR))
    width = max(1, round(share * _BAR)) if share >= 0.005 else 0
    return (" " * first + "#" * min(width, _BAR - first)).ljust(_BAR)


def _batches(document: dict[str, Any]) -> Iterator[str]:
    batching = document["batching"]
    yield (
        f"batches: {document['calls']} calls, {batching['requests_per_call']:.3g} requests and "
        f"{batching['rows_per_call']:.3g} rows a call; the engine was busy "
        f"{batching['engine_busy']:.0%} of the time"
    )
    sizes = batching["sizes"]
    shown = sorted(sizes, key=lambda row: -row["calls"])[:_SIZES]
    rows = [
        [
            str(row["rows"]),
            str(row["calls"]),
            f"{row['share']:.0%}",
            duration(row["ns_per_call"]),
            duration(row["ns_per_row"]),
        ]
        for row in sorted(shown, key=lambda row: row["rows"])
    ]
    yield from _indented(aligned(["rows", "calls", "share", "a call", "a row"], rows))
    if len(sizes) > _SIZES:
        yield f"  and {len(sizes) - _SIZES} sizes less frequent"
    yield "why they were not larger:"
    cuts = [[row["cut"], f"{row['share']:.0%}", row["meaning"]] for row in document["why_cut"]]
    yield from _indented(aligned(["cut", "share", "because"], cuts))


def _engine(document: dict[str, Any]) -> Iterator[str]:
    sizing, placement = document["sizing"], document["placement"]
    limits = {(w["max_batch_size"], w["max_delay_ms"]) for w in document["workers"]}
    told = "; ".join(f"batches of {size}, delay {delay:g} ms" for size, delay in sorted(limits))
    yield f"limits in force: {told} (asked for: {_asked(document['settings'])})"
    yield f"  {sizing['reason']}"
    if sizing["grown"]:
        yield f"  {sizing['grown']}"
    if sizing["assumed_length"]:
        yield f"  measured with {sizing['assumed_length']} for every axis of unknown length"
    places = {call["place"] for call in placement["calls"]}
    where = {"loop": "on the event loop", "thread": "on the engine's thread"}
    both = " or ".join(where[place] for place in sorted(places))
    yield f"calls run {both}: {placement['reason']}"


def _asked(settings: dict[str, Any]) -> str:
    goal = settings["latency_goal_ms"]
    told = f"{settings['max_batch_size']}, {settings['max_delay_ms']:g} ms"
    return f"{told}, goal {goal:g} ms" if goal else told


def _learning(document: dict[str, Any]) -> Iterator[str]:
    learning = document["learning"]
    now = learning["setting"]
    yield (
        f"learnt by worker {document['answered_by']}: batches of {now['max_batch_size']}, delay "
        f"{now['max_delay_ms']:.3g} ms{'; the goal is missed' if learning['missed'] else ''}"
    )
    rows = [
        [
            datetime.fromtimestamp(one["at_ms"] / 1000, UTC).strftime("%H:%M:%S"),
            one["step"],
            f"{one['setting']['max_batch_size']}, {one['setting']['max_delay_ms']:.3g} ms",
            one["reason"],
        ]
        for one in learning["decisions"][-_SIZES:]
    ]
    yield from _indented(aligned(["at (UTC)", "step", "batch, delay", "why"], rows))


def _verdict(document: dict[str, Any]) -> Iterator[str]:
    yield "verdict:"
    for one in document["verdict"]:
        yield f"  {one['finding']}"
        yield f"    what would help: {one['help']}"


def _indented(rows: list[str]) -> Iterator[str]:
    for row in rows:
        yield f"  {row}"
