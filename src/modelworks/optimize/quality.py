"""Quality on the same rows, before and after: how much it fell at most, and what speaks for it."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.evaluation.columns import indices
from modelworks.evaluation.scores import roc_auc
from modelworks.optimize.meaning import Kind, Plan, Said
from modelworks.stats import paired
from modelworks.stats.intervals import Floats
from modelworks.stats.student import t_below, t_quantile

FEWEST: Final = 30
"""Rows below which no mean is taken to be Student's."""
_TINY: Final = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Drop:
    """How far a metric fell.

    Attributes:
        before: the source form's.
        after: the form's.
        value: how much worse, in the goal's unit: points, or a share of the source's own.
        high: with the confidence asked for it is not more than that.
        p: chance of rows that speak as clearly against a drop of the limit or more.
        rows: that it is of.
        told: what changed, for people.
        needed: rows that would do, where these are too few; None = no number would.
    """

    before: float
    after: float
    value: float
    high: float
    p: float
    rows: int
    told: str
    needed: int | None = None


def metric_of(wanted: str, plan: Plan) -> str:
    """The metric that decides.

    Raises:
        InvalidError: the answers do not have it.
    """
    if plan.kind is Kind.VECTORS:
        raise InvalidError("vectors have no truth", field="label")
    usual = ("accuracy", "auc", "log_loss") if plan.kind is Kind.CLASSES else ("mae", "rmse")
    if not wanted:
        return usual[0]
    if wanted not in usual:
        raise InvalidError(
            f"metric: {wanted} is none of {plan.kind}: {', '.join(usual)}", field="metric"
        )
    if wanted != usual[0] and plan.kind is Kind.CLASSES and not plan.probable:
        raise InvalidError(
            f"metric: {wanted} wants probabilities, and no output has them", field="metric"
        )
    return wanted


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Both answers and the truth.

    Attributes:
        plan: what the answers mean.
        before: the source form's.
        after: the form's.
        truth: texts of the classes, or numbers.
    """

    plan: Plan
    before: Said
    after: Said
    truth: Any


def drop(metric: str, pair: Pair, rows: Any, limit: float, error: float) -> Drop:
    """Test that a metric fell by less than the limit.

    Args:
        metric: see `metric_of`.
        pair: both answers.
        rows: numbers of those that it is about.
        limit: in the goal's unit.
        error: that the test may make: 1 - confidence.
    """
    if metric == "accuracy":
        return _accuracy(pair, rows, limit, error)
    if metric == "auc":
        return _area(pair, rows, limit, error)
    return _errors(metric, pair, rows, limit, error)


def _accuracy(pair: Pair, rows: Any, limit: float, error: float) -> Drop:
    truth = pair.truth[rows]
    right, still = pair.before.labels[rows] == truth, pair.after.labels[rows] == truth
    losses, gains, count = int((right & ~still).sum()), int((~right & still).sum()), len(truth)
    return Drop(
        before=float(right.mean()) if count else math.nan,
        after=float(still.mean()) if count else math.nan,
        value=(losses - gains) / max(1, count),
        high=paired.upper_bound(losses, gains, count, error),
        p=paired.p_value(losses, gains, count, limit, error),
        rows=count,
        told=f"{losses} rows became wrong and {gains} right",
        needed=paired.rows_needed(losses, gains, count, limit, error),
    )


def _errors(metric: str, pair: Pair, rows: Any, limit: float, error: float) -> Drop:
    """A ratio of means is below 1 + limit where the mean of a difference is below 0 (Fieller)."""
    old, new = (_losses(metric, pair, one, rows) for one in (pair.before, pair.after))
    power = 2 if metric == "rmse" else 1
    allowed = (1 + limit) ** power
    before, after = (float(part.mean()) ** (1 / power) for part in (old, new))
    value = after / before - 1 if before > 0 else (0.0 if after <= 0 else math.inf)
    p = _mean_below(new - allowed * old)
    high = _ratio_high(new, old, error) ** (1 / power) - 1
    told = f"from {before:.4g} to {after:.4g}"
    return Drop(before, after, value, high, p, len(old), told, _more(value, high, limit, len(old)))


def _losses(metric: str, pair: Pair, one: Said, rows: Any) -> Floats:
    """What each row costs."""
    if metric == "log_loss":
        scores, places = _scored(pair, one, rows)
        held = scores[np.arange(len(places)), places]
        return np.asarray(-np.log(np.maximum(held, _TINY)), np.float64)
    assert one.numbers is not None  # noqa: S101 - the plan says so
    off = np.abs(one.numbers[rows] - pair.truth[rows])
    return np.square(off) if metric == "rmse" else np.asarray(off, np.float64)


def _scored(pair: Pair, one: Said, rows: Any) -> tuple[Floats, Any]:
    """Probabilities, and the column of each row's class.

    Raises:
        InvalidError: a class that has no column.
    """
    assert one.probabilities is not None  # noqa: S101 - asked in `metric_of`
    places = indices(pair.truth[rows], pair.plan.classes, "label")
    return np.clip(one.probabilities[rows], 0.0, 1.0), places


def _mean_below(values: Floats) -> float:
    """P-value of a mean of 0 or more, of errors whose tails are long.

    The larger one of Student's and of Hall's, which is right where values are skewed (Journal of
    the Royal Statistical Society B 54, 1992, 221), with as many degrees of freedom as the variance
    is known by: 2 n / (kurtosis - 1).
    """
    count = len(values)
    if count < FEWEST:
        return 1.0
    mean, spread = float(values.mean()), float(values.std())
    if spread <= 0:
        return float(mean > 0)
    scaled = (values - mean) / spread
    squares = scaled * scaled
    skew, tails = float(np.mean(squares * scaled)), float(np.mean(squares * squares))
    freedom = min(count - 1.0, 2 * count / max(tails - 1, 1e-9))
    ratio = mean / spread
    bent = ratio + skew * ratio**2 / 3 + skew**2 * ratio**3 / 27 + skew / (6 * count)
    return t_below(math.sqrt(count - 1) * max(ratio, bent), freedom)


def _ratio_high(new: Floats, old: Floats, error: float) -> float:
    """The upper end of a ratio of means: the greatest that Student's test of it leaves."""
    if len(new) < FEWEST:
        return math.inf
    if not np.any(old):
        return math.inf if np.any(new) else 1.0
    low = max(float(new.mean() / old.mean()), 1e-12)
    spread = float((new - low * old).std()) / math.sqrt(len(new)) / float(old.mean())
    step = max(2 * spread, 1e-9 * low)
    high = low + step
    while _mean_below(new - high * old) > error:
        low, step = high, 2 * step
        high += step
        if high > 1e9:
            return math.inf
    for _ in range(14):
        middle = (low + high) / 2
        below = _mean_below(new - middle * old) <= error
        low, high = (low, middle) if below else (middle, high)
    return high


