"""Two endpoints under the same load, round by round: the ratios of their figures, and a verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.measure.compare import (
    AGAIN,
    FEWEST_ROUNDS,
    Ratio,
    Side,
    Verdict,
    interleave,
    judge,
    ratio_of,
)
from modelworks.measure.load import Load
from modelworks.measure.observe import Generate, Point, Server, observe

THIS: Final = "this"
OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison showed.

    Attributes:
        points: side -> one point a whole round; `again` is this side's second run.
        ratios: figure -> this side's ratio to the other's.
        noise: figure -> A/A: this side's second run to its first.
        verdict: of the ratio of throughput (closed loop) or of p99 (open loop) against the bar.
        judged: the figure that the verdict is of.
        bar: the ratio that it was held against.
        why: one sentence.
    """

    points: dict[str, list[Point]]
    ratios: dict[str, Ratio]
    noise: dict[str, Ratio]
    verdict: Verdict
    judged: str
    bar: float
    why: str


def duel(
    this: tuple[Load, Server],
    other: tuple[Load, Server],
    generate: Generate,
    *,
    rounds: int,
    bar: float = 1.0,
    seed: int = 0,
    progress: Callable[[int, str], None] = lambda _round, _name: None,
) -> Compared:
    """Measure both in turn.

    Args:
        this: load and server of this side.
        other: of the other.
        generate: runs a load.
        rounds: how many; each has three runs.
        bar: the ratio this side is held against: a throughput at least, a p99 at most.
        seed: of the order.
        progress: called before each run.

    Raises:
        InvalidError: interrupted before the first round was whole.
        UnavailableError: one does not answer.
    """
    sides = [
        Side(THIS, partial(observe, this[0], generate, this[1])),
        Side(OTHER, partial(observe, other[0], generate, other[1])),
    ]
    points = interleave(
        sides,
        rounds,
        seed=seed,
        stop=lambda point: point.loaded.interrupted,
        progress=progress,
    )
    if not points[THIS]:
        raise InvalidError("interrupted before the first round was whole: nothing to compare")
    ours, theirs, again = (_figures(points[name]) for name in (THIS, OTHER, AGAIN))
    ratios = _ratios(ours, theirs)
    noise = _ratios(again, ours)
    closed = this[0].rate is None
    judged = "throughput" if closed else "p99"
    verdict, why = _verdict(ratios[judged], noise[judged], points, bar, at_least=closed)
    return Compared(points, ratios, noise, verdict, judged, bar, why)


def _figures(points: Sequence[Point]) -> dict[str, list[float]]:
    latencies = [point.loaded.latency.latency() for point in points]
    found = {
        "throughput": [point.loaded.predictions for point in points],
        "p50": [one.p50 for one in latencies],
        "p99": [one.p99 for one in latencies],
    }
    cpu = [point.cpu_us for point in points if point.cpu_us is not None]
    if len(cpu) == len(points):
        found["cpu"] = cpu
    return found


def _ratios(left: Mapping[str, list[float]], right: Mapping[str, list[float]]) -> dict[str, Ratio]:
    return {name: ratio_of(values, right[name]) for name, values in left.items() if name in right}


def _verdict(
    found: Ratio,
    noise: Ratio,
    points: Mapping[str, Sequence[Point]],
    bar: float,
    *,
    at_least: bool,
) -> tuple[Verdict, str]:
    """The verdict, and what it rests on or what stands in its way."""
    blocked = [
        point.loaded.bottleneck
        for listed in points.values()
        for point in listed
        if point.loaded.bottleneck
    ]
    runs = sum(map(len, points.values()))
    if len(blocked) * 2 > runs:
        why = f"the generator, not the server, set the pace: {blocked[0]}"
        return Verdict.UNCERTAIN, why
    failed = sum(point.loaded.failed for listed in points.values() for point in listed)
    if failed:
        return Verdict.UNCERTAIN, f"{failed} requests failed: compare servers that answer"
    verdict = judge(found, bar, at_least=at_least, noise=noise.noise)
    held = f"A/A is off by up to {noise.noise:.1%}"
    if found.rounds < FEWEST_ROUNDS:
        return verdict, f"{found.rounds} rounds: at least {FEWEST_ROUNDS} are wanted for a verdict"
    if verdict is Verdict.UNCERTAIN:
        return verdict, f"{found.low:.3f} to {found.high:.3f} beside a bar of {bar:g}, and {held}"
    return verdict, f"{found.low:.3f} to {found.high:.3f} lies clear of {bar:g}; {held}"
