"""How many workers, with how many engine threads each: decided from measurements, with the reason.

Pure: `apps` measures, `decide` chooses. The estimate is of requests a second where all models are
asked equally often. A worker has one thread for HTTP and short calls; longer calls have their own.
"""

from dataclasses import dataclass, replace
from math import ceil, exp, log
from typing import Final

from modelworks.core.machine import Machine

INLINE_NS: Final = 1_000_000
"""Calls shorter than this share the thread of HTTP (`serving.cost`)."""
CLOSE: Final = 0.96
"""Options this near to the best are as good: then fewer threads, then fewer workers."""
MEMORY: Final = 0.8
"""Of the limit, at most: swaps of versions hold two at a time, and requests need room."""
MOST_WORKERS: Final = 256
UNMEASURED_WORKERS: Final = 4
_SHOWN: Final = 12  # models and options that are told; a list may have a thousand
HTTP_NS: Final = 40_000
"""Assumed where HTTP could not be measured."""


@dataclass(frozen=True, slots=True)
class Speed:
    """One model under one setting.

    Attributes:
        threads: of the engine.
        processes: that ran the model at the same time.
        ns_per_row: of each of them, at the best batch size.
    """

    threads: int
    processes: int
    ns_per_row: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One model of the list.

    Attributes:
        name: of the model.
        version: of it.
        call_ns: of one row with one thread.
        http_ns: CPU time of a request without its engine call: parse, decode, encode, write.
        bytes: memory of one process that loading it took.
        speeds: as measured; the first is of one process alone, with the fewest threads.
        problem: why it was not measured; it then has no speeds.
    """

    name: str
    version: str
    call_ns: float = 0.0
    http_ns: float = HTTP_NS
    bytes: int = 0
    speeds: tuple[Speed, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """One way to use the machine.

    Attributes:
        workers: processes.
        threads: of the engine in each.
        gain: requests a second, in those of one worker (with one thread, unless that was set).
        memory_bytes: of all workers.
        fits: within the memory.
    """

    workers: int
    threads: int
    gain: float
    memory_bytes: int
    fits: bool


@dataclass(frozen=True, slots=True)
class Sizing:
    """What was decided, and from what.

    Attributes:
        workers: processes on the port.
        threads: of the engine, a model and worker.
        calibrated: chosen from measurements; otherwise set by hand, or fallen back to.
        reason: one sentence.
        machine: what may be used.
        models: what was measured.
        options: what was compared; best first.
        base_bytes: memory of a worker without models.
        seconds: that the calibration took.
    """

    workers: int
    threads: int
    calibrated: bool
    reason: str
    machine: Machine | None = None
    models: tuple[Calibrated, ...] = ()
    options: tuple[Option, ...] = ()
    base_bytes: int = 0
    seconds: float = 0.0


def as_set(workers: int, threads: int) -> Sizing:
    """Of a server whose owner chose."""
    return Sizing(workers, threads, calibrated=False, reason="as set")


def decide(
    machine: Machine, models: tuple[Calibrated, ...], base_bytes: int, threads: int = 0
) -> Sizing:
    """Choose.

    Args:
        machine: what may be used.
        models: all of the list; those with a `problem` count for memory only.
        base_bytes: of a worker without models.
        threads: the only number of threads that may be chosen; 0 = any that was measured.
    """
    measured = tuple(model for model in models if model.speeds)
    told = replace(Sizing(1, max(1, threads), False, ""), machine=machine)  # noqa: FBT003 - a field
    shown = (*measured, *(model for model in models if not model.speeds))[:_SHOWN]
    told = replace(told, models=shown, base_bytes=base_bytes)
    if not measured:
        return _unmeasured(told)
    options = _options(machine, measured, models, base_bytes, threads)
    best = max((option.gain for option in options if option.fits), default=0.0)
    good = [option for option in options if option.fits and option.gain >= CLOSE * best]
    chosen = min(
        good or [min(options, key=lambda o: (o.memory_bytes, -o.gain))],
        key=lambda option: (option.threads, option.workers),
    )
    return replace(
        told,
        workers=chosen.workers,
        threads=chosen.threads,
        calibrated=True,
        reason=_reason(machine, measured, options, chosen),
        options=options[:_SHOWN],
    )


def _unmeasured(told: Sizing) -> Sizing:
    """Nothing is known: few workers where nothing is served yet, one where something is."""
    assert told.machine is not None  # noqa: S101 - the caller set it
    cores = usable(told.machine)
    if told.models:
        first = told.models[0]
        reason = f"not calibrated, so one worker: {first.name}: {first.problem}"
        return replace(told, reason=reason)
    count = min(cores, UNMEASURED_WORKERS)
    reason = f"no model to calibrate with: one worker a core, {UNMEASURED_WORKERS} at most"
    return replace(told, workers=count, reason=reason)


def usable(machine: Machine) -> int:
    """Threads that can run at the same time; a started core counts."""
    return max(1, min(machine.cores, ceil(machine.quota), MOST_WORKERS))


def _options(
    machine: Machine,
    measured: tuple[Calibrated, ...],
    models: tuple[Calibrated, ...],
    base_bytes: int,
    threads: int,
) -> tuple[Option, ...]:
    cores = usable(machine)
    each = base_bytes + sum(model.bytes for model in models)
    limit = MEMORY * machine.memory_bytes if machine.memory_bytes else float("inf")
    known = set.intersection(*({s.threads for s in m.speeds if s.processes == 1} for m in measured))
    allowed = [threads] if threads else sorted(t for t in known if t <= cores)
    options = []
    for count in allowed:
        for workers in range(1, max(1, cores // count) + 1):
            gain = _gain(measured, workers, count, machine.quota)
            memory = workers * each
            options.append(Option(workers, count, round(gain, 3), memory, fits=memory <= limit))
    return tuple(sorted(options, key=lambda o: (not o.fits, -o.gain, o.threads, o.workers)))


def _gain(models: tuple[Calibrated, ...], workers: int, threads: int, quota: float) -> float:
    """Geometric mean over the models: none of them is bought with another one's loss."""
    ratios = [
        _rate(m, workers, threads, quota) / _rate(m, 1, m.speeds[0].threads, quota) for m in models
    ]
    return exp(sum(map(log, ratios)) / len(models))


