"""Where a server stops gaining throughput and begins to gain latency.

Of a sweep over connections: the point of the greatest power, throughput over mean latency
(Kleinrock, "Power and deterministic rules of thumb for probabilistic problems in computer
communications", ICC 1979). Of a sweep over rates: the highest rate up to which every rate was
sustained and its p99 stayed within a few times that of the lowest rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SUSTAINED: Final = 0.97
"""Share of the offered rate that has to be answered in the window."""
GROWTH: Final = 3.0
"""How many times the unloaded p99 is still before the knee."""


@dataclass(frozen=True, slots=True)
class Step:
    """One point of a sweep.

    Attributes:
        offered: connections, or requests a second.
        throughput: good answers a second.
        mean_s: mean latency.
        p99_s: 99th percentile of the latency.
        failed: requests without a good answer.
    """

    offered: float
    throughput: float
    mean_s: float
    p99_s: float
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Knee:
    """The knee of a sweep.

    Attributes:
        place: index of its step; -1 = there is none.
        saturation: highest throughput of any step, answers a second.
        why: one sentence.
    """

    place: int
    saturation: float
    why: str


def knee_of_connections(steps: Sequence[Step]) -> Knee:
    """The step of the greatest power."""
    most = max((step.throughput for step in steps), default=0.0)
    powers = [step.throughput / step.mean_s if step.mean_s > 0 else 0.0 for step in steps]
    if len(steps) < 3 or max(powers) <= 0:
        return Knee(-1, most, "fewer than three points with answers: no knee")
    place = powers.index(max(powers))
    count = steps[place].offered
    if place == len(steps) - 1:
        return Knee(place, most, f"at {count:g} connections or beyond: the sweep ends there")
    return Knee(place, most, f"at {count:g} connections throughput over latency is greatest")


def knee_of_rates(steps: Sequence[Step], growth: float = GROWTH) -> Knee:
    """The highest rate before the first that was not sustained, or whose p99 grew too much.

    Args:
        steps: by rate, ascending; the first one is what unloaded means.
        growth: how many times its p99 is still before the knee.
    """
    most = max((step.throughput for step in steps), default=0.0)
    if len(steps) < 2:
        return Knee(-1, most, "a single rate: no knee")
    place, why = -1, ""
    for number, step in enumerate(steps):
        why = _beyond(step, steps[0].p99_s * growth, growth)
        if why:
            break
        place = number
    if place < 0:
        return Knee(-1, most, f"not even the lowest rate is before the knee: {why}")
    if not why:
        return Knee(place, most, f"at {steps[place].offered:g}/s or beyond: the sweep ends there")
    return Knee(place, most, f"{steps[place].offered:g}/s is the last rate before {why}")


def _beyond(step: Step, limit: float, growth: float) -> str:
    if step.failed:
        return f"{step.offered:g}/s, where {step.failed} requests failed"
    if step.throughput < step.offered * SUSTAINED:
        return f"{step.offered:g}/s, of which {step.throughput:.0f}/s were answered"
    if step.p99_s > limit:
        return f"{step.offered:g}/s, where p99 is over {growth:g} times that of the lowest rate"
    return ""
