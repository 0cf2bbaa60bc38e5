"""What became known of an arm's answers, as feedback joins records: right or wrong, how far off.

Feedback comes late and for any hour, so hours are joined anew where something changed, and others
are added up as they were.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from modelworks.control.rollouts.evidence import Further
from modelworks.control.rollouts.gathering.answers import inside, of_slices, text
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.records import Part, Scan
from modelworks.core.rollouts import Kind, Metric, Plan, Sums
from modelworks.core.tensor import Signature
from modelworks.evaluation.predictions import Task
from modelworks.monitor.feedback.joining import HOUR_NS, Join
from modelworks.monitor.quality.plan import Plan as Judged
from modelworks.monitor.quality.plan import plan_of
from modelworks.monitor.quality.rows import TRUTH
from modelworks.rollout.words import EVERYTHING

CLASSES: Final = frozenset({"accuracy", "wrong_rate"})
"""Of whether the class that was said is the true one."""
NUMBERS: Final = frozenset({"mae", "mse"})
"""Of how far the number that was said is from the true one."""
ROWS: Final = 300_000
"""Records of a look, about; of what changed besides, the sums of the last time stand until the next
look."""
PACE: Final = 10_000
"""An hour of so many records is looked at once a second at the most, of twice as many every other
one: to know which feedback meets it takes some microseconds a record."""
_MOST: Final = 64
_HALF: Final = 0.5
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
            figures, rows = _figures(metric, of, columns, mine)
            rows, first = _alone(columns, rows)
            figures = figures[first]
            _sum(cells, (name, EVERYTHING, metric.name), figures)
            for slice_ in plan.slices:
                there = inside(columns, slice_, rows)
                _sum(cells, (name, slice_, metric.name), figures[there])


def _figures(
    metric: Metric, of: Judged | None, columns: Mapping[str, Any], mine: Any
) -> tuple[Any, Any]:
    """A figure of each row where there is one, and which rows those are."""
    told = columns.get(TRUTH if metric.name in CLASSES | NUMBERS else f"outcome.{metric.name}")
    if told is None:
        return np.zeros(0), mine[:0]
    found = [(int(row), np.asarray(told, object)[row]) for row in mine]
    known = [(row, value) for row, value in found if _is(value)]
    if metric.name not in CLASSES | NUMBERS:
        pairs = [(row, _number(value)) for row, value in known]
        if metric.kind is Kind.RATE:  # yes and no, whatever else was told
            pairs = [(row, value) for row, value in pairs if value in {0.0, 1.0}]
    elif metric.name in NUMBERS:
        pairs = list(_apart(metric, of, columns, known))
    else:
        right = metric.name == "accuracy"
        said = _said(of, columns, [row for row, _ in known])
        pairs = [
            (row, float((text(one) == text(value)) is right))
            for (row, value), one in zip(known, said, strict=False)
            if _is(one)
        ]
    pairs = [(row, value) for row, value in pairs if math.isfinite(value)]
    return np.array([value for _, value in pairs]), np.array([r for r, _ in pairs], np.int64)


def _apart(
    metric: Metric, of: Judged | None, columns: Mapping[str, Any], known: list[tuple[int, Any]]
) -> Iterator[tuple[int, float]]:
    if of is None or of.task is not Task.REGRESSION:
        return
    column = columns.get(of.label or of.score)
    if column is None:
        return
    for row, value in known:
        off = abs(_number(column[row]) - _number(value))
        yield row, off * off if metric.name == "mse" else off


def _said(of: Judged | None, columns: Mapping[str, Any], rows: list[int]) -> list[Any]:
    """The class that a version said, row by row; empty = it cannot be told."""
    if of is None or not rows or of.task is Task.REGRESSION:
        return []
    if of.label and of.label in columns:
        return list(np.asarray(columns[of.label], dtype=object)[rows])
    if not of.score or of.score not in columns:
        return []
    found: list[Any] = []
    for score in np.asarray(columns[of.score], dtype=object)[rows]:
        if not _is(score):
            found.append(None)
            continue
        several = isinstance(score, list | tuple | np.ndarray)
        place = int(np.argmax(score)) if several else int(float(score) >= _HALF)
        found.append(of.classes[place] if place < len(of.classes) else place)
    return found


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


def _is(value: Any) -> bool:
    return value is not None and not (isinstance(value, float | np.floating) and math.isnan(value))


def _number(value: Any) -> float:
    while isinstance(value, list | tuple | np.ndarray) and len(value) == 1:
        value = value[0]
    plain = isinstance(value, int | float | np.number | bool | np.bool_)
    return float(value) if plain else math.nan