def _area(pair: Pair, rows: Any, limit: float, error: float) -> Drop:
    """Area under the ROC curve, of more classes the mean of one against the rest.

    The rows' influence on the difference says how far it may be off (DeLong).
    """
    old, new = (_areas(*_scored(pair, one, rows)) for one in (pair.before, pair.after))
    count = len(rows)
    if old is None or new is None or count < FEWEST:
        told = f"fewer than {FEWEST} rows, or one class alone"
        return Drop(math.nan, math.nan, math.nan, math.inf, 1.0, count, told)
    (before, first), (after, second) = old, new
    fall = before - after
    reach = t_quantile(1 - error, count - 1)
    # What no row showed may still be there: as often as no row of so many would show it.
    rarest = float(np.unique(pair.truth[rows], return_counts=True)[1].min())
    least = -math.log(error) / rarest / max(reach, 1e-9)
    spread = max(math.sqrt(float(np.sum(np.square(first - second)))), least)
    high = fall + reach * spread
    p = t_below((fall - limit) / spread, count - 1)
    told = f"from {before:.4f} to {after:.4f}"
    return Drop(before, after, fall, high, p, count, told, _more(fall, high, limit, count))


def _areas(scores: Floats, places: Any) -> tuple[float, Floats] | None:
    """The area and the influence of each row; None = there is but one class."""
    ones = np.ones(len(places))
    columns = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    found = [roc_auc((places == column) * 1, scores[:, column], ones) for column in columns]
    known = [one for one in found if not math.isnan(one.value)]
    if not known:
        return None
    value = float(np.mean([one.value for one in known]))
    return value, np.asarray(np.mean([one.influence for one in known], axis=0), np.float64)


def _more(value: float, high: float, limit: float, rows: int) -> int | None:
    """About how many rows would do: an interval shrinks with their root."""
    if not (math.isfinite(high) and value < limit):
        return None
    return math.ceil(rows * ((high - value) / (limit - value)) ** 2)