def _rate(model: Calibrated, workers: int, threads: int, quota: float) -> float:
    """Requests a nanosecond of all workers together."""
    engine = _engine_ns(model, workers, threads)
    http = model.http_ns
    inline = model.call_ns < INLINE_NS
    one = http + engine if inline else max(http, engine)
    spent = http + threads * engine  # CPU time; an upper bound, threads wait for each other
    return min(workers / one, quota / spent)


def _engine_ns(model: Calibrated, workers: int, threads: int) -> float:
    """A row's time in a worker while all workers are busy: alone, times what neighbours cost."""
    alone = {s.threads: s.ns_per_row for s in model.speeds if s.processes == 1}
    return alone[threads] * _crowd(model, workers * threads) / _crowd(model, threads)


def _crowd(model: Calibrated, busy: int) -> float:
    """How many times longer a row takes when so many cores run the model; linear in them."""
    first, last = model.speeds[0], max(model.speeds, key=lambda s: s.processes)
    if last.processes == 1:
        return 1.0
    slope = max(0.0, last.ns_per_row / first.ns_per_row - 1) / (last.processes - 1)
    return 1 + slope * (busy / first.threads - 1) if busy > first.threads else 1.0


def _reason(
    machine: Machine, models: tuple[Calibrated, ...], options: tuple[Option, ...], chosen: Option
) -> str:
    cores = usable(machine)
    slow = max(models, key=lambda m: m.speeds[0].ns_per_row)
    parts = [
        f"{chosen.workers} x {chosen.threads} (workers x engine threads) on {_cores(machine)}",
        (
            f"{slow.name} takes {_time(slow.speeds[0].ns_per_row)} a row, "
            f"HTTP {_time(slow.http_ns)} a request"
        ),
    ]
    if cores == 1:
        parts.append("more of either would only take turns")
    else:
        parts.append(f"expected {chosen.gain:.1f} times the rate of one worker")
        others = [o for o in options if o.threads != chosen.threads and o.fits]
        if others:
            best = max(others, key=lambda o: o.gain)
            parts.append(f"{best.workers} x {best.threads} would give {best.gain:.1f}")
    each = chosen.memory_bytes // chosen.workers
    if not chosen.fits:
        parts.append(f"even this needs {_mb(chosen.memory_bytes)} and may use {_limit(machine)}")
    elif any(not option.fits for option in options):
        parts.append(f"a worker takes {_mb(each)} and all may use {_limit(machine)}")
    return "; ".join(parts)


def _cores(machine: Machine) -> str:
    name = "core" if machine.cores == 1 else "cores"
    if machine.quota < machine.cores:
        return f"{machine.quota:g} of {machine.cores} {name} (CPU quota)"
    return f"{machine.cores} {name}"


def _limit(machine: Machine) -> str:
    return f"{MEMORY:.0%} of {_mb(machine.memory_bytes)}"


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


def _time(ns: float) -> str:
    return f"{ns / 1e6:.1f} ms" if ns >= 1e6 else f"{ns / 1e3:.3g} us"
