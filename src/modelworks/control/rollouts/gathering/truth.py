"""What became known of an arm's answers, as feedback joins records: right or wrong, how far off.

Feedback comes late and for any hour, so hours are joined anew where something changed, and others
are added up as they were.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from modelworks.control.rollouts.evidence import Further
from modelworks.control.rollouts.gathering.answers import inside, of_slices
from modelworks.control.rollouts.gathering.figures import CLASSES, NUMBERS, figures
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.records import Part, Scan
from modelworks.core.rollouts import Kind, Metric, Plan, Sums
from modelworks.core.tensor import Signature
from modelworks.monitor.feedback.joining import HOUR_NS, Join
from modelworks.monitor.quality.plan import Plan as Judged
from modelworks.monitor.quality.plan import plan_of
from modelworks.rollout.words import EVERYTHING

ROWS: Final = 300_000
"""Records of a look, about; of what changed besides, the sums of the last time stand until the next
look."""
PACE: Final = 10_000
"""An hour of so many records is looked at once a second at the most, of twice as many every other
one: to know which feedback meets it takes some microseconds a record."""
_MOST: Final = 64
Cells = dict[tuple[str, str, str], tuple[int, float, float]]
"""(version, slice, metric) -> count, total, squares."""


@dataclass(slots=True)
class _Hours:
    """Of one roll-out's step: hour -> what it was made of, its sums; when it was looked at, UTC."""

    since_ns: int
    known: dict[int, tuple[str, Cells]] = field(default_factory=dict)
    looked: dict[int, int] = field(default_factory=dict)

    def rests(self, part: Part, now_ns: int) -> bool:
        """Whether an hour is too large to be looked at again so soon."""
        before = self.looked.get(part.since_ns)
        return before is not None and now_ns - before < part.count * 10**9 // PACE


class Truth:
    """A `control.rollouts.evidence.Gatherer`.

    Args:
        join: of records and feedback; asked for at each look.
        signature: of a version (`fraud:1.0.0`).
        tenant: whose.
    """

    def __init__(
        self,
        join: Callable[[], Join],
        signature: Callable[[str], Signature],
        tenant: str = "default",
    ) -> None:
        self._join = join
        self._signature = signature
        self._tenant = tenant
        self._known: dict[str, _Hours] = {}

    def __call__(
        self, plan: Plan, since_ns: int, until_ns: int, most: int = ROWS
    ) -> dict[str, Further]:
        """Version -> what the truth says of its answers."""
        wanted = tuple(one for one in (plan.primary, *plan.guardrails) if _told(one))
        if not wanted:
            return {}
        arms = (plan.stable, *plan.candidates)
        judged = {name: self._judged(f"{plan.route}:{name}") for name in arms}
        hours = self._hours(plan.name, since_ns)
        join = self._join()
        read = 0
        whole = Scan(self._tenant, plan.route, "", since_ns, until_ns)
        for part, made_of in join.hours(whole, lambda one: hours.rests(one, until_ns)):
            before = hours.known.get(part.since_ns)
            if read >= most:
                continue
            hours.looked[part.since_ns] = until_ns
            if before is not None and before[0] == made_of:
                continue
            cells: Cells = {}
            if made_of != part.mark:  # else no feedback meets it
                read += part.count
                scan = _hour(self._tenant, part, since_ns, until_ns)
                columns = _columns(plan, judged)
                for joined in join.window(scan, columns):
                    _add(cells, plan, wanted, judged, joined.batch.columns)
            hours.known[part.since_ns] = made_of, cells
        return _further(arms, [cells for _, cells in hours.known.values()])

    def _hours(self, name: str, since_ns: int) -> _Hours:
        known = self._known.get(name)
        if known is None or known.since_ns != since_ns:
            while len(self._known) >= _MOST:
                self._known.pop(next(iter(self._known)))
            known = self._known[name] = _Hours(since_ns)
        return known

    def _judged(self, ref: str) -> Judged | None:
        """How a version's answers are held to the truth; None = they cannot be."""
        try:
            return plan_of(self._signature(ref))
        except (InvalidError, NotFoundError):
            return None


def _told(metric: Metric) -> bool:
    """Whether it comes from here; what feedback tells by name (`revenue`) does too."""
    if metric.name in CLASSES:
        return metric.kind is Kind.RATE
    if metric.name in NUMBERS:
        return metric.kind is Kind.MEAN
    return outcome(metric)


def outcome(metric: Metric) -> bool:
    """Whether it is one that feedback tells by its name, a figure of a prediction or 0 and 1."""
    counted = metric.name in {"error_rate", "timeout_rate", "disagreement", "cost"}
    return metric.kind in {Kind.RATE, Kind.MEAN} and not (counted or metric.absolute)


def _hour(tenant: str, part: Part, since_ns: int, until_ns: int) -> Scan:
    first, end = part.since_ns, part.since_ns + HOUR_NS
    return Scan(tenant, part.model, "", max(first, since_ns), min(end, until_ns))


def _columns(plan: Plan, judged: Mapping[str, Judged | None]) -> tuple[str, ...]:
    names = ["version", *of_slices(plan.slices)]
    names += [name for of in judged.values() if of for name in (of.label, of.score) if name]
    return tuple(dict.fromkeys(names))


def _add(
    cells: Cells,
    plan: Plan,
    wanted: tuple[Metric, ...],
    judged: Mapping[str, Judged | None],
    columns: Mapping[str, Any],
) -> None:
    version = np.array([str(one) for one in columns["version"]])
    for name, of in judged.items():
        mine = np.flatnonzero(version == name)
        for metric in wanted:
            found, rows = figures(metric, of, columns, mine)
            rows, first = _alone(columns, rows)
            found = found[first]
            _sum(cells, (name, EVERYTHING, metric.name), found)
            for slice_ in plan.slices:
                there = inside(columns, slice_, rows)
                _sum(cells, (name, slice_, metric.name), found[there])


def _alone(columns: Mapping[str, Any], rows: Any) -> tuple[Any, Any]:
    """Of a request of several rows the first whose truth is known: its rows are alike."""
    ids = [(str(columns["id"][row]), int(columns["at_ns"][row])) for row in rows]
    first = {one: place for place, one in reversed(list(enumerate(ids)))}
    places = np.array(sorted(first.values()), np.int64)
    return rows[places], places


def _sum(cells: Cells, key: tuple[str, str, str], figures: Any) -> None:
    count, total, squares = cells.get(key, (0, 0.0, 0.0))
    cells[key] = (
        count + len(figures),
        total + float(figures.sum()),
        squares + float((figures**2).sum()),
    )


def _further(arms: tuple[str, ...], hours: list[Cells]) -> dict[str, Further]:
    added: Cells = {}
    for cells in hours:
        for key, (count, total, squares) in cells.items():
            old = added.get(key, (0, 0.0, 0.0))
            added[key] = old[0] + count, old[1] + total, old[2] + squares
    found = {name: Further() for name in arms}
    for (name, where, metric), (count, total, squares) in added.items():
        if not count:
            continue
        whole = where == EVERYTHING
        into = found[name].metrics if whole else found[name].slices.setdefault(where, {})
        into[metric] = Sums(count, total, squares)
    return {name: one for name, one in found.items() if one.metrics}
