"""A fire drill: a candidate that is broken on purpose, and the rollback that has to follow.

Here is what is broken, by how much, and within how many requests of the candidate it must be seen;
whoever carries it out puts the fault in front of a copy of the stable version.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from modelworks.core.rollouts import Direction, Kind, Metric, Outcome, Plan, Sums, Verdict
from modelworks.rollout.compare import compare
from modelworks.rollout.spending import levels

BROKEN: Final = 0.2
"""Share of the answers that a fault spoils, or more where the margin is nearly that."""
SLOWER: Final = 4.0
"""So many margins slower."""
SLACK: Final = 2.0
"""A drill may take so many times what is expected: chance is in it."""
_MOST: Final = 1_000_000
_BASE: Final = 0.01
"""Share of errors that a stable arm is taken to have where nothing is known of it."""


class Fault(StrEnum):
    """What is broken."""

    FAILING = "failing"  # answers with an error
    WRONG = "wrong"  # answers with another label, or a number that is off
    SLOW = "slow"  # answers late
    BIASED = "biased"  # is wrong in one slice only


@dataclass(frozen=True, slots=True)
class Drill:
    """One fault.

    Attributes:
        fault: what is broken.
        metric: in which it shows.
        slice: where; `*` = everywhere.
        share: of the answers (of the slice) that are spoilt, 0 to 1.
        delay_ms: that is added to them; 0 = none.
        expected: requests of the candidate (in the slice) after which the evidence is enough, if
            everything goes as on average.
        within: the rollback has to have happened by then.
    """

    fault: Fault
    metric: str
    slice: str
    share: float
    delay_ms: float
    expected: int
    within: int


@dataclass(frozen=True, slots=True)
class Blind:
    """A fault that this plan would not see.

    Attributes:
        fault: of it.
        sentence: why, and what to add.
    """

    fault: Fault
    sentence: str


@dataclass(frozen=True, slots=True)
class Drilled:
    """How a drill ended.

    Attributes:
        drill: that was made.
        requests: of the candidate until then.
        sentence: for the report.
        passed: the rollback came, in time, and for the right reason.
    """

    drill: Drill
    requests: int
    sentence: str
    passed: bool


def drills(
    plan: Plan,
    stable: Mapping[str, float] | None = None,
    shape: Mapping[str, int] | None = None,
    least_ms: float = 0.0,
) -> tuple[tuple[Drill, ...], tuple[Blind, ...]]:
    """Which faults a plan has to see, and which it is blind to.

    Args:
        plan: of the roll-out.
        stable: the stable arm's figures by metric, as far as they are known.
        shape: its histogram of milliseconds, upper bound -> requests; None = a narrow one is
            taken. The wider its buckets, the more requests it takes to see what is slow.
        least_ms: a slow candidate is slower by so much at the least.
    """
    known = stable or {}
    slow = _slow(plan, known, shape, least_ms)
    found = [*_everywhere(plan, known), *slow, *_biased(plan, known)]
    seen = {drill.fault for drill in found}
    return tuple(found), tuple(Blind(fault, _CURES[fault]) for fault in Fault if fault not in seen)


def judged(drill: Drill, verdict: Verdict | None, requests: int) -> Drilled:
    """Whether it went as it has to.

    Args:
        drill: that was made.
        verdict: that rolled back; None = none did.
        requests: of the candidate (in the slice) until then.
    """
    if verdict is None or verdict.outcome is not Outcome.ROLL_BACK:
        words = f"the {drill.fault} candidate was not rolled back: {requests} requests reached it"
        return Drilled(drill, requests, words, passed=False)
    reasons = [one for one in verdict.findings if one.outcome is Outcome.ROLL_BACK]
    right = [one for one in reasons if (one.metric, one.slice) == (drill.metric, drill.slice)]
    if drill.slice == "*" or not right:  # what is broken everywhere shows in slices too
        right = [one for one in reasons if one.metric == drill.metric]
    if not right:
        others = ", ".join(sorted({one.metric for one in reasons})) or "no metric"
        words = f"rolled back for {others}, not for {drill.metric}: {verdict.sentence}"
        return Drilled(drill, requests, words, passed=False)
    words = f"rolled back after {requests} requests of the {drill.fault} candidate"
    if requests > drill.within:
        words = f"{words}, {drill.within} were allowed: {right[0].sentence}"
        return Drilled(drill, requests, words, passed=False)
    words = f"{words} ({drill.within} allowed): {right[0].sentence}"
    return Drilled(drill, requests, words, passed=True)


_CURES: Final = {
    Fault.FAILING: "errors are not looked at: add the guardrail error_rate",
    Fault.WRONG: (
        "whether answers are right is not looked at: add accuracy with labels, or disagreement "
        "with a shadow"
    ),
    Fault.SLOW: "how long answers take is not looked at: add the guardrail latency_p99_ms",
    Fault.BIASED: "no slices are declared: what is wrong in one only is thinned by the others",
}
_ERRORS: Final = ("error_rate", "timeout_rate")


def _everywhere(plan: Plan, known: Mapping[str, float]) -> Iterator[Drill]:
    taken = set()
    for metric in (plan.primary, *plan.guardrails):
        fault = Fault.FAILING if metric.name in _ERRORS else Fault.WRONG
        judges = metric.name == "error_rate" or fault is Fault.WRONG
        if metric.kind is Kind.RATE and judges and fault not in taken:
            taken.add(fault)
            yield _spoilt(plan, metric, fault, "*", known)


def _biased(plan: Plan, known: Mapping[str, float]) -> Iterator[Drill]:
    if plan.primary.kind is Kind.RATE and plan.slices:
        yield _spoilt(plan, plan.primary, Fault.BIASED, plan.slices[0], known)


def _spoilt(
    plan: Plan, metric: Metric, fault: Fault, where: str, known: Mapping[str, float]
) -> Drill:
    good = metric.direction is Direction.HIGHER
    base = known.get(metric.name, 1 - _BASE if good else _BASE)
    share = min(1.0, max(BROKEN, 4 * metric.margin))
    broken = base * (1 - share) if good else base + share * (1 - base)

    def sums(rate: float, count: int) -> Sums:
        return Sums(count, rate * count)

    def seen(requests: int) -> bool:
        one = None if metric.absolute else sums(base, _beside(plan, requests))
        return _harmed(plan, metric, one, sums(broken, requests))

    expected = _first(seen)
    return Drill(fault, metric.name, where, share, 0.0, expected, math.ceil(SLACK * expected))


def _slow(
    plan: Plan, known: Mapping[str, float], shape: Mapping[str, int] | None, least_ms: float
) -> Iterator[Drill]:
    for metric in (plan.primary, *plan.guardrails):
        if metric.kind is not Kind.QUANTILE or metric.direction is not Direction.LOWER:
            continue
        base = known.get(metric.name, 0.0)
        if metric.relative and not base:
            base = 100.0  # nothing is known of it: a tenth of a second
        delay = SLOWER * (metric.margin * base if metric.relative else metric.margin)
        delay = max(least_ms, delay)

        def seen(
            requests: int, metric: Metric = metric, base: float = base, delay: float = delay
        ) -> bool:
            one = _buckets(base, _beside(plan, requests), metric.quantile, shape)
            other = _buckets(base, requests, metric.quantile, shape)
            return _harmed(plan, metric, one, replace(other, buckets=_moved(other, delay, shape)))

        expected = _first(seen)
        within = math.ceil(SLACK * expected)
        yield Drill(Fault.SLOW, metric.name, "*", 1.0, delay, expected, within)
        return


def _moved(sums: Sums, delay: float, shape: Mapping[str, int] | None) -> dict[str, int]:
    """Everything later by a delay, in the same buckets where there are some."""
    bounds = sorted(map(float, shape or ()))
    found = dict.fromkeys(map(str, bounds), 0)
    for bound, count in sums.buckets.items():
        later = float(bound) + delay
        later = next((one for one in bounds if one >= later), later)
        found[str(later)] = found.get(str(later), 0) + count
    return found


def _buckets(quantile: float, count: int, q: float, shape: Mapping[str, int] | None) -> Sums:
    """Answers as a histogram with the given quantile; everything is spread a little around it."""
    total = sum((shape or {}).values())
    if shape and total:
        scaled = {bound: round(count * seen / total) for bound, seen in shape.items()}
        return Sums(sum(scaled.values()), buckets=scaled)
    least, low, middle = quantile * 0.8, quantile * 0.9, quantile
    above = round((1 - q) * count)
    inside = min(above, count - above)
    buckets = {str(least): 0, str(low): count - above - inside, str(middle): inside}
    buckets[str(quantile * 1.1)] = above
    return Sums(count, buckets=buckets)


def _harmed(plan: Plan, metric: Metric, stable: Sums | None, candidate: Sums) -> bool:
    level = levels(plan)
    found = compare(metric, stable, candidate, level.harm, level.fine)
    return found is not None and found.harmed


def _beside(plan: Plan, requests: int) -> int:
    """Requests of the stable arm beside so many of the candidate, in the first step."""
    share = plan.steps[0].share / len(plan.candidates)
    return requests if share in {0.0, 1.0} else round(requests * (1 - plan.steps[0].share) / share)


def _first(seen: Callable[[int], bool]) -> int:
    """The fewest requests at which it is seen, and at all larger numbers."""
    low, high = 0, 1
    while not seen(high) and high < _MOST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high
