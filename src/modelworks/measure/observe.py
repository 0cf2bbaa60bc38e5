"""One point of a benchmark: a load, and beside it the server's CPU, its batches, the machine."""

from collections.abc import Callable
from dataclasses import dataclass

from modelworks.core.errors import ModelworksError
from modelworks.measure.batches import Batches, batches_of
from modelworks.measure.exchange import get_json
from modelworks.measure.load import Load, Loaded, Progress
from modelworks.measure.noise import Interference, Watch
from modelworks.measure.processes import ServerCpu
from modelworks.measure.target import Target

Generate = Callable[[Load, Progress | None], Loaded]
"""Runs a load: `load.run`, or another generator bound to its options."""


@dataclass(frozen=True, slots=True)
class Server:
    """What is known of a server beside its endpoint.

    Attributes:
        pids: its processes on this machine; empty = not known, or another machine's.
        statistics: where it answers the statistics of the model; None = nowhere.
    """

    pids: tuple[int, ...] = ()
    statistics: Target | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """What one load showed.

    Attributes:
        loaded: what the generator saw.
        machine: what else the machine did.
        cpu_us: CPU time of the server for one prediction (row), warm-up included on both sides,
            microseconds; None = not available.
        batches: of the server's own statistics; None = it has none.
    """

    loaded: Loaded
    machine: Interference
    cpu_us: float | None = None
    batches: Batches | None = None


def observe(
    load: Load, generate: Generate, server: Server, progress: Progress | None = None
) -> Point:
    """Run a load and look at the server and the machine meanwhile.

    Args:
        load: to run.
        generate: runs it.
        server: whose CPU and statistics are read before and after.
        progress: of the load.

    Raises:
        UnavailableError: nothing listens there.
    """
    before = _statistics(server)
    watch = Watch(server.pids)
    cpu = ServerCpu(server.pids) if server.pids else None
    loaded = generate(load, progress)
    used = None if cpu is None else cpu.seconds()
    machine = watch.end()
    batches = batches_of(before, _statistics(server)) if before is not None else None
    answers = loaded.every * load.rows
    return Point(
        loaded,
        machine,
        used / answers * 1e6 if used is not None and answers else None,
        batches,
    )


def _statistics(server: Server) -> object:
    if server.statistics is None:
        return None
    try:
        found: object = get_json(server.statistics)
    except ModelworksError:  # they are an extra: a benchmark does not end for them
        return None
    return found
