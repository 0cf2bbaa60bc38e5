"""Whether a model treats groups alike: rates by group, the largest gaps, intervals, gates.

Every pair of groups is compared by Newcombe's interval of a difference of proportions (of a ratio:
Zou and Donner 2008, on the logarithm), at a level that holds for all pairs of a measure together
(Bonferroni). The largest gap is then at least the largest lower end and at most the largest upper
one. Definitions: Hardt, Price and Srebro 2016 (equalised odds); Feldman et al. 2015 (four fifths).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.stats.intervals import (
    LEVEL,
    UNDEFINED,
    Estimate,
    adjusted,
    difference,
    mean,
    wilson,
)

SELECTION: Final = "selection_rate"
TPR: Final = "true_positive_rate"
FPR: Final = "false_positive_rate"
PPV: Final = "positive_predictive_value"
CALIBRATION: Final = "calibration"
_GAPS: Final = {
    "demographic_parity": (SELECTION,),
    "equal_opportunity": (TPR,),
    "false_positive_rate": (FPR,),
    "predictive_parity": (PPV,),
    "equalized_odds": (TPR, FPR),
    "calibration": (CALIBRATION,),
    "max_gap": (SELECTION, TPR, FPR),
}
RATIO: Final = "selection_ratio"
"""The lowest selection rate over the highest; the four-fifths rule wants 0.8."""
MEASURES: Final = (*_GAPS, RATIO)
"""What a gate may name: the gaps want a limit above, the ratio one below."""


class Decision(StrEnum):
    """What a gate says."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"  # the interval holds the limit: more rows would tell


