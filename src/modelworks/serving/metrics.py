"""What `/metrics` tells of a server under its own names, from the counters' block."""

import os
import platform
from collections.abc import Callable, Mapping
from typing import Final

from modelworks.protocol.openmetrics import (
    Exemplar,
    Family,
    Kind,
    bound,
    write_text,
)
from modelworks.serving import recorded
from modelworks.serving.block import SERVER, Block
from modelworks.serving.cache import numbers as cached
from modelworks.serving.histograms import Histogram
from modelworks.serving.lifetimes import Lifetime, read_lifetime
from modelworks.serving.sequences import numbers as remembered
from modelworks.serving.statistics import (
    CODES,
    Cell,
    Numbers,
    Outcome,
    Stage,
    read,
)

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
BOUNDS: Final = tuple((2**bits, bound(2**bits / 1e9)) for bits in range(14, 35))
"""16 us to 17 s: every fourth bound of the histograms, for a scrape is not to grow by them all."""
_BATCH_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE

Examples = Mapping[tuple[str, str], Mapping[str, Exemplar]]
"""(model, version) -> upper bound -> a request that it counts."""
Rows = list[tuple[dict[str, str], Numbers]]

_LIFETIMES: Final[tuple[tuple[str, Kind, str, Callable[[Lifetime], float]], ...]] = (
    ("modelworks_model_loads", _COUNTER, "Loads that went well.", lambda f: f.loads),
    ("modelworks_model_load_failures", _COUNTER, "Loads refused.", lambda f: f.failures),
    (
        "modelworks_model_load_seconds",
        _COUNTER,
        "Time that loads took, warm-up included.",
        lambda f: f.load_ns / 1e9,
    ),
    (
        "modelworks_model_unloads",
        _COUNTER,
        "Copies unloaded: on request, replaced, off the list, evicted.",
        lambda f: f.unloads,
    ),
    (
        "modelworks_model_evictions",
        _COUNTER,
        "Copies unloaded to make room for another model.",
        lambda f: f.evictions,
    ),
    (
        "modelworks_model_memory_bytes",
        _GAUGE,
        "What the loaded copies took when they were loaded.",
        lambda f: f.footprint,
    ),
)


def render(block: Block, version: str, started: float) -> bytes:
    """Everything that Prometheus may scrape, for all workers, as plain text; see `families`."""
    return write_text(families(block, version, started))


def families(
    block: Block, version: str, started: float, examples: Examples | None = None
) -> list[Family]:
    """Everything that may be scraped, for all workers.

    Args:
        block: the counters.
        version: of Modelworks.
        started: the server's start, seconds since the epoch.
        examples: requests with a trace, shown where the format can.
    """
    models = numbers_of_models(block)
    return [
        *_server(block, version, started),
        _ready(block),
        *_counts(block, models),
        *_lifetimes(block),
        _cuts(models),
        _durations(models, examples or {}),
        _batches(models),
        *recorded.families(block),
        *cached.families(block),
        *remembered.families(block),
    ]


def numbers_of_models(block: Block) -> Rows:
    """The labels and the numbers of every version, by name."""
    return [
        ({"model": name, "version": of}, read(block, index))
        for (name, of), index in sorted(block.models().items())
    ]


def _server(block: Block, version: str, started: float) -> list[Family]:
    build = Family("modelworks_build", Kind.INFO, "Always 1; the labels say what runs.")
    build.add(1, {"version": version, "python": platform.python_version()})
    begun = Family("modelworks_start_time_seconds", _GAUGE, "Start of the server, Unix time.")
    begun.add(started)
    workers = Family("modelworks_workers", _GAUGE, "Worker processes on the port.")
    workers.add(block.workers)
    name = "modelworks_worker_resident_memory_bytes"
    memory = Family(name, _GAUGE, "Resident memory by worker.")
    for slot, pid in enumerate(block.pids()):
        if size := resident_bytes(pid):
            memory.add(size, {"worker": str(slot)})
    return [build, begun, workers, memory]


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it is gone or this is not Linux."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - no path is built here
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _ready(block: Block) -> Family:
    family = Family("modelworks_model_ready", _GAUGE, "Whether all workers serve it (1).")
    alive = [slot for slot, pid in enumerate(block.pids()) if pid]
    for (name, of), index in sorted(block.models().items()):
        ready = block.each(index)[:, Cell.READY]
        family.add(int(all(ready[slot] for slot in alive)), {"model": name, "version": of})
    return family


