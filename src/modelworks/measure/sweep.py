"""One load at several numbers of connections, or at several rates, and the knee between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.measure.knee import Knee, Step, knee_of_connections, knee_of_rates
from modelworks.measure.load import Load, Progress
from modelworks.measure.observe import Generate, Point, Server, observe

SHARES: Final = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1)
"""Rates of an automatic sweep, as shares of what a closed loop got."""
MOST_POINTS: Final = 64


class Axis(StrEnum):
    """What a sweep varies."""

    CONNECTIONS = "connections"  # closed loop
    RATE = "rate"  # open loop


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep's points, in the order of its axis.

    Attributes:
        axis: what was varied.
        points: one a value.
        knee: where it bends.
    """

    axis: Axis
    points: tuple[Point, ...]
    knee: Knee

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it early."""
        return any(point.loaded.interrupted for point in self.points)


def sweep(
    loads: Sequence[Load],
    generate: Generate,
    server: Server,
    progress: Callable[[Load], Progress | None] = lambda _load: None,
) -> Swept:
    """Run the loads one after another; Ctrl-C ends it with what was measured.

    Args:
        loads: `over_connections` or `over_rates` makes them.
        generate: runs one.
        server: whose CPU and statistics are looked at.
        progress: called before each with the load; gives that load's own progress.

    Raises:
        UnavailableError: nothing listens there.
    """
    points: list[Point] = []
    for load in loads:
        point = observe(load, generate, server, progress(load))
        if point.loaded.every or not point.loaded.interrupted:
            points.append(point)
        if point.loaded.interrupted:
            break
    rates = loads[0].rate is not None
    steps = [_step(point) for point in points]
    knee = knee_of_rates(steps) if rates else knee_of_connections(steps)
    return Swept(Axis.RATE if rates else Axis.CONNECTIONS, tuple(points), knee)


def over_connections(load: Load, counts: Sequence[int]) -> list[Load]:
    """The load as a closed loop with each number of connections, ascending."""
    return [replace(load, rate=None, connections=int(count)) for count in _ordered(counts)]


def over_rates(load: Load, rates: Sequence[float]) -> list[Load]:
    """The load as an open loop at each rate, ascending."""
    return [replace(load, rate=float(rate)) for rate in _ordered(rates)]


def rates_around(saturation: float) -> list[float]:
    """Rates from idle to beyond what a closed loop got, rounded to three digits.

    Args:
        saturation: answers a second of the closed loop.
    """
    return sorted({float(f"{max(0.1, saturation * share):.3g}") for share in SHARES})


def _ordered(values: Sequence[float]) -> list[float]:
    found = sorted(set(values))
    if not 1 <= len(found) <= MOST_POINTS:
        raise InvalidError(f"{len(found)} points to sweep: 1 to {MOST_POINTS} are wanted")
    return found


def _step(point: Point) -> Step:
    loaded = point.loaded
    figures = loaded.latency.latency()
    return Step(
        offered=loaded.connections if loaded.rate is None else loaded.rate,
        throughput=loaded.throughput,
        mean_s=figures.mean,
        p99_s=figures.p99,
        failed=loaded.failed,
    )
