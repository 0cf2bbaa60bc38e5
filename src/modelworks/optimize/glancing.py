"""A glance at rows that do not decide: is a form worth going on with, and what would its proof say?

Whoever tries many forms and keeps the best has chosen by the rows that they were tried on. So the
search is guided by other rows than those that decide. A glance proves nothing: it gives up a form
that has visibly lost too much, and says how likely a proof is, by which forms get their turn.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

import numpy as np

from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import Gate, Goal
from modelworks.evaluation.slices import FEWEST
from modelworks.optimize import agreeing
from modelworks.optimize.meaning import Kind, Plan, Said
from modelworks.optimize.quality import Pair, drop, metric_of
from modelworks.stats.paired import at_least
from modelworks.stats.student import t_quantile

LIKELY: Final = "likely"
"""Name of the gate whose value is the chance that a proof succeeds."""
_DOUBT: Final = 0.2
"""Of forms exactly at a limit about so many are given up: those that look worst."""
_TYPICAL: Final = 0.025  # the level that a proof is thought to be made at
_NORMAL: Final = NormalDist()
_ROWS: Final = "rows that do not decide"


@dataclass(frozen=True, slots=True)
class Glance:
    """A gate as it is seen, and how far it is known.

    Attributes:
        gate: its sentence and verdict.
        lost: as it was seen; infinite = nothing was learned.
        high: upper end of its interval, one-sided, at a level of a fifth.
        limit: that may be lost.
    """

    gate: Gate
    lost: float
    high: float
    limit: float


@dataclass(frozen=True, slots=True)
class Ahead:
    """What comes after a glance.

    Attributes:
        deciding: rows that decide.
        trust: share of the chance of a proof that is believed: less than 1 where passes learned
            from the very rows of the glance.
    """

    deciding: int
    trust: float = 1.0


def quality(pair: Pair, slices: Mapping[str, Sequence[int]], goal: Goal) -> list[Glance]:
    """The goal's metric on all rows and on each slice.

    Args:
        pair: both answers and the truth.
        slices: name -> numbers of its rows.
        goal: what may be given.

    Raises:
        InvalidError: the answers do not have the metric.
    """
    metric = metric_of(goal.metric, pair.plan)
    parts = {name: rows for name, rows in slices.items() if len(rows) >= FEWEST}
    limit = goal.slice_drop or goal.max_drop
    told = [_fallen(metric, pair, "", range(len(pair.truth)), goal.max_drop)]
    return told + [_fallen(metric, pair, name, rows, limit) for name, rows in parts.items()]


def _fallen(metric: str, pair: Pair, name: str, rows: Sequence[int], limit: float) -> Glance:
    found = drop(metric, pair, np.asarray(rows), limit, _DOUBT)
    visible = found.value > limit and found.p >= 1 - _DOUBT
    points = metric in {"accuracy", "auc"}
    text = (
        f"{metric}{f' of {name}' if name else ''} {'falls' if points else 'rises'} by "
        f"{100 * found.value:.2f} {'points' if points else '%'} ({100 * limit:.3g} are allowed): "
        f"{found.told}, {found.rows} {_ROWS}"
    )
    value = found.value if np.isfinite(found.value) else None
    gate = Gate(metric, agreeing.verdict(not visible), text, name, value, limit=limit)
    return Glance(gate, found.value, found.high, limit)


def agreement(plan: Plan, before: Said, after: Said, goal: Goal) -> list[Glance]:
    """Labels or directions that stay; of numbers nothing is said."""
    if plan.kind is Kind.NUMBERS:
        return []
    if plan.kind is Kind.VECTORS:
        return list(_directions(before, after, goal))
    count = len(before.labels)
    changed = int((before.labels != after.labels).sum())
    low, high = at_least(changed, count, _DOUBT), 1 - at_least(count - changed, count, _DOUBT)
    share, limit = 1 - changed / count, 1 - goal.agreement
    text = f"{count - changed} of {count} labels stay ({goal.agreement:.4g} is wanted), {_ROWS}"
    fine = agreeing.verdict(low <= limit)
    gate = Gate("agreement", fine, text, "", share, limit=goal.agreement)
    return [Glance(gate, changed / count, high, limit)]


def _directions(before: Said, after: Said, goal: Goal) -> Iterator[Glance]:
    """The mean cosine of the worst output, and its worst row."""
    found = [agreeing.cosine(a, b) for a, b in zip(before.vectors, after.vectors, strict=True)]
    least = min(found, key=lambda values: float(values.mean()))
    mean, count, reach = float(least.mean()), len(least), 0.0
    if count > 1:
        spread = float(least.std(ddof=1)) / math.sqrt(count)
        reach = t_quantile(1 - _DOUBT, count - 1) * spread
    text = f"cosine {mean:.4f} on average ({goal.cosine:.4g} is wanted), {count} {_ROWS}"
    fine = agreeing.verdict(mean + reach >= goal.cosine)
    gate = Gate("cosine", fine, text, "", mean, limit=goal.cosine)
    yield Glance(gate, 1 - mean, 1 - mean + reach, 1 - goal.cosine)
    worst = min(float(values.min()) for values in found)
    text = f"cosine of the worst row {worst:.4f} ({goal.worst_cosine:.4g} is wanted), {_ROWS}"
    fine = agreeing.verdict(worst >= goal.worst_cosine)
    gate = Gate("worst_cosine", fine, text, "", worst, limit=goal.worst_cosine)
    yield Glance(gate, 1 - worst, 1 - worst, 1 - goal.worst_cosine)


def calibration(pair: Pair, goal: Goal) -> Gate:
    """Whether the calibration error has visibly risen by too much."""
    return agreeing.calibration(pair, replace(goal, confidence=_DOUBT))


def likely(seen: Sequence[Glance], rows: int, ahead: Ahead) -> Gate:
    """How likely it is that the rows that decide prove a form.

    Taken is that both samples are off as the normal distribution says, by the spread that the upper
    end of the glance's interval stands for.

    Args:
        seen: what was glanced at.
        rows: of the glance.
        ahead: what comes after it.
    """
    chance = ahead.trust
    for one in seen:
        if not math.isfinite(one.lost) or not math.isfinite(one.high):
            continue
        here = max(1e-12, (one.high - one.lost) / _NORMAL.inv_cdf(1 - _DOUBT))
        there = here * math.sqrt(rows / max(1, ahead.deciding))
        room = one.limit - one.lost - _NORMAL.inv_cdf(1 - _TYPICAL) * there
        chance = min(chance, ahead.trust * _NORMAL.cdf(room / math.hypot(here, there)))
    text = f"as {rows} {_ROWS} say, the {ahead.deciding} others prove it with a chance of "
    text += f"{chance:.0%}"
    return Gate(LIKELY, Verdict.SKIPPED, text, value=chance)