def _counts(block: Block, models: Rows) -> list[Family]:
    text = "Inference requests by outcome; no model = it was not found."
    requests = Family("modelworks_requests", _COUNTER, text)
    nobody = ({"model": "", "version": ""}, read(block, SERVER))
    for pairs, numbers in (nobody, *models):
        for outcome, count in numbers.outcomes.items():
            if count or outcome is Outcome.SUCCESS:
                extra = {"outcome": outcome.value, "code": CODES[outcome]}
                requests.add(count, pairs | extra)
    items = Family("modelworks_items", _COUNTER, "Rows predicted.")
    queue = Family("modelworks_queue_items", _GAUGE, "Rows that wait for the engine.")
    for pairs, numbers in models:
        items.add(numbers.items, pairs)
        queue.add(numbers.waiting, pairs)
    return [requests, items, queue]


def _lifetimes(block: Block) -> list[Family]:
    found = [
        ({"model": name, "version": of}, read_lifetime(block, index))
        for (name, of), index in sorted(block.models().items())
    ]
    told = []
    for name, kind, words, value in _LIFETIMES:
        family = Family(name, kind, words)
        for pairs, lifetime in found:
            family.add(value(lifetime), pairs)
        told.append(family)
    return told


def _cuts(models: Rows) -> Family:
    text = "Engine calls, by why their batch was not larger."
    family = Family("modelworks_batch_cuts", _COUNTER, text)
    for pairs, numbers in models:
        for cut, count in numbers.cuts.items():
            if count:
                family.add(count, pairs | {"reason": cut.value})
    return family


def _durations(models: Rows, examples: Examples) -> Family:
    text = "Time of answered requests, by stage; total is all stages."
    family = Family("modelworks_request_duration_seconds", Kind.HISTOGRAM, text)
    for pairs, numbers in models:
        mine = examples.get((pairs["model"], pairs["version"]), {})
        for stage, histogram in numbers.stages.items():
            shown = _counted(histogram, mine) if stage is Stage.TOTAL else {}
            spread(family, pairs | {"stage": stage.value}, histogram, shown)
    return family


def _counted(found: Histogram, examples: Mapping[str, Exemplar]) -> dict[str, Exemplar]:
    """The examples of buckets that count something: what was noted may not be counted yet."""
    shown, before = {}, 0
    for at, label in (*BOUNDS, (0, "+Inf")):
        below = found.below(at) if at else found.count
        if below > before and label in examples:
            shown[label] = examples[label]
        before = below
    return shown


def _batches(models: Rows) -> Family:
    family = Family("modelworks_batch_items", Kind.HISTOGRAM, "Rows of each engine call.")
    for pairs, numbers in models:
        sizes = [(row.size, row.calls) for row in numbers.batches]
        bounds = [(bound(b), sum(c for size, c in sizes if size <= b)) for b in _BATCH_BOUNDS]
        count = sum(calls for _, calls in sizes)
        family.spread(pairs, bounds, count, sum(size * calls for size, calls in sizes))
    return family


def spread(
    family: Family,
    pairs: Mapping[str, str],
    found: Histogram,
    examples: Mapping[str, Exemplar] | None = None,
) -> None:
    """Add a histogram of durations, in seconds."""
    bounds = [(label, found.below(at)) for at, label in BOUNDS]
    family.spread(pairs, bounds, found.count, found.sum_ns / 1e9, examples)
