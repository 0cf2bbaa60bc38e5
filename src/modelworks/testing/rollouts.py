"""A simulated roll-out: made-up traffic, the real rules and the real course, look by look.

For tests of the controller as a whole: how often it rolls back or promotes what it should not, and
how soon it finds what is broken. Beside it stand controllers with fixed thresholds, on the same
traffic.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

from modelworks.core.rollouts import (
    ArmEvidence,
    Evidence,
    Phase,
    Plan,
    Rollout,
    Sums,
)
from modelworks.rollout import course
from modelworks.rollout.rules import decide

NS = 1_000_000_000
BOUNDS = tuple(float(bound) for bound in np.geomspace(3.0, 150.0, 40))
"""Upper bounds of latency buckets, in milliseconds, a tenth apart."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What an arm is like.

    Attributes:
        error_rate: of its requests, 0 to 1.
        accuracy: of its answers.
        latency_ms: median; the spread is a log-normal's of `sigma`.
        sigma: of the logarithm.
        slices: slice -> error rate there; each is an even part of the traffic.
    """

    error_rate: float = 0.005
    accuracy: float = 0.9
    latency_ms: float = 12.0
    sigma: float = 0.5
    slices: dict[str, float] = field(default_factory=dict)

    def earned(self, rng: np.random.Generator, requests: int) -> "Earned":
        """What so many more requests add."""
        slow = rng.multinomial(requests, _buckets(self.latency_ms, self.sigma))
        if not self.slices:
            errors, parts = int(rng.binomial(requests, self.error_rate)), {}
        else:
            sizes = rng.multinomial(requests, [1 / len(self.slices)] * len(self.slices))
            parts = {
                name: np.array([size, rng.binomial(size, rate)])
                for size, (name, rate) in zip(sizes, self.slices.items(), strict=True)
            }
            errors = int(sum(part[1] for part in parts.values()))
        right = int(rng.binomial(requests, self.accuracy))
        return Earned(np.concatenate([[requests, errors, right], slow]), parts)


@lru_cache(maxsize=64)
def _buckets(median: float, sigma: float) -> Any:
    """Share of a log-normal's answers by bucket, the one beyond all bounds last."""
    of = NormalDist(math.log(median), sigma)
    upto = [0.0, *(of.cdf(math.log(bound)) for bound in BOUNDS), 1.0]
    shares = np.diff(upto)
    return shares / shares.sum()


@dataclass(slots=True)
class Earned:
    """Counts of one arm: requests, errors, right answers, then latencies by bucket."""

    counts: Any
    slices: dict[str, Any]

    def add(self, more: "Earned") -> None:
        """More of the same arm."""
        self.counts = self.counts + more.counts
        self.slices = {
            name: part + self.slices[name] if name in self.slices else part
            for name, part in more.slices.items()
        }

    def evidence(self, arm: str) -> ArmEvidence:
        """As the rules read it."""
        requests, errors, right = (int(count) for count in self.counts[:3])
        bounds = (*(f"{bound:.6g}" for bound in BOUNDS), "inf")
        slow = dict(zip(bounds, (int(count) for count in self.counts[3:]), strict=True))
        return ArmEvidence(
            arm,
            requests,
            metrics={
                "error_rate": Sums(requests, errors),
                "accuracy": Sums(requests, right),
                "latency_p99_ms": Sums(requests, buckets=slow),
            },
            slices={
                name: {"error_rate": Sums(int(part[0]), int(part[1]))}
                for name, part in self.slices.items()
            },
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """How a simulated roll-out ended.

    Attributes:
        phase: of it.
        seconds: from its begin.
        requests: that the candidate had got.
        step: at which it stood.
        reason: of the last verdict.
    """

    phase: Phase
    seconds: float
    requests: int
    step: int
    reason: str


def simulate(
    plan: Plan,
    truths: dict[str, Truth],
    rate: float,
    looks_s: Sequence[float],
    rng: np.random.Generator,
) -> Ended:
    """One roll-out from its begin to its end.

    Args:
        plan: of it; its metrics are among `error_rate`, `accuracy` and `latency_p99_ms`.
        truths: of each arm.
        rate: requests a second, all arms together (Poisson).
        looks_s: seconds between looks; the last one is repeated.
        rng: what chance is drawn from.
    """
    rollout, now, place, sent = Rollout(plan, Phase.RUNNING, began_ns=NS, step_ns=NS), NS, 0, 0
    earned: dict[str, Earned] = {}
    shares = course.shares(plan, 0)
    while rollout.phase is Phase.RUNNING:
        apart = looks_s[min(place, len(looks_s) - 1)]
        now, place = now + int(apart * NS), place + 1
        names = list(shares)
        split = rng.multinomial(rng.poisson(rate * apart), list(shares.values()))
        for name, requests in zip(names, (int(count) for count in split), strict=True):
            more = truths[name].earned(rng, requests)
            earned.setdefault(name, Earned(0, {})).add(more)
            sent += requests if name in plan.candidates else 0
        arms = tuple(one.evidence(name) for name, one in earned.items())
        verdict = decide(rollout, Evidence(now, arms, shares), now)
        following = course.after(rollout, verdict, now)
        if following.step_ns != rollout.step_ns:
            earned, shares, place = {}, verdict.shares, 0
        rollout = following
    return Ended(rollout.phase, (now - NS) / NS, sent, rollout.step, rollout.reason)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A controller with a fixed threshold: so many checks may fail; each is of what came since.

    Attributes:
        name: of it.
        every_s: between checks.
        most: error rate of the candidate that a check lets pass.
        failures: checks that have to fail until it rolls back.
    """

    name: str
    every_s: float
    most: float
    failures: int

    def runs(
        self, error_rate: float, rate: float, most_s: float, rng: np.random.Generator, times: int
    ) -> Iterator[tuple[float, int]]:
        """(seconds, requests of the candidate) until it rolls back; infinite seconds = never.

        Args:
            error_rate: of the candidate.
            rate: requests of the candidate a second.
            most_s: how long it is looked at.
            rng: what chance is drawn from.
            times: how many runs.
        """
        checks = int(most_s // self.every_s)
        requests = rng.poisson(rate * self.every_s, (times, checks))
        errors = rng.binomial(requests, error_rate)
        failed = np.cumsum((errors > self.most * requests) & (requests > 0), axis=1)
        hit = failed >= self.failures
        for row, counts in zip(hit, np.cumsum(requests, axis=1), strict=True):
            place = int(row.argmax())
            if row.any():
                yield (place + 1) * self.every_s, int(counts[place])
            else:
                yield float("inf"), int(counts[-1])
