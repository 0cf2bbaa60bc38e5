"""One metric of a candidate beside the stable arm's: how much worse, and what is proved of it.

Whatever the kind, the question is the same: is the candidate above a line, offset + slope * stable
figure? A relative margin is a slope, any other an offset. The stable arm's sums times the slope
turn it into the question whether a difference is above the offset, which `stats.sequences` answers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from modelworks.core.errors import InvalidError
from modelworks.core.rollouts import Direction, Kind, Metric, Sums
from modelworks.rollout import histograms, rates
from modelworks.stats.sequences import Between, means, quantiles, ratios

_AIM = 0.01
"""What a superiority test without a margin is sharpest for, as a share of the stable figure or, of
a rate, in its own unit."""
_FINEST, _PARTS = 0.04, 6.0
"""Buckets are at most a sixth of a margin wide, of margins of 4 % and more."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is known of one metric; differences are candidate less stable, positive = worse.

    Attributes:
        stable: the stable arm's figure.
        candidate: the candidate's.
        difference: between them.
        low: lower end of the always-valid interval; None = nothing is known.
        high: upper end; None = nothing is known.
        margin: that is allowed, in the metric's unit.
        harmed: proved to be worse than the margin.
        passed: proved to be no worse than the margin, or better where that is asked.
    """

    stable: float
    candidate: float
    difference: float
    low: float | None
    high: float | None
    margin: float
    harmed: bool
    passed: bool


@dataclass(frozen=True, slots=True)
class _Line:
    """What is allowed: worse by `offset`, measured from `slope` times the stable figure."""

    offset: float
    slope: float


def compare(
    metric: Metric,
    stable: Sums | None,
    candidate: Sums | None,
    harm: float,
    fine: float,
    *,
    superior: bool = False,
) -> Comparison | None:
    """Judge.

    Args:
        metric: what the sums are of.
        stable: the stable arm's; None = nothing was measured.
        candidate: the candidate's.
        harm: chance of ever finding harm where there is none.
        fine: chance of ever passing what is worse.
        superior: it has to be better, not just no worse, to pass.

    Returns:
        None: nothing was measured of one of them.

    Raises:
        InvalidError: sums that no requests can have.
    """
    one = Sums() if metric.absolute else stable
    if one is None or candidate is None or not _measured(metric, one, candidate):
        return None
    if metric.kind is Kind.QUANTILE:
        one, candidate = (_refined(metric, one, sums) for sums in (one, candidate))
    figures = 0.0 if metric.absolute else figure(metric, one), figure(metric, candidate)
    harmful, better = _harmful(metric), _Line(0.0, 1.0) if superior else _harmful(metric)
    if metric.kind is Kind.RATE:
        low, high = _rate(metric, one, candidate, (harmful, better), (harm, fine))
    else:
        worse = _worse(figures, harmful.slope, metric.direction)
        # the end that can prove nothing is not asked for: it would cost as much as the other
        first = worse > harmful.offset or _worse(figures, better.slope, metric.direction) >= (
            better.offset
        )
        line, alpha = (harmful, harm) if first else (better, fine)
        found = _between(metric, one, candidate, line.slope, alpha)
        low, high = found.low, found.high
        if first:
            harmed, passed = low > harmful.offset, False
        else:
            harmed, passed = False, high < better.offset
        shift = _shift(metric, figures[0], line)
        return _told(metric, figures, (low + shift, high + shift), harmful, (harmed, passed))
    ends = low + _shift(metric, figures[0], harmful), high + _shift(metric, figures[0], better)
    verdict = low > harmful.offset, high < better.offset
    return _told(metric, figures, ends, harmful, verdict)


def figure(metric: Metric, sums: Sums) -> float:
    """What an arm's sums say: the rate, the mean, the bucket's upper end, the ratio."""
    if metric.kind is Kind.GIVEN:
        return sums.total
    if metric.kind is Kind.QUANTILE:
        return histograms.quantile(_buckets(sums), metric.quantile)
    if metric.kind is Kind.RATIO:
        return sums.total / sums.below if sums.below else 0.0
    return sums.total / sums.count if sums.count else 0.0


def _measured(metric: Metric, stable: Sums, candidate: Sums) -> bool:
    if metric.kind is Kind.GIVEN:
        return all(math.isfinite(s.low) and math.isfinite(s.high) for s in (stable, candidate))
    if metric.kind is Kind.QUANTILE:
        return sum(stable.buckets.values()) > 0 and sum(candidate.buckets.values()) > 0
    if metric.kind is Kind.RATIO and not (stable.below > 0 and candidate.below > 0):
        return False
    return candidate.count > 0 and (metric.absolute or stable.count > 0)


def _harmful(metric: Metric) -> _Line:
    if metric.absolute:
        return _Line(metric.margin, 0.0)
    if not metric.relative:
        return _Line(metric.margin, 1.0)
    if metric.direction is Direction.LOWER:
        return _Line(0.0, 1.0 + metric.margin)
    if metric.kind is Kind.RATE:  # told in bad events: 1 - (1 - m) (1 - bad) is m + (1 - m) bad
        return _Line(metric.margin, 1.0 - metric.margin)
    return _Line(0.0, 1.0 - metric.margin)


def _rate(
    metric: Metric,
    stable: Sums,
    candidate: Sums,
    lines: tuple[_Line, _Line],
    chances: tuple[float, float],
) -> tuple[float, float]:
    one, other = _bad(metric, stable), _bad(metric, candidate)
    (harmful, better), (harm, fine) = lines, chances
    aim = metric.margin or _AIM
    if metric.relative:
        aim *= max(figure(metric, stable), 1 / max(stable.count, 1))
    low = rates.lowest(one, other, harmful.slope, harmful.offset, harm)
    return low, rates.highest(one, other, better.slope, better.offset, fine, aim)


def _bad(metric: Metric, sums: Sums) -> rates.Arm:
    if not 0 <= sums.total <= sums.count:
        words = f"{sums.total:g} events of {sums.count} requests: count each request once"
        raise InvalidError(words, field=metric.name)
    good = metric.direction is Direction.HIGHER
    return rates.Arm(sums.count - sums.total if good else sums.total, sums.count)


def _between(metric: Metric, stable: Sums, candidate: Sums, slope: float, alpha: float) -> Between:
    """Of how much worse the candidate is than `slope` times the stable figure."""
    found = _KINDS[metric.kind](metric, stable, candidate, slope, alpha)
    if metric.direction is Direction.HIGHER:
        return Between(-found.high, -found.low)
    return found


def _mean(metric: Metric, stable: Sums, candidate: Sums, slope: float, alpha: float) -> Between:
    one = stable.count, slope * stable.total, slope * slope * stable.squares
    other = candidate.count, candidate.total, candidate.squares
    if metric.high <= metric.low:
        return means.difference_asymptotic(one, other, min(2 * alpha, 0.99))  # two-sided, even
    low, high = min(metric.low, slope * metric.low), max(metric.high, slope * metric.high)
    return means.difference(one, other, alpha, low, high)


def _of_quantile(
    metric: Metric, stable: Sums, candidate: Sums, slope: float, alpha: float
) -> Between:
    scaled = {bound * slope: count for bound, count in _buckets(stable).items()}
    return quantiles.difference(scaled, _buckets(candidate), metric.quantile, alpha)


def _ratio(metric: Metric, stable: Sums, candidate: Sums, slope: float, alpha: float) -> Between:
    del metric
    return ratios.difference(
        _ratio_sums(stable, slope), _ratio_sums(candidate, 1.0), min(2 * alpha, 0.99)
    )


def _given(metric: Metric, stable: Sums, candidate: Sums, slope: float, alpha: float) -> Between:
    del metric, alpha  # whoever gave the intervals chose their level
    return Between(candidate.low - slope * stable.high, candidate.high - slope * stable.low)


_KINDS: dict[Kind, Callable[[Metric, Sums, Sums, float, float], Between]] = {
    Kind.MEAN: _mean,
    Kind.QUANTILE: _of_quantile,
    Kind.RATIO: _ratio,
    Kind.GIVEN: _given,
}


def _ratio_sums(sums: Sums, slope: float) -> ratios.Sums:
    return ratios.Sums(
        sums.count,
        slope * sums.total,
        slope * slope * sums.squares,
        sums.below,
        sums.below_squares,
        slope * sums.product,
    )


def _buckets(sums: Sums) -> dict[float, int]:
    return {float(bound): count for bound, count in sums.buckets.items()}


def _refined(metric: Metric, stable: Sums, sums: Sums) -> Sums:
    """With buckets that are narrow beside the margin."""
    share = metric.margin
    if not metric.relative:
        share /= histograms.quantile(_buckets(stable), metric.quantile) or 1.0
    ratio = 1.0 + min(max(share, _FINEST), 1.0) / _PARTS
    found = histograms.refined(_buckets(sums), metric.quantile, ratio)
    return replace(sums, buckets={repr(bound): rows for bound, rows in found.items()})


def _worse(figures: tuple[float, float], slope: float, direction: Direction) -> float:
    found = figures[1] - slope * figures[0]
    return found if direction is Direction.LOWER else -found


def _shift(metric: Metric, stable: float, line: _Line) -> float:
    """From how much worse than the line's slope says to how much worse than the stable figure."""
    if metric.kind is Kind.RATE and metric.direction is Direction.HIGHER:
        return (line.slope - 1.0) * (1.0 - stable) if line.slope else 0.0
    if not line.slope:
        return 0.0
    found = (line.slope - 1.0) * stable
    return found if metric.direction is Direction.LOWER else -found


def _told(
    metric: Metric,
    figures: tuple[float, float],
    ends: tuple[float, float],
    harmful: _Line,
    verdict: tuple[bool, bool],
) -> Comparison:
    low, high = (end if math.isfinite(end) else None for end in ends)
    return Comparison(
        figures[0],
        figures[1],
        _worse(figures, 1.0, metric.direction),
        low,
        high,
        harmful.offset + _shift(metric, figures[0], harmful),
        *verdict,
    )
