"""Metrics of predicted classes: what a confusion matrix says."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from modelworks.evaluation.measured import (
    FEW,
    Measured,
    mixture,
    proportion,
    ratio,
    undefined,
)
from modelworks.evaluation.predictions import Predictions
from modelworks.stats import intervals
from modelworks.stats.intervals import LEVEL, Estimate, Floats, Scale

RATES: Final = ("precision", "recall", "f1")
_ZERO: Final = Estimate(0.0, 0.0, 0.0, "undefined, counted as 0")
_RESAMPLES: Final = 1000
_MOST_DRAWN: Final = 100  # classes


def confusion(given: Predictions) -> Floats:
    """Weights of rows by [true class, predicted class]; binary: [negative, positive]."""
    size = max(2, len(given.classes))
    cells = given.truth * size + given.labels
    found = np.bincount(cells, given.weights, size * size).astype(np.float64)
    return found.reshape(size, size)


def binary_rates(truth: Any, said: Any, weights: Floats, level: float = LEVEL) -> list[Measured]:
    """Precision, recall and F1 of one class, as scikit-learn defines them; else not defined.

    Args:
        truth: 1 = the row is of the class.
        said: 1 = the model says so.
        weights: of the rows.
        level: of the intervals.
    """
    hit = weights * truth * said
    precision = proportion("precision", hit, weights * said, level)
    recall = proportion("recall", hit, weights * truth, level)
    return [precision, recall, _f1(hit, weights * np.maximum(truth, said), level)]


def of_binary(given: Predictions, level: float = LEVEL) -> list[Measured]:
    """Accuracy, precision, recall, F1, specificity and MCC."""
    truth, said, weights = given.truth, given.labels, given.weights
    right = weights * (truth == said)
    return [
        proportion("accuracy", right, weights, level),
        *binary_rates(truth, said, weights, level),
        proportion("specificity", weights * (1 - truth) * (1 - said), weights * (1 - truth), level),
        mcc(given, level),
    ]


def of_multiclass(given: Predictions, level: float = LEVEL) -> list[Measured]:
    """Accuracy, MCC, means over the classes, and each class's own rates."""
    truth, said, weights = given.truth, given.labels, given.weights
    places = np.unique(np.concatenate([truth, said]))
    flags = [(given.classes[p], truth == p, said == p) for p in places.tolist()]
    right = weights * (truth == said)
    return [
        proportion("accuracy", right, weights, level),
        mcc(given, level),
        *_means(flags, weights, level),
    ]


def of_multilabel(given: Predictions, level: float = LEVEL) -> list[Measured]:
    """Rows that are right in all labels, means over the labels, and each label's own rates."""
    truth, said, weights = given.truth, given.labels, given.weights
    right = weights * (truth == said).all(axis=1)
    hit = weights * (truth * said).sum(axis=1)
    claimed, wanted = weights * said.sum(axis=1), weights * truth.sum(axis=1)
    flags = [(name, truth[:, k] == 1, said[:, k] == 1) for k, name in enumerate(given.classes)]
    return [
        proportion("accuracy", right, weights, level),
        ratio("micro_precision", hit, claimed, level),
        ratio("micro_recall", hit, wanted, level),
        ratio("micro_f1", 2 * hit, claimed + wanted, level),
        *_means(flags, weights, level),
    ]