@dataclass(frozen=True, slots=True)
class Group:
    """One group.

    Attributes:
        name: of it.
        count: of rows.
        rates: by name; `calibration` is the mean score less the share of positives.
    """

    name: str
    count: int
    rates: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Measure:
    """One comparison of all groups.

    Attributes:
        name: of `MEASURES`.
        estimate: of the largest gap, or of the smallest ratio.
        between: the two groups that it is of, the higher one first; empty = not defined.
    """

    name: str
    estimate: Estimate
    between: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit, and whether it is kept.

    Attributes:
        name: of `MEASURES`.
        limit: of it.
        decision: passed, where the whole interval keeps it.
        measure: what was held against it.
    """

    name: str
    limit: float
    decision: Decision
    measure: Measure


@dataclass(frozen=True, slots=True)
class Fairness:
    """Groups and how far they are apart.

    Attributes:
        by: the column.
        groups: by name.
        measures: those that the given columns allow.
        left_out: groups with fewer rows than asked for.
        level: of confidence, of each measure over all its pairs.
    """

    by: str
    groups: tuple[Group, ...]
    measures: tuple[Measure, ...]
    left_out: tuple[str, ...]
    level: float


def fairness(
    by: str,
    groups: Sequence[Any],
    chosen: Any,
    *,
    truth: Any = None,
    scores: Any = None,
    smallest: int = 20,
    level: float = LEVEL,
) -> Fairness:
    """Compare groups.

    Args:
        by: name of the column of groups.
        groups: one a row; None and NaN are the group `missing`.
        chosen: whether the model said yes, one a row.
        truth: whether yes was right; None = not known.
        scores: probability of yes; None = not known.
        smallest: rows that a group has at least.
        level: of confidence.

    Raises:
        InvalidError: fewer than two groups of that size.
    """
    names = np.array([_name(item) for item in groups], object)
    every = sorted(set(names.tolist()))
    large = [name for name in every if (names == name).sum() >= smallest]
    if len(large) < 2:
        raise InvalidError(
            f"'{by}' has {len(large)} groups of at least {smallest} rows: two are wanted", field=by
        )
    parts = [_Part(name, names == name, chosen, truth, scores) for name in large]
    measures = []
    for name, rates in _GAPS.items():
        known = [rate for rate in rates if parts[0].has(rate)]
        if known and (len(known) == len(rates) or name == "max_gap"):
            measures.append(_gap(name, parts, known, level))
    measures.append(_ratio(parts, level))
    left_out = tuple(name for name in every if name not in large)
    found = tuple(Group(part.name, part.count, part.rates(level)) for part in parts)
    return Fairness(by, found, tuple(measures), left_out, level)


def judge(found: Fairness, limits: Mapping[str, float]) -> tuple[Gate, ...]:
    """Hold measures against limits.

    Args:
        found: the comparison.
        limits: by name of a measure: gaps at most, the ratio at least.

    Raises:
        InvalidError: no such measure, one that the columns do not allow, or no limit.
    """
    known = {measure.name: measure for measure in found.measures}
    gates = []
    for name, limit in limits.items():
        if name not in MEASURES:
            raise InvalidError(f"no measure '{name}'; there are {', '.join(MEASURES)}", field=name)
        if name not in known:
            raise InvalidError(f"{name} needs the truth, or scores for calibration", field=name)
        if not 0 <= limit <= 1:
            raise InvalidError(f"{name}: {limit} is not from 0 to 1", field=name)
        gates.append(Gate(name, limit, _decision(known[name], limit), known[name]))
    return tuple(gates)


def _decision(measure: Measure, limit: float) -> Decision:
    low, high = measure.estimate.low, measure.estimate.high
    if measure.name == RATIO:  # the other way round: more is better
        low, high, limit = -high, -low, -limit
    if high <= limit:
        return Decision.PASSED
    return Decision.FAILED if low > limit else Decision.INCONCLUSIVE


class _Part:
    """The rows of one group."""

    def __init__(self, name: str, rows: Any, chosen: Any, truth: Any, scores: Any) -> None:
        self.name = name
        self.count = int(rows.sum())
        yes = np.asarray(chosen, bool)[rows]
        self._of = {SELECTION: yes}
        self._off: Any = None
        if truth is not None:
            right = np.asarray(truth, bool)[rows]
            self._of |= {TPR: yes[right], FPR: yes[~right], PPV: right[yes]}
            if scores is not None:
                self._off = np.asarray(scores, np.float64)[rows] - right

    def has(self, rate: str) -> bool:
        """Whether the columns allow this rate."""
        return self._off is not None if rate == CALIBRATION else rate in self._of

    def rate(self, name: str, level: float) -> Estimate:
        """One rate."""
        if name == CALIBRATION:
            count = len(self._off)
            error = float(self._off.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
            return mean(float(self._off.mean()), error, count, level)
        rows = self._of[name]
        return wilson(float(rows.mean()), len(rows), level) if len(rows) else UNDEFINED

    def rates(self, level: float) -> dict[str, Estimate]:
        """All of them, each at the level."""
        names = [*self._of, *([CALIBRATION] if self._off is not None else [])]
        return {name: self.rate(name, level) for name in names}


def _gap(name: str, parts: Sequence[_Part], rates: Sequence[str], level: float) -> Measure:
    """The largest difference between two groups, over some rates."""
    pairs = list(combinations(parts, 2))
    each = adjusted(level, len(pairs) * len(rates))
    found = []
    for rate in rates:
        estimates = {part.name: part.rate(rate, each) for part in parts}
        for one, two in pairs:
            pair = [one.name, two.name]
            if estimates[two.name].value > estimates[one.name].value:
                pair.reverse()
            gap = difference(estimates[pair[0]], estimates[pair[1]])
            if not math.isnan(gap.value) and not math.isnan(gap.low):
                found.append((gap, tuple(pair)))
    if len(found) < len(pairs) * len(rates):  # of a group without positives, say
        return Measure(name, UNDEFINED, ())
    largest, between = max(found, key=lambda item: item[0].value)
    low = max(0.0, *(gap.low for gap, _ in found))
    high = max(max(abs(gap.high), abs(gap.low)) for gap, _ in found)
    return Measure(name, Estimate(largest.value, low, high, "newcombe, all pairs"), between)


def _ratio(parts: Sequence[_Part], level: float) -> Measure:
    """The smallest ratio of two groups' selection rates."""
    pairs = list(combinations(parts, 2))
    each = adjusted(level, len(pairs))
    rates = {part.name: part.rate(SELECTION, each) for part in parts}
    found = []
    for one, two in pairs:
        high, low = sorted((one.name, two.name), key=lambda n: -rates[n].value)
        ratio = _quotient(rates[low], rates[high])
        back = _quotient(rates[high], rates[low])
        found.append((ratio, back, (high, low)))
    defined = [item for item in found if not math.isnan(item[0].value)]
    if not defined:
        return Measure(RATIO, UNDEFINED, ())
    smallest, _, between = min(defined, key=lambda item: item[0].value)
    low_end = min(min(ratio.low, back.low) for ratio, back, _ in defined)
    high_end = min(1.0, *(ratio.high for ratio, _, _ in defined))
    estimate = Estimate(smallest.value, min(low_end, 1.0), high_end, "mover, all pairs")
    return Measure(RATIO, estimate, between)


def _quotient(top: Estimate, bottom: Estimate) -> Estimate:
    """One rate over another."""
    if bottom.value <= 0 or math.isnan(top.value):
        return UNDEFINED
    value = top.value / bottom.value
    if top.value <= 0:
        high = top.high / bottom.low if bottom.low > 0 else math.inf
        return Estimate(0.0, 0.0, high, "mover")
    below = _distance(top.value, top.low), _distance(bottom.high, bottom.value)
    above = _distance(top.high, top.value), _distance(bottom.value, bottom.low)
    return Estimate(
        value, value * math.exp(-math.hypot(*below)), value * _raised(math.hypot(*above)), "mover"
    )


def _distance(larger: float, smaller: float) -> float:
    """Of two numbers, on the logarithm."""
    return math.log(larger / smaller) if smaller > 0 else math.inf


def _raised(power: float) -> float:
    return math.exp(power) if power < 700 else math.inf


def _name(item: Any) -> str:
    if item is None or (isinstance(item, float) and math.isnan(item)):
        return "missing"
    if isinstance(item, float) and item.is_integer():
        return str(int(item))
    return str(item)
