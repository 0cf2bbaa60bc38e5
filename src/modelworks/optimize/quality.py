"""Quality on the same rows, before and after: how much it fell at most, and what speaks for it."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.evaluation import predictions as made
from modelworks.evaluation.metrics import Options, measure
from modelworks.evaluation.predictions import Predictions
from modelworks.optimize.meaning import Kind, Plan, Said
from modelworks.stats import paired
from modelworks.stats.intervals import Floats
from modelworks.stats.student import t_below, t_quantile

FEWEST: Final = 30
"""Rows below which no mean is taken to be Student's."""
_NAMES: Final = {"auc": "roc_auc", "log_loss": "log_loss"}


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
    if wanted in _NAMES and not plan.probable:
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
    if metric in {"mae", "rmse"}:
        return _errors(metric, pair, rows, limit, error)
    return _by_influence(metric, pair, rows, limit, error)


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
    assert pair.before.numbers is not None  # noqa: S101 - numbers have them
    assert pair.after.numbers is not None  # noqa: S101 - as above
    truth = pair.truth[rows]
    size = 1 if metric == "mae" else 2
    old = np.abs(pair.before.numbers[rows] - truth) ** size
    new = np.abs(pair.after.numbers[rows] - truth) ** size
    allowed = (1 + limit) ** size
    before, after = (float(part.mean()) ** (1 / size) for part in (old, new))
    value = after / before - 1 if before > 0 else (0.0 if after <= 0 else math.inf)
    p = _mean_below(new - allowed * old)
    high = _ratio_high(new, old, error) ** (1 / size) - 1
    needed = _more(value, high, limit, len(truth))
    return Drop(before, after, value, high, p, len(truth), f"{value:+.2%} of the source's", needed)


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
    skew, tails = float(np.mean(scaled**3)), float(np.mean(scaled**4))
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
    high = low
    while _mean_below(new - high * old) > error:
        high *= 1.5
        if high > 1e9:
            return math.inf
    for _ in range(40):
        middle = (low + high) / 2
        below = _mean_below(new - middle * old) <= error
        low, high = (low, middle) if below else (middle, high)
    return high


def _by_influence(metric: str, pair: Pair, rows: Any, limit: float, error: float) -> Drop:
    """A smooth metric: the rows' influence on the difference says how far it may be off."""
    options = Options(only=(_NAMES[metric],))
    count = len(rows)
    try:
        old, new = (
            measure(_predictions(pair, one, rows), options)[_NAMES[metric]]
            for one in (pair.before, pair.after)
        )
    except InvalidError as failed:  # one class alone has no such metric
        return Drop(math.nan, math.nan, math.nan, math.inf, 1.0, count, failed.message)
    fall = old.value - new.value if metric == "auc" else new.value - old.value
    influence = old.influence - new.influence
    if metric == "log_loss":
        scale = max(old.value, 1e-12)
        fall, influence = fall / scale, influence / scale
    if count < FEWEST or not math.isfinite(fall):
        told = f"fewer than {FEWEST} rows" if count < FEWEST else "not defined on these rows"
        return Drop(old.value, new.value, fall, math.inf, 1.0, count, told, FEWEST)
    reach = t_quantile(1 - error, count - 1)
    # What no row showed may still be there: as often as no row of so many would show it.
    rarest = np.unique(pair.truth[rows], return_counts=True)[1].min() if metric == "auc" else count
    least = -math.log(error) / float(rarest) / max(reach, 1e-9)
    spread = max(math.sqrt(float(np.sum(np.square(influence)))), least)
    high = fall + reach * spread
    p = t_below((fall - limit) / spread, count - 1)
    told = f"from {old.value:.4f} to {new.value:.4f}"
    return Drop(old.value, new.value, fall, high, p, count, told, _more(fall, high, limit, count))


def _predictions(pair: Pair, one: Said, rows: Any) -> Predictions:
    assert one.probabilities is not None  # noqa: S101 - asked in `metric_of`
    scores = np.clip(one.probabilities[rows], 0.0, 1.0)
    names = pair.plan.classes
    if len(names) == 2:
        return made.binary(pair.truth[rows], scores=scores[:, 1], positive=names[1])
    return made.multiclass(pair.truth[rows], names, scores=scores)


def _more(value: float, high: float, limit: float, rows: int) -> int | None:
    """About how many rows would do: an interval shrinks with their root."""
    if not (math.isfinite(high) and value < limit):
        return None
    return math.ceil(rows * ((high - value) / (limit - value)) ** 2)
