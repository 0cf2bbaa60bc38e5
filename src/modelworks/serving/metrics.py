"""Prometheus text (exposition format 0.0.4) from the counters' block."""

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from modelworks.serving.block import SERVER, Block
from modelworks.serving.histograms import Histogram
from modelworks.serving.lifetimes import Lifetime, read_lifetime
from modelworks.serving.statistics import (
    CODES,
    Cell,
    Numbers,
    Outcome,
    read,
)

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_BOUNDS: Final = tuple((2**bits, f"{2**bits / 1e9:.3g}") for bits in range(14, 35))
"""16 us to 17 s: every fourth bound of the histograms, for a scrape is not to grow by them all."""
_BATCH_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


_LIFETIMES: Final[tuple[tuple[str, str, str, Callable[[Lifetime], float]], ...]] = (
    ("modelworks_model_loads_total", "counter", "Loads that went well.", lambda f: f.loads),
    ("modelworks_model_load_failures_total", "counter", "Loads refused.", lambda f: f.failures),
    (
        "modelworks_model_load_seconds_total",
        "counter",
        "Time that loads took, warm-up included.",
        lambda f: f.load_ns / 1e9,
    ),
    (
        "modelworks_model_unloads_total",
        "counter",
        "Copies unloaded: on request, replaced, off the list, evicted.",
        lambda f: f.unloads,
    ),
    (
        "modelworks_model_evictions_total",
        "counter",
        "Copies unloaded to make room for another model.",
        lambda f: f.evictions,
    ),
    (
        "modelworks_model_memory_bytes",
        "gauge",
        "What the loaded copies took when they were loaded.",
        lambda f: f.footprint,
    ),
)


def escape(value: str) -> str:
    """A label's value: backslash, quote and line feed escaped."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def labels(pairs: Mapping[str, str]) -> str:
    """`{model="m",version="1"}`."""
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in pairs.items()) + "}"


class _Text:
    """Lines of the exposition, one metric after the other."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def metric(self, name: str, kind: str, text: str) -> None:
        self.lines += (f"# HELP {name} {text}", f"# TYPE {name} {kind}")

    def value(self, name: str, pairs: Mapping[str, str], value: float) -> None:
        self.lines.append(f"{name}{labels(pairs) if pairs else ''} {value!r}")


def render(block: Block, version: str, started: float) -> bytes:
    """Everything that Prometheus may scrape, for all workers.

    Args:
        block: the counters.
        version: of Modelworks.
        started: the server's start, seconds since the epoch.
    """
    text = _Text()
    _server(text, block, version, started)
    models = [
        ({"model": name, "version": of}, read(block, index), block.each(index)[:, Cell.READY])
        for (name, of), index in sorted(block.models().items())
    ]
    text.metric("modelworks_model_ready", "gauge", "Whether all workers serve this version (1).")
    alive = [slot for slot, pid in enumerate(block.pids()) if pid]
    for pairs, _, ready in models:
        text.value("modelworks_model_ready", pairs, int(all(ready[slot] for slot in alive)))
    numbers = [(pairs, found) for pairs, found, _ in models]
    _counts(text, [({"model": "", "version": ""}, read(block, SERVER)), *numbers], numbers)
    _lifetimes(text, block)
    _cuts(text, numbers)
    _histograms(text, numbers)
    text.lines.append("")
    return "\n".join(text.lines).encode()


def _server(text: _Text, block: Block, version: str, started: float) -> None:
    text.metric("modelworks_build_info", "gauge", "Always 1; the labels say what runs.")
    build = {"version": version, "python": platform.python_version()}
    text.value("modelworks_build_info", build, 1)
    text.metric("modelworks_start_time_seconds", "gauge", "Start of the server, Unix time.")
    text.value("modelworks_start_time_seconds", {}, started)
    text.metric("modelworks_workers", "gauge", "Worker processes on the port.")
    text.value("modelworks_workers", {}, block.workers)
    text.metric("modelworks_worker_resident_memory_bytes", "gauge", "Resident memory by worker.")
    for slot, pid in enumerate(block.pids()):
        size = resident_bytes(pid)
        if size:
            name = "modelworks_worker_resident_memory_bytes"
            text.value(name, {"worker": str(slot)}, size)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it is gone or this is not Linux."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - no path is built here
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


_Rows = list[tuple[dict[str, str], Numbers]]


def _counts(text: _Text, everything: _Rows, models: _Rows) -> None:
    name = "modelworks_requests_total"
    text.metric(name, "counter", "Inference requests by outcome; no model = it was not found.")
    for pairs, numbers in everything:
        for outcome, count in numbers.outcomes.items():
            if count or outcome is Outcome.SUCCESS:
                extra = {"outcome": outcome.value, "code": CODES[outcome]}
                text.value(name, pairs | extra, count)
    text.metric("modelworks_items_total", "counter", "Rows predicted.")
    for pairs, numbers in models:
        text.value("modelworks_items_total", pairs, numbers.items)
    text.metric("modelworks_queue_items", "gauge", "Rows that wait for the engine.")
    for pairs, numbers in models:
        text.value("modelworks_queue_items", pairs, numbers.waiting)


def _lifetimes(text: _Text, block: Block) -> None:
    found = [
        ({"model": name, "version": of}, read_lifetime(block, index))
        for (name, of), index in sorted(block.models().items())
    ]
    for name, kind, words, value in _LIFETIMES:
        text.metric(name, kind, words)
        for pairs, lifetime in found:
            text.value(name, pairs, value(lifetime))


def _cuts(text: _Text, models: _Rows) -> None:
    name = "modelworks_batch_cuts_total"
    text.metric(name, "counter", "Engine calls, by why their batch was not larger.")
    for pairs, numbers in models:
        for cut, count in numbers.cuts.items():
            if count:
                text.value(name, pairs | {"reason": cut.value}, count)


def _histograms(text: _Text, models: _Rows) -> None:
    name = "modelworks_request_duration_seconds"
    text.metric(name, "histogram", "Time of answered requests, by stage; total is all stages.")
    for pairs, numbers in models:
        for stage, histogram in numbers.stages.items():
            _histogram(text, name, pairs | {"stage": stage.value}, histogram)
    name = "modelworks_batch_items"
    text.metric(name, "histogram", "Rows of each engine call.")
    for pairs, numbers in models:
        sizes = [(row.size, row.calls) for row in numbers.batches]
        bounds = [(str(b), sum(c for size, c in sizes if size <= b)) for b in _BATCH_BOUNDS]
        count = sum(calls for _, calls in sizes)
        _write(text, name, pairs, bounds, count, sum(size * calls for size, calls in sizes))


def _histogram(text: _Text, name: str, pairs: Mapping[str, str], found: Histogram) -> None:
    bounds = [(label, found.below(bound)) for bound, label in _BOUNDS]
    _write(text, name, pairs, bounds, found.count, found.sum_ns / 1e9)


def _write(
    text: _Text,
    name: str,
    pairs: Mapping[str, str],
    bounds: Iterable[tuple[str, int]],
    count: int,
    total: float,
) -> None:
    base = dict(pairs)
    for bound, cumulated in (*bounds, ("+Inf", count)):
        text.value(f"{name}_bucket", base | {"le": bound}, cumulated)
    text.value(f"{name}_sum", base, total)
    text.value(f"{name}_count", base, count)
