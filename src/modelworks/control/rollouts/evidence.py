"""What arms have earned since a step began, from what servers count. Pure but for its memory.

Counters are read every second. What came between two looks at a server is added to its arm; a
server that was not there before counts from its beginning, if it began after the step did.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from modelworks.core.errors import ModelworksError
from modelworks.core.rollouts import ArmEvidence, Evidence, Kind, Metric, Plan, Sums
from modelworks.monitor.series.names import STAGES

_log = logging.getLogger(__name__)

ERRORS: Final = "error_rate"
_BUCKET: Final = f"{STAGES[0]}_bucket"
_COUNTED: Final = ("requests", "errors", "rejected", "invalid")
_LE: Final = "le "
Cells = dict[str, float]
"""`requests`, `errors`, ...; `le 0.005` = requests of a bucket with that upper bound, seconds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server said at a look.

    Attributes:
        address: of it.
        started: when it began, seconds since 1970.
        counters: (model, version, kind, upper bound of a bucket) -> count since then.
    """

    address: str
    started: float
    counters: Mapping[tuple[str, str, str, str], float]


@dataclass(slots=True)
class Earned:
    """What was counted since a step began.

    Attributes:
        since_ns: UTC, the step's beginning.
        arms: version -> counts.
        looks: server -> version -> counts as they stood at the last look.
    """

    since_ns: int
    arms: dict[str, Cells] = field(default_factory=dict)
    looks: dict[str, dict[str, Cells]] = field(default_factory=dict)

    def look(self, model: str, servers: Iterable[Seen]) -> None:
        """Add what came since the last look.

        Args:
            model: whose arms these are.
            servers: who answered; what the others counted is made up for at a later look.
        """
        for seen in servers:
            now = _cells(model, seen.counters)
            key = f"{seen.address} {seen.started!r}"
            before = self.looks.get(key)
            self.looks[key] = _highest(before or {}, now)
            if before is None and seen.started * 1e9 < self.since_ns:
                continue  # from before the step: it counts from now on
            for version, cells in self.looks[key].items():
                earned = self.arms.setdefault(version, {})
                old = (before or {}).get(version, {})
                for name, value in cells.items():
                    came = max(0.0, value - old.get(name, 0.0))
                    if came or name.startswith(_LE):  # an empty bucket says where the next begins
                        earned[name] = earned.get(name, 0.0) + came

    def evidence(
        self,
        plan: Plan,
        shares: Mapping[str, float],
        now_ns: int,
        further: Mapping[str, "Further"] | None = None,
        *,
        sticky: bool = False,
    ) -> Evidence:
        """As the rules want it.

        Args:
            plan: whose metrics are asked for.
            shares: of the arms while this was earned.
            now_ns: UTC.
            further: version -> what else is known of it. Where the candidates get copies only, it
                goes before what servers count: they count all of the stable arm's requests, and
                copies are made of the quieter ones.
            sticky: callers stay with one arm.
        """
        arms = []
        copied = not any(shares.get(name) for name in plan.candidates)
        for name in (plan.stable, *plan.candidates):
            cells = self.arms.get(name, {})
            known = (further or {}).get(name, Further())
            metrics = dict(known.metrics)
            for metric in (plan.primary, *plan.guardrails):
                counted = _sums(metric, cells)
                if counted is not None and not (copied and metric.name in metrics):
                    metrics[metric.name] = counted
            requests = int(cells.get("requests", 0)) + known.requests
            arms.append(ArmEvidence(name, requests, known.units, metrics, known.slices))
        return Evidence(now_ns, tuple(arms), dict(shares), sticky)

    def document(self) -> dict[str, Any]:
        """JSON."""
        return {"since_ns": self.since_ns, "arms": self.arms, "looks": self.looks}


@dataclass(frozen=True, slots=True)
class Further:
    """What is known of an arm from somewhere else: truth that came late, copies, a replay.

    Attributes:
        metrics: by name.
        slices: by slice, then by metric.
        requests: that no server counted as the arm's: copies and what was replayed.
        units: callers who were kept to the arm; 0 = not known.
    """

    metrics: dict[str, Sums] = field(default_factory=dict)
    slices: dict[str, dict[str, Sums]] = field(default_factory=dict)
    requests: int = 0
    units: int = 0


Gatherer = Callable[[Plan, int, int], Mapping[str, Further]]
"""Version -> what is known of it, of requests since a time until another (UTC nanoseconds)."""


def together(gatherers: Sequence[Gatherer]) -> Gatherer:
    """One gatherer of several; each metric is to come from one of them (else: from the last).

    One that cannot be asked now (a bucket that nobody answers for) gives nothing: what is not
    measured promotes nothing, and what servers count still rolls back.
    """

    def gather(plan: Plan, since_ns: int, until_ns: int) -> dict[str, Further]:
        found: dict[str, Further] = {}
        for one in gatherers:
            try:
                told = one(plan, since_ns, until_ns)
            except ModelworksError as error:
                _log.warning("evidence of the roll-out '%s': %s", plan.name, error.message)
                continue
            for name, more in told.items():
                found[name] = _both(found.get(name, Further()), more)
        return found

    return gather


def _both(one: Further, other: Further) -> Further:
    slices = {name: dict(known) for name, known in one.slices.items()}
    for name, known in other.slices.items():
        slices.setdefault(name, {}).update(known)
    return Further(
        one.metrics | other.metrics,
        slices,
        one.requests + other.requests,
        max(one.units, other.units),
    )


def restored(told: Mapping[str, Any], since_ns: int) -> Earned:
    """What was earned since a step began; nothing where it is of another step."""
    if told.get("since_ns") != since_ns:
        return Earned(since_ns)
    return Earned(since_ns, dict(told["arms"]), dict(told["looks"]))


def _cells(model: str, counted: Mapping[Any, float]) -> dict[str, Cells]:
    found: dict[str, Cells] = {}
    for (of, version, kind, bound), value in counted.items():
        if of != model:
            continue
        if kind in _COUNTED:
            found.setdefault(version, {})[kind] = value
        elif kind == _BUCKET:
            found.setdefault(version, {})[f"{_LE}{bound}"] = value
    return found


def _highest(before: Mapping[str, Cells], now: dict[str, Cells]) -> dict[str, Cells]:
    """No counter falls: one of several workers knows the others' as of a second ago."""
    for version, cells in before.items():
        mine = now.setdefault(version, {})
        for name, value in cells.items():
            mine[name] = max(value, mine.get(name, 0.0))
    return now


def _sums(metric: Metric, cells: Mapping[str, float]) -> Sums | None:
    """What servers count of a metric; None = they do not."""
    if metric.name == ERRORS and metric.kind is Kind.RATE:
        # What was refused unseen says nothing of the arm. What was called the caller's own fault
        # does: chance parts callers, so that a version which takes less than the other shows.
        count = cells.get("requests", 0) - cells.get("rejected", 0)
        events = cells.get("errors", 0) + cells.get("invalid", 0)
        return Sums(count=int(max(0, count, events)), total=events)
    if metric.kind is Kind.QUANTILE and metric.name.startswith("latency_"):
        buckets = {
            repr(float(name.removeprefix(_LE)) * 1000): int(value)
            for name, value in cells.items()
            if name.startswith(_LE)
        }
        rows = sum(buckets.values())
        return Sums(count=rows, buckets=buckets if rows else {})
    return None
