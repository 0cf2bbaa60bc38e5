"""Rules that look at the present: a bound, absence, the burn rate of a promise."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from modelworks.monitor.alerts.findings import Finding, OfSeries, exact
from modelworks.monitor.alerts.samples import Row, Samples, Want
from modelworks.protocol.manifest.alerts.conditions import Absent, Aggregate, BurnRate, Threshold
from modelworks.protocol.manifest.alerts.fields import spelt_duration

_BY: Final[Mapping[Aggregate, Callable[[Sequence[float]], float]]] = {
    Aggregate.LAST: lambda values: values[-1],
    Aggregate.MEAN: lambda values: math.fsum(values) / len(values),
    Aggregate.MIN: min,
    Aggregate.MAX: max,
    Aggregate.SUM: math.fsum,
    Aggregate.COUNT: len,
}


class Bound(OfSeries):
    """`threshold`.

    Args:
        rule: as written.
        lasting: whether series that vanish are asked for.
    """

    def __init__(self, rule: Threshold, *, lasting: bool) -> None:
        super().__init__(rule.series, rule.where, rule.over, lasting=lasting)
        self._rule = rule
        self._by = _BY[rule.by]
        self._bound = rule.bound
        self._sign = 1 if rule.above is not None else -1
        self._clear = rule.bound if rule.clear is None else rule.clear
        self._words = {"bound": self._bound}
        self._per = Want(rule.per, rule.where, rule.over) if rule.per else None
        what = f"{rule.series} per {rule.per}" if rule.per else rule.series
        side = "over" if self._sign > 0 else "under"
        self.said = f"{what} is {{value:.4g}}, {side} {{bound:.4g}}"

    def wants(self) -> list[Want]:
        """The series, and what it is divided by."""
        return super().wants() if self._per is None else [*super().wants(), self._per]

    def judge(self, row: Row, samples: Samples) -> Finding | None:
        """The samples of `over`, as one number."""
        values = row.between(samples.now - self._rule.over, samples.now)
        if not values:
            return None
        value = self._by(values)
        if self._per is not None:
            below = self._below(row, samples)
            if below is None or (below == 0 and value == 0):
                return None
            value = value / below if below else math.copysign(math.inf, value)
        signed, bound = value * self._sign, self._bound * self._sign
        return Finding(
            row.labels, value, signed > bound, signed > self._clear * self._sign, self._words
        )

    def _below(self, row: Row, samples: Samples) -> float | None:
        """What is divided by, of the same labels."""
        other = None if self._per is None else samples.twin(self._per, row)
        values = other.between(samples.now - self._rule.over, samples.now) if other else []
        return self._by(values) if values else None


class Missed:
    """`absent`.

    Args:
        rule: as written.
    """

    def __init__(self, rule: Absent) -> None:
        self._rule = rule
        self._want = Want(rule.series, rule.where, max(rule.over, rule.seen))
        self.said = f"no {rule.series} for {spelt_duration(rule.over)}"

    def wants(self) -> list[Want]:
        """The series."""
        return [self._want]

    def lost(self, samples: Samples) -> list[Mapping[str, str]]:  # noqa: ARG002 - the seam's
        """None: it is what the rule is about."""
        return []

    def findings(self, samples: Samples) -> list[Finding]:
        """All of them together, or each that was seen."""
        now, over = samples.now, self._rule.over
        rows = samples.rows(self._want)
        if not self._rule.seen:
            there = any(row.between(now - over, now) for row in rows)
            return [Finding(exact(self._rule.where), 1.0, not there, not there)]
        found = []
        for row in rows:
            first, last = row.span(now - self._rule.seen, now)
            if first != last:
                gone = row.times[last - 1] <= now - over
                found.append(Finding(row.labels, row.values[last - 1], gone, gone))
        return found


class Burn(OfSeries):
    """`burn_rate`.

    Args:
        rule: as written.
        lasting: whether series that vanish are asked for.
    """

    def __init__(self, rule: BurnRate, *, lasting: bool) -> None:
        self._pairs = [(one.long, one.short, one.burn) for one in rule.pairs()]
        span = max(long for long, _, _ in self._pairs)
        super().__init__(rule.total or rule.series, rule.where, span, lasting=lasting)
        self._rule = rule
        self._budget = 1 - rule.objective
        self._bad = Want(rule.bad, rule.where, span) if rule.bad else None
        self.said = (
            f"the error budget of {100 * rule.objective:g} % burns {{value:.1f}} times too fast, "
            "over {bound:g}"
        )

    def wants(self) -> list[Want]:
        """What counts, and what counts as bad."""
        return super().wants() if self._bad is None else [*super().wants(), self._bad]

    def judge(self, row: Row, samples: Samples) -> Finding | None:
        """The first pair of windows that is true, or the one that is next to it."""
        bad, count = self._counted(row, samples)
        now = samples.now
        first: tuple[float, float] | None = None
        worst = -1.0
        for long, short, burn in self._pairs:
            slow = self._burnt(bad, count, now - long, now)
            fast = self._burnt(bad, count, now - short, now)
            if slow is None:
                continue
            ratio = min(slow, fast if fast is not None else 0.0) / burn
            if first is None or (worst <= 1 and ratio > worst):
                first = slow, burn
                worst = ratio
        if first is None:
            return None
        said, bound = first
        return Finding(row.labels, said, worst > 1, worst > 1, {"bound": bound})

    def _counted(self, row: Row, samples: Samples) -> tuple[Row | None, Row | None]:
        """Bad ones and all of them."""
        if self._bad is None:
            return row, None
        return samples.twin(self._bad, row), row

    def _burnt(self, bad: Row | None, count: Row | None, since: float, now: float) -> float | None:
        """How many times too fast; None = nothing was there."""
        if count is None:
            values = bad.between(since, now) if bad is not None else []
            if not values:
                return None
            above = self._rule.above or 0.0
            return sum(value > above for value in values) / len(values) / self._budget
        total, _ = count.total(since, now)
        if total <= 0:
            return None
        failed, several = (0.0, 0) if bad is None else bad.total(since, now)
        if not several:
            return None
        return failed / total / self._budget