def mcc(given: Predictions, level: float = LEVEL) -> Measured:
    """Matthews' correlation for any number of classes (Gorodkin 2004); 0 where a side is constant.

    Where no row is wrong, the interval begins at 1 - 2e, e being Wilson's upper end of the share of
    errors: what the coefficient of two even classes would be.
    """
    truth, said, weights = given.truth, given.labels, given.weights
    size = max(2, len(given.classes))
    true, claimed = (np.bincount(side, weights, size) for side in (truth, said))
    hit = weights * (truth == said)
    rows = len(truth)
    value = float(_mcc(hit.sum(), weights.sum(), true @ claimed, claimed @ claimed, true @ true))
    without = _mcc(
        hit.sum() - hit,
        weights.sum() - weights,
        true @ claimed - weights * (true[said] + claimed[truth]) + weights * hit,
        claimed @ claimed - 2 * weights * claimed[said] + weights**2,
        true @ true - 2 * weights * true[truth] + weights**2,
    )
    influence = math.sqrt((rows - 1) / rows) * (without.mean() - without)
    error = math.sqrt(float(np.sum(np.square(influence))))
    if rows < 2:
        estimate = Estimate(value, math.nan, math.nan, "too few rows")
    elif value >= 1 - 1e-12:
        most = intervals.wilson(0.0, intervals.kish(weights), level).high
        estimate = Estimate(value, 1 - 2 * most, 1.0, "wilson, of no errors")
    elif rows <= FEW and error > 0 and size <= _MOST_DRAWN:
        estimate = intervals.bca(value, _drawn(given, size), influence, level)
    else:
        estimate = intervals.wald(value, error, Scale.FISHER, level)
    return Measured("mcc", estimate, rows, influence)


def _mcc(hit: Any, total: Any, both: Any, claimed: Any, true: Any) -> Floats:
    """From sums: of weights that are right and of all, of products and squares of the margins."""
    spread = (total * total - claimed) * (total * total - true)
    with np.errstate(all="ignore"):
        found = (hit * total - both) / np.sqrt(np.maximum(spread, 0))
    return np.asarray(np.where(spread > 1e-9 * np.square(total), found, 0.0), np.float64)


def _drawn(given: Predictions, size: int) -> Floats:
    """The coefficient of resampled rows."""
    drawn = intervals.resampled(len(given), _RESAMPLES, 0)
    one = np.eye(size) * 1.0
    true = drawn @ (given.weights[:, None] * one[given.truth])
    claimed = drawn @ (given.weights[:, None] * one[given.labels])
    hit = drawn @ (given.weights * (given.truth == given.labels))
    return _mcc(
        hit,
        true.sum(axis=1),
        (true * claimed).sum(axis=1),
        np.square(claimed).sum(axis=1),
        np.square(true).sum(axis=1),
    )


def _f1(hit: Floats, either: Floats, level: float) -> Measured:
    """F1 = 2 J / (1 + J), J being the share of hits among rows of the class or said to be.

    It rises with J, so that the ends of Wilson's interval of J give its own.
    """
    jaccard = proportion("f1", hit, either, level)
    if math.isnan(jaccard.value):
        return jaccard
    low, value, high = (
        2 * share / (1 + share)
        for share in (jaccard.estimate.low, jaccard.value, jaccard.estimate.high)
    )
    slope = 2 / (1 + jaccard.value) ** 2
    estimate = Estimate(value, low, high, "wilson, of tp/(tp+fp+fn)")
    return Measured("f1", estimate, jaccard.count, slope * jaccard.influence)


def _means(flags: Sequence[tuple[str, Any, Any]], weights: Floats, level: float) -> list[Measured]:
    """Macro and weighted means over classes, then the classes; 0 where one is not defined."""
    single = [binary_rates(truth * 1.0, said * 1.0, weights, level) for _, truth, said in flags]
    support = np.array([float((weights * truth).sum()) for _, truth, _ in flags])
    even = np.full(len(flags), 1 / max(1, len(flags)))
    means = []
    for place, rate in enumerate(RATES):
        parts = [_or_zero(rates[place]) for rates in single]
        means.append(mixture(f"macro_{rate}", parts, even.tolist(), level))
        if support.sum() > 0:
            shares = (support / support.sum()).tolist()
            means.append(mixture(f"weighted_{rate}", parts, shares, level))
        else:
            means.append(undefined(f"weighted_{rate}", len(weights)))
    own = [
        replace(rate, name=f"{rate.name}[{name}]")
        for (name, _, _), rates in zip(flags, single, strict=True)
        for rate in rates
    ]
    return means + own


def _or_zero(found: Measured) -> Measured:
    return replace(found, estimate=_ZERO) if math.isnan(found.value) else found
