"""One load from several generator processes, for servers that are faster than one of them."""

import multiprocessing
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Final

from modelworks.core.errors import CrashedError, InvalidError, ModelworksError
from modelworks.measure.histogram import Histogram
from modelworks.measure.load import Load, Loaded, Progress, run

_START_S: Final = 60.0
_SPARE_S: Final = 60.0


def run_parallel(
    load: Load,
    processes: int,
    pins: Sequence[int] = (),
    progress: Progress | None = None,
) -> Loaded:
    """Split the connections and the rate over processes, run them together, add up.

    Args:
        load: the whole.
        processes: at least one; no more than there are connections.
        pins: cores for them, taken in turn; none = any.
        progress: called with the elapsed time only as each process ends.

    Raises:
        InvalidError: more processes than connections.
        UnavailableError: nothing listens there.
        CrashedError: a process died.
    """
    if processes == 1 and len(pins) <= 1:
        return run(replace(load, pin=pins[0] if pins else load.pin), progress)
    shares = split(load, processes, pins)
    context = multiprocessing.get_context("spawn")
    children = []
    try:
        for share in shares:
            ours, theirs = context.Pipe()
            child = context.Process(target=_child, args=(theirs, share), daemon=True)
            child.start()
            theirs.close()
            children.append((child, ours))
        for _, pipe in children:
            _receive(pipe, _START_S)
        for _, pipe in children:
            pipe.send("go")
        patience = load.warm_s + load.seconds * 2 + load.timeout_s + _SPARE_S
        return merged(load, [_receive(pipe, patience) for _, pipe in children])
    finally:
        for child, pipe in children:
            pipe.close()
            child.join(1.0)
            if child.is_alive():
                child.kill()
                child.join()


def split(load: Load, processes: int, pins: Sequence[int] = ()) -> list[Load]:
    """The load in as many parts.

    Raises:
        InvalidError: more processes than connections or requests.
    """
    if not 1 <= processes <= min(load.connections, load.most or load.connections):
        raise InvalidError(
            f"{processes} processes for {load.connections} connections: give at least one each",
            field="processes",
        )
    found = []
    for number in range(processes):
        share = load.connections * (number + 1) // processes - (
            load.connections * number // processes
        )
        start = number * len(load.requests) // processes
        most = load.most
        if most is not None:
            most = most * (number + 1) // processes - most * number // processes
        part = replace(
            load,
            connections=share,
            rate=None if load.rate is None else load.rate * share / load.connections,
            most=most,
            requests=[*load.requests[start:], *load.requests[:start]],
            sample=0 if number else load.sample,  # the first one's turns are those of the whole
            seed=None if load.seed is None else load.seed + number,
            pin=pins[number % len(pins)] if pins else load.pin,
        )
        found.append(part)
    return found


def merged(load: Load, parts: Sequence[Loaded]) -> Loaded:
    """What the parts saw, as one."""
    whole = {name: Histogram() for name in ("latency", "service", "lag", "refused")}
    statuses: dict[int, int] = {}
    failures: dict[str, int] = {}
    for part in parts:
        for name, histogram in whole.items():
            histogram.merge(getattr(part, name))
        for status, count in part.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
        for kind, count in part.failures.items():
            failures[kind] = failures.get(kind, 0) + count
    return Loaded(
        connections=load.connections,
        rate=load.rate,
        seconds=max(part.seconds for part in parts),
        answered=sum(part.answered for part in parts),
        rows=load.rows,
        in_time=sum(part.in_time for part in parts),
        latency=whole["latency"],
        service=whole["service"],
        lag=whole["lag"],
        refused=whole["refused"],
        statuses=dict(sorted(statuses.items())),
        failures=dict(sorted(failures.items())),
        unsent=sum(part.unsent for part in parts),
        waited=sum(part.waited for part in parts),
        reconnects=sum(part.reconnects for part in parts),
        cpu=max(part.cpu for part in parts),
        starved=max(part.starved for part in parts),
        every=sum(part.every for part in parts),
        samples=parts[0].samples,
        interrupted=any(part.interrupted for part in parts),
    )


def _receive(pipe: Connection, seconds: float) -> Loaded:
    """What a child sends: its result, or the error that it ended with.

    A Ctrl-C reaches the children too: they end and answer with what they have.
    """
    for _ in range(2):
        with suppress(KeyboardInterrupt):
            if not pipe.poll(seconds):
                raise CrashedError(f"a generator process gave no answer within {seconds:g} s")
            try:
                found = pipe.recv()
            except EOFError as error:
                raise CrashedError("a generator process died") from error
            if isinstance(found, ModelworksError):
                raise found
            result: Loaded = found
            return result
    raise KeyboardInterrupt


def _child(pipe: Connection, load: Load) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt, EOFError, OSError):
        pipe.send(None)
        pipe.recv()
        try:
            pipe.send(run(load))
        except ModelworksError as error:
            pipe.send(error)
