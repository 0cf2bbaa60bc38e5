"""Rounds in turn: what each side did in each, and the ratios within a round."""

from dataclasses import asdict, dataclass
from functools import partial

import workloads
from targets import LOAD_CORE

from modelworks.measure.compare import AGAIN, Side, interleave, ratio_of
from modelworks.measure.load import Load, run
from modelworks.measure.processes import ServerCpu
from modelworks.measure.wrk import run_wrk

RATIOS = ("rate", "p50_us", "p99_us", "cpu_us")


@dataclass(frozen=True, slots=True)
class Measured:
    """One side in one round.

    Attributes:
        rate: answers a second.
        p50_us: latency.
        p99_us: latency.
        cpu_us: of the server, a request.
        failed: requests without a good answer.
        limited: why the load generator may have been the limit; empty = it was not.
    """

    rate: float
    p50_us: float = 0.0
    p99_us: float = 0.0
    cpu_us: float = 0.0
    failed: int = 0
    limited: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server that is asked in one form.

    Attributes:
        name: of this side.
        where: its endpoint.
        pid: of its process.
        model: what is asked.
        form: how.
    """

    name: str
    where: object
    pid: int
    model: object
    form: workloads.Form

    def side(self, connections, seconds, *, wrk):
        """As a side of a comparison."""
        load = Load(
            self.where,
            workloads.requests(self.where, self.model, self.form),
            connections=connections,
            seconds=seconds,
            warm_s=0 if wrk else 1.0,
            pin=LOAD_CORE,
        )
        return Side(self.name, partial(asked, load, self.pid, run_wrk if wrk else run))


def asked(load, pid, generate):
    """One round of one server."""
    cpu = ServerCpu([pid])
    found = generate(load)
    used = cpu.seconds()
    return Measured(
        rate=found.throughput,
        p50_us=found.latency.percentile(50) / 1000,
        p99_us=found.latency.percentile(99) / 1000,
        cpu_us=used / max(1, found.every) * 1e6,
        failed=found.failed,
        limited=found.bottleneck if found.generator != "wrk" else "",
    )


def compared(sides, rounds, base):
    """Measure in turn.

    Args:
        sides: the first one runs twice a round.
        rounds: how many.
        base: name of the side that is 1.

    Returns:
        A document: every side's rounds, every side's ratios to `base`, and the first side's ratio
        to itself, which is the noise. Of the first side both runs of a round count.
    """
    found = interleave(sides, rounds)
    first = sides[0].name
    both = {**found, first: [mean(*pair) for pair in zip(found[first], found[AGAIN], strict=True)]}
    ratios = {name: ratios_of(both[name], both[base]) for name in both if name not in {base, AGAIN}}
    noise = ratios_of(found[AGAIN], found[first])
    return {
        "base": base,
        "rounds": {name: [asdict(one) for one in results] for name, results in found.items()},
        "ratios": ratios,
        "noise": noise,
    }


def mean(left, right):
    """Of two runs, their figures' means."""
    return Measured(**{what: (getattr(left, what) + getattr(right, what)) / 2 for what in RATIOS})


def ratios_of(left, right):
    """Of every figure that both sides have, round by round."""
    found = {}
    for what in RATIOS:
        pairs = [[getattr(one, what) for one in side] for side in (left, right)]
        if all(map(all, pairs)):
            found[what] = asdict(ratio_of(*pairs))
    return found
