"""What the pairs of answers say, and whether a candidate may go on: a gate at no user's risk."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from modelworks.core.rollouts import Direction, Finding, Kind, Metric, Outcome, Sums
from modelworks.rollout.compare import compare
from modelworks.rollout.shadow.tally import Example, Floats, Tally
from modelworks.rollout.words import EVERYTHING, said
from modelworks.stats.multiple import holm_found

NAME: Final = "disagreement"
_FEWEST: Final = 3  # pairs, for a correlation
_FLIPS: Final = 10


@dataclass(frozen=True, slots=True)
class Report:
    """Of all pairs so far.

    Attributes:
        count: of pairs.
        missing: copies without an answer.
        agreement: share of the pairs that agree; they do not where the copy got no answer.
        low: lower end of its interval, valid at every look.
        high: upper end.
        close: share of the pairs whose numbers are all within the tolerance.
        flips: (stable label, candidate label, pairs), the most frequent first.
        rank_correlation: Spearman's, of the first pairs; None = of labels, or nothing varies.
        confidence_shift: how much surer the candidate is of the stable arm's labels, on average
            over its pairs, whichever way: 0 = as sure; None = no probabilities.
        confidence: by the stable arm's confidence: (pairs, mean confidence of the stable arm, of
            the candidate), bins without pairs left out.
        worst: farthest first.
        findings: of the gate: all pairs, then slice by slice.
        outcome: PROMOTE = disagreement is proved to be no more than allowed, everywhere; ROLL_BACK
            = proved to be more somewhere; HOLD = neither yet.
        sentence: for somebody who knows no statistics.
    """

    count: int
    missing: int
    agreement: float
    low: float
    high: float
    close: float
    flips: tuple[tuple[str, str, int], ...]
    rank_correlation: float | None
    confidence_shift: float | None
    confidence: tuple[tuple[int, float, float], ...]
    worst: tuple[Example, ...]
    findings: tuple[Finding, ...]
    outcome: Outcome
    sentence: str


def report(
    tally: Tally,
    allowed: float,
    *,
    arm: str = "the new version",
    slices: tuple[str, ...] = (),
    false_alarm: float = 0.01,
    false_pass: float = 0.05,
) -> Report:
    """Judge.

    Args:
        tally: of all pairs.
        allowed: share of the pairs that may disagree.
        arm: the candidate's name.
        slices: that have to pass too (Holm).
        false_alarm: chance of ever finding too much disagreement where there is none.
        false_pass: chance of ever passing more than is allowed.
    """
    metric = Metric(NAME, Kind.RATE, Direction.LOWER, allowed, absolute=True)
    parts = [(EVERYTHING, Sums(tally.count, tally.count - tally.agreed))]
    for name in slices:
        count, agreed = tally.slices.get(name, (0, 0))
        parts.append((name, Sums(count, count - agreed)))
    harm = false_alarm / len(parts)

    def passes(place: int, level: float) -> bool:
        found = compare(metric, None, parts[place][1], harm, level)
        return found is not None and found.passed

    # the whole has its own full chance: who passes has passed it as well as all slices
    passed = [passes(0, false_pass)]
    passed += holm_found(lambda place, level: passes(place + 1, level), len(slices), false_pass)
    findings = [
        _finding(metric, name, sums, arm, (harm, false_pass), passed=ok)
        for (name, sums), ok in zip(parts, passed, strict=True)
    ]
    outcomes = [finding.outcome for finding in findings]
    outcome = Outcome.ROLL_BACK if Outcome.ROLL_BACK in outcomes else Outcome.HOLD
    if all(one is Outcome.PROMOTE for one in outcomes):
        outcome = Outcome.PROMOTE
    reasons = [one.sentence for one in findings if one.outcome is outcome]
    whole = findings[0]
    shift, confidence = _confidence(tally)
    return Report(
        tally.count,
        tally.missing,
        1.0 - whole.candidate if tally.count else 0.0,
        1.0 - (1.0 if whole.high is None else whole.high),
        1.0 - (0.0 if whole.low is None else whole.low),
        tally.close / tally.count if tally.count else 0.0,
        tuple(
            (one, other, count)
            for (one, other), count in sorted(tally.flips.items(), key=lambda item: -item[1])
        )[:_FLIPS],
        rank_correlation(tally.kept),
        shift,
        confidence,
        tally.worst,
        tuple(findings),
        outcome,
        "; ".join(reasons[:3]),
    )


def sums(tally: Tally, slices: tuple[str, ...] = ()) -> tuple[Sums, dict[str, Sums]]:
    """As evidence of a roll-out whose guardrail or primary is `disagreement`: all, and by slice."""
    parts = {name: tally.slices.get(name, (0, 0)) for name in slices}
    return Sums(tally.count, tally.count - tally.agreed), {
        name: Sums(count, count - agreed) for name, (count, agreed) in parts.items()
    }


def rank_correlation(pairs: Floats) -> float | None:
    """Spearman's correlation, ties with their mean rank; None where nothing varies.

    Args:
        pairs: [n, 2]; pairs that are no numbers are left out.
    """
    known = pairs[np.isfinite(pairs).all(1)]
    if len(known) < _FEWEST:
        return None
    ranks = [_ranks(known[:, column]) for column in (0, 1)]
    apart = [rank - rank.mean() for rank in ranks]
    scale = float(np.sqrt((apart[0] ** 2).sum() * (apart[1] ** 2).sum()))
    return float((apart[0] * apart[1]).sum()) / scale if scale > 0 else None


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: Floats = (last - (counts - 1) / 2).astype(np.float64)
    return means[place]


def _confidence(tally: Tally) -> tuple[float | None, tuple[tuple[int, float, float], ...]]:
    known = tally.bins[tally.bins[:, 0] > 0]
    if not len(known):
        return None, ()
    count = known[:, 0]
    shift = float(np.abs(known[:, 2] - known[:, 1]).sum() / count.sum())
    rows = tuple((int(n), float(one / n), float(two / n)) for n, one, two in known)
    return shift, rows


def _finding(
    metric: Metric,
    name: str,
    found_in: Sums,
    arm: str,
    chances: tuple[float, float],
    *,
    passed: bool,
) -> Finding:
    found = compare(metric, None, found_in, *chances)
    if found is None:
        prefix = "" if name == EVERYTHING else f"for {name}, "
        words = f"{prefix}no pair of answers has come yet"
        return Finding(
            metric.name, name, arm, 0, 0, 0, None, None, metric.margin, Outcome.HOLD, words
        )
    outcome = Outcome.PROMOTE if passed else Outcome.HOLD
    outcome = Outcome.ROLL_BACK if found.harmed else outcome
    return Finding(
        metric.name,
        name,
        arm,
        found.stable,
        found.candidate,
        found.difference,
        found.low,
        found.high,
        found.margin,
        outcome,
        said(metric, found, outcome, arm, name),
    )
