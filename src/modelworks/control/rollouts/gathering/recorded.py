"""The gatherer of what records say without the truth: one pass over what is new, for all of it.

Pairs of answers (`disagreement`; errors and latencies of copies where there is nothing else), how
differently the arms answer (`drift`), and how many callers each has. What was read is remembered by
the process; after a restart the step is read again, and of pairs goes on what was kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from modelworks.control.rollouts.evidence import Further
from modelworks.control.rollouts.gathering import copies, pairs
from modelworks.control.rollouts.gathering.answers import (
    PLAIN,
    Said,
    Signatures,
    alike,
    of_slices,
    said,
)
from modelworks.control.rollouts.gathering.answers import inside as within
from modelworks.control.rollouts.gathering.callers import Callers
from modelworks.control.rollouts.gathering.drifting import NAME as DRIFT
from modelworks.control.rollouts.gathering.drifting import Drift
from modelworks.control.rollouts.gathering.pairs import Copied
from modelworks.control.rollouts.gathering.reading import Reading, Rows
from modelworks.control.rollouts.kept import Kept
from modelworks.core.records import Scan
from modelworks.core.rollouts import Plan, Sums
from modelworks.core.routes import Source
from modelworks.core.seams import RecordStore
from modelworks.rollout.shadow.report import NAME as DISAGREEMENT
from modelworks.rollout.shadow.report import sums
from modelworks.rollout.spending import levels
from modelworks.rollout.words import EVERYTHING

_MOST: Final = 64
"""Roll-outs that are remembered."""
_NONE: Final = (np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(slots=True)
class _Memory:
    """Of one roll-out's step."""

    reading: Reading
    pairs: dict[str, Copied]
    drift: dict[str, Drift] = field(default_factory=dict)
    copied: dict[str, Drift] = field(default_factory=dict)
    callers: Callers = field(default_factory=Callers)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a plan needs of records."""

    pairs: bool
    drift: bool
    header: str

    def __bool__(self) -> bool:
        return self.pairs or self.drift or bool(self.header)


class Recorded:
    """A `control.rollouts.evidence.Gatherer`.

    Args:
        store: of records.
        signature: of a version.
        kept: a roll-out as it is kept, by name.
        keep: puts what copies say into it.
        tenant: whose.
    """

    def __init__(
        self,
        store: Callable[[], RecordStore],
        signature: Signatures,
        kept: Callable[[str], Kept],
        keep: Callable[[str, dict[str, Any]], None],
        tenant: str = "default",
    ) -> None:
        self._store = store
        self._signature = signature
        self._kept = kept
        self._keep = keep
        self._tenant = tenant
        self._known: dict[str, _Memory] = {}

    def __call__(self, plan: Plan, since_ns: int, until_ns: int) -> Mapping[str, Further]:
        """What is known of the arms by now."""
        kept = self._kept(plan.name)
        asked = _asked(plan, kept)
        if not asked:
            return {}
        memory = self._memory(plan, since_ns, kept)
        answers = {name: said(self._signature, f"{plan.route}:{name}") for name in _arms(plan)}
        columns = dict.fromkeys((*PLAIN, *of_slices(plan.slices)))
        columns |= dict.fromkeys(one.column for one in answers.values() if one is not None)
        columns |= dict.fromkeys([asked.header] if asked.header else [])
        before = _counts(memory)
        memory.reading.read(
            self._store(),
            Scan(self._tenant, plan.route, "", since_ns, until_ns),
            tuple(columns),
            lambda rows: _count(plan, asked, memory, answers, rows),
        )
        if before != _counts(memory):
            self._keep(plan.name, copies.documents(plan, memory.pairs))
        return _further(plan, memory)

    def _memory(self, plan: Plan, since_ns: int, kept: Kept) -> _Memory:
        before = self._known.get(plan.name)
        if before is not None and before.reading.since_ns == since_ns:
            return before
        if before is not None:  # of pairs goes on what is known: shares do not matter to them
            known = {
                name: Copied(one.tally, upto_ns=one.upto_ns, restored_ns=one.restored_ns)
                for name, one in before.pairs.items()
            }
        else:
            known = {name: copies.restored(kept.copies.get(name)) for name in plan.candidates}
        while len(self._known) >= _MOST:
            self._known.pop(next(iter(self._known)))
        self._known[plan.name] = _Memory(Reading(since_ns), known)
        return self._known[plan.name]


def _asked(plan: Plan, kept: Kept) -> _Asked:
    named = {one.name for one in (plan.primary, *plan.guardrails)}
    sticky = kept.asked.source is Source.HEADER
    header = f"header.{kept.asked.key.lower()}" if sticky else ""
    return _Asked(any(not step.share for step in plan.steps), DRIFT in named, header)


def _counts(memory: _Memory) -> list[int]:
    return [one.tally.count for one in memory.pairs.values()]


def _arms(plan: Plan) -> tuple[str, ...]:
    return (plan.stable, *plan.candidates)


def _count(
    plan: Plan,
    asked: _Asked,
    memory: _Memory,
    answers: Mapping[str, Said | None],
    rows: Rows,
) -> None:
    """Add what is new to all that is known."""
    direct = rows.fresh.copy()
    for name in plan.candidates:
        direct &= ~pairs.is_copy(rows.columns["id"], name)
    if asked.header:
        memory.callers.add(rows.columns, _arms(plan), asked.header, direct)
    good = np.asarray(rows.columns["status"], np.int64) < pairs.BAD
    for name in plan.candidates:
        both = {arm: answers[arm] for arm in (plan.stable, name)}
        of = tuple(one for one in both.values() if one is not None) if alike(both) else ()
        two = (of[0], of[1]) if len(of) == 2 else None
        places = _NONE
        if asked.pairs:
            places = pairs.pairs_of(rows, plan.stable, name)
            if len(places[0]):
                pairs.count(memory.pairs.setdefault(name, Copied()), plan, rows, places, two)
        if not asked.drift or two is None:
            continue
        known = memory.drift.setdefault(name, Drift())
        for arm, version in enumerate((plan.stable, name)):
            mine = direct & good & (rows.columns["version"] == version)
            _add(known, plan, rows, (arm, two[arm]), np.flatnonzero(mine))
        if len(places[0]):
            known = memory.copied.setdefault(name, Drift())
            answered = good[places[0]] & good[places[1]]
            for arm in (0, 1):
                _add(known, plan, rows, (arm, two[arm]), places[arm][answered])


def _add(known: Drift, plan: Plan, rows: Rows, of: tuple[int, Said], places: Any) -> None:
    column = rows.columns.get(of[1].column)
    if column is None or not len(places):
        return
    values = np.asarray(column, object)[places]
    there = np.array([value is not None for value in values], bool)
    slices = {EVERYTHING: there}
    for name in plan.slices if plan.primary.name == DRIFT else ():
        slices[name] = there & within(rows.columns, name, places)
    known.add(of[0], of[1], values.tolist(), slices)


def _further(plan: Plan, memory: _Memory) -> dict[str, Further]:
    found = {name: Further(units=memory.callers.units(name)) for name in _arms(plan)}
    named = {one.name for one in (plan.primary, *plan.guardrails)}
    for name, one in memory.pairs.items():
        if one.tally.count and DISAGREEMENT in named:
            whole, slices = sums(one.tally, plan.slices)
            _put(found, name, DISAGREEMENT, whole, slices)
        if one.candidate.count:  # this step has copies: nothing else is known of the candidate
            found[plan.stable].metrics.update(one.stable.metrics(plan))
            found[name].metrics.update(one.candidate.metrics(plan))
    if DRIFT in named:
        for name in plan.candidates:
            copied = name in memory.pairs and memory.pairs[name].candidate.count
            known = (memory.copied if copied else memory.drift).get(name)
            if known is not None:
                _drift(plan, found, name, known)
    return found


def _drift(plan: Plan, found: dict[str, Further], name: str, known: Drift) -> None:
    spend = levels(plan)
    each = spend.slices / max(1, len(plan.slices))
    for where in (EVERYTHING, *plan.slices):
        both = known.sums(where, spend.harm, spend.fine if where == EVERYTHING else each)
        if both is None:
            continue
        for arm, one in zip((plan.stable, name), both, strict=True):
            whole = where == EVERYTHING
            into = found[arm].metrics if whole else found[arm].slices.setdefault(where, {})
            into[DRIFT] = one


def _put(
    found: dict[str, Further], name: str, metric: str, whole: Sums, slices: Mapping[str, Sums]
) -> None:
    found[name].metrics[metric] = whole
    for where, one in slices.items():
        found[name].slices.setdefault(where, {})[metric] = one
