"""Answers to copies beside those that callers got: what differs, what fails, how long it took."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from modelworks.control.rollouts.gathering.answers import Said, floats, inside, labels
from modelworks.control.rollouts.gathering.reading import Rows
from modelworks.core.rollouts import Kind, Plan, Sums
from modelworks.rollout.shadow.tally import Form, Pairs, Tally, merged, tally

_FINE: Final = 1.05
"""From one bound of a latency's bucket to the next."""
_REFUSED: Final = (429, 503)
BAD: Final = 400
"""Status from which on a request was not answered."""


@dataclass(slots=True)
class Side:
    """What the same requests cost one arm.

    Attributes:
        count: of requests that were taken.
        errors: of them.
        buckets: upper bound in ms -> answers, from arrival to answer without the wait in a queue.
    """

    count: int = 0
    errors: int = 0
    buckets: dict[str, int] = field(default_factory=dict)

    def add(self, status: Any, spent_ns: Any) -> None:
        """Count some requests."""
        self.count += len(status)
        self.errors += int((status >= BAD).sum())
        good = spent_ns[(status < BAD) & (spent_ns > 0)] / 1e6
        if len(good):
            places, counts = np.unique(np.ceil(np.log(good) / math.log(_FINE)), return_counts=True)
            for place, count in zip(places, counts, strict=True):
                below, bound = (repr(float(_FINE**power)) for power in (place - 1, place))
                self.buckets[bound] = self.buckets.get(bound, 0) + int(count)
                self.buckets.setdefault(below, 0)  # where the bucket begins

    def metrics(self, plan: Plan) -> dict[str, Sums]:
        """As evidence, of the plan's metrics."""
        found = {}
        for metric in (plan.primary, *plan.guardrails):
            if metric.name == "error_rate" and metric.kind is Kind.RATE:
                found[metric.name] = Sums(self.count, self.errors)
            elif metric.kind is Kind.QUANTILE and metric.name.startswith("latency_"):
                found[metric.name] = Sums(sum(self.buckets.values()), buckets=dict(self.buckets))
        return found


@dataclass(slots=True)
class Copied:
    """Pairs of one candidate.

    Attributes:
        tally: of answers, since the roll-out began: shares do not matter to a pair.
        stable: what the requests of the pairs cost the stable arm, in this step.
        candidate: and the candidate.
        upto_ns: UTC, of the latest copy in the tally.
        restored_ns: UTC; copies until then were in the tally that was kept.
    """

    tally: Tally = field(default_factory=Tally)
    stable: Side = field(default_factory=Side)
    candidate: Side = field(default_factory=Side)
    upto_ns: int = 0
    restored_ns: int = 0


def pairs_of(rows: Rows, stable: str, candidate: str) -> tuple[Any, Any]:
    """Where the stable arm's record of a pair stands, and where the copy's.

    A pair is given once: when the later one of both has come.

    Args:
        rows: of both.
        stable: version.
        candidate: version; the id of its record is that of the request, `~` and the arm.
    """
    ids, version = rows.columns["id"], rows.columns["version"]
    end = f"~{candidate}"
    asked: Mapping[str, int] = {
        ids[place]: int(place) for place in np.flatnonzero(version == stable)
    }
    ones, others = [], []
    for place in np.flatnonzero(version == candidate):
        if not ids[place].endswith(end):
            continue
        one = asked.get(ids[place][: -len(end)])
        if one is not None and (rows.fresh[one] or rows.fresh[place]):
            ones.append(one)
            others.append(int(place))
    return np.array(ones, np.int64), np.array(others, np.int64)


def is_copy(ids: Any, candidate: str) -> Any:
    """Which records are of copies, [n]."""
    end = f"~{candidate}"
    return np.fromiter((str(one).endswith(end) for one in ids), bool, len(ids))


def count(
    known: Copied, plan: Plan, rows: Rows, at: tuple[Any, Any], of: tuple[Said, Said] | None
) -> None:
    """Add some pairs.

    Args:
        known: to add to.
        plan: whose slices are counted.
        rows: of both arms.
        at: where the pairs stand, see `pairs_of`.
        of: where both arms' answers stand; None = they are no answers of one kind.
    """
    columns = rows.columns
    status = np.asarray(columns["status"], np.int64)
    taken = ~(np.isin(status[at[0]], _REFUSED) | np.isin(status[at[1]], _REFUSED))
    spent = np.asarray(columns["total_ns"], np.int64) - np.asarray(columns["queue_ns"], np.int64)
    for side, places in zip((known.stable, known.candidate), at, strict=True):
        side.add(status[places[taken]], spent[places[taken]])
    if of is None or any(one.column not in columns for one in of):
        return
    said = [
        np.asarray(columns[one.column], object)[place] for one, place in zip(of, at, strict=True)
    ]
    there = [np.array([_there(one) for one in some], bool) for some in said]
    gone = taken & (status[at[1]] >= BAD)
    use = taken & (status[at[0]] < BAD) & there[0] & (there[1] | gone)
    times = np.asarray(columns["at_ns"], np.int64)[at[1]]
    use &= times > known.restored_ns
    if not use.any():
        return
    known.upto_ns = max(known.upto_ns, int(times[use].max()))
    form, both = _answers((said[0][use], said[1][use]), of, gone[use])
    places = at[0][use]
    slices = {name: inside(columns, name, places) for name in plan.slices}
    ids = [str(one) for one in columns["id"][places]]
    known.tally = merged(known.tally, tally(Pairs(form, ids, *both, gone[use], slices)))


def _answers(
    said: tuple[Any, Any], of: tuple[Said, Said], gone: Any
) -> tuple[Form, tuple[Any, Any]]:
    """Both arms' answers as arrays of one shape; what is of no shape is compared as text."""
    filled = said[1].copy()
    for place in np.flatnonzero(gone):
        filled[place] = said[0][place]  # of one without an answer nothing is compared
    form = of[0].form
    if form is Form.SCORES:
        numbers = floats(said[0].tolist()), floats(filled.tolist())
        if not any(np.isnan(one).all() for one in numbers):
            return form, numbers
    if form is not Form.LABELS:
        with suppress(TypeError, ValueError):  # texts, or rows of several lengths
            several = [np.array(one.tolist(), np.float64) for one in (said[0], filled)]
            shape = several[0].shape
            alike = shape == several[1].shape and math.prod(shape[1:]) > 1
            if alike and (form is Form.SCORES or len(shape) == 2):
                return form, (several[0], several[1])
    one, other = (
        np.array(labels(some.tolist(), of_), object)
        for some, of_ in zip((said[0], filled), of, strict=True)
    )
    return Form.LABELS, (one, other)


def _there(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))
