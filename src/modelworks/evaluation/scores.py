"""Metrics of probabilities: how well they rank, how much they say, whether they mean it.

Sources: AUC's variance: DeLong et al., Biometrics 44 (1988); its interval on the logit scale:
Pepe, The Statistical Evaluation of Medical Tests (2003), 5.2.5; where one class lies wholly above
the other: Newcombe, Statistics in Medicine 25 (2006), method 5. Average precision: scikit-learn's
sum over the thresholds; its interval on the logit scale: Boyd, Eng and Page, ECML 2013, with the
variance from the derivative by each row's weight.
"""

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np

from modelworks.evaluation.measured import Measured, average, mixture, sure, undefined
from modelworks.evaluation.predictions import Predictions, Task
from modelworks.stats import intervals
from modelworks.stats.calibration import calibration_error, edges_of
from modelworks.stats.intervals import LEVEL, Estimate, Floats, Scale

_TINY: Final = float(np.finfo(np.float64).eps)


def roc_auc(truth: Any, scores: Floats, weights: Floats, level: float = LEVEL) -> Measured:
    """Area under the ROC curve: how often a positive is scored above a negative.

    Args:
        truth: 1 = positive.
        scores: a row each; only their order counts.
        weights: of the rows.
        level: of the interval.
    """
    above, below = truth == 1, truth != 1
    total, rest = float(weights[above].sum()), float(weights[below].sum())
    if total <= 0 or rest <= 0:
        return undefined("roc_auc", len(scores))
    order, starts, tie = _ties(scores)
    mass = np.where(above, weights, 0.0)[order], np.where(below, weights, 0.0)[order]
    won = _beaten(mass[1], starts, tie) / rest  # share of negatives below, ties half
    lost = 1 - _beaten(mass[0], starts, tie) / total
    place = np.empty(len(scores))
    place[order] = np.where(above[order], won, lost)
    value = float(np.average(place[above], weights=weights[above]))
    influence = np.where(
        above,
        weights * (place - value) / total * _unbiased(above),
        weights * (place - value) / rest * _unbiased(below),
    )
    error = math.sqrt(float(np.sum(np.square(influence))))
    counts = intervals.kish(weights[above]), intervals.kish(weights[below])
    if value in {0.0, 1.0} or error <= 0:
        estimate = _newcombe(value, *counts, level)
    else:
        estimate = intervals.wald(value, error, Scale.LOGIT, level)
        estimate = replace(estimate, method="delong, logit")
    return Measured("roc_auc", estimate, len(scores), influence)


def average_precision(
    truth: Any, scores: Floats, weights: Floats, level: float = LEVEL
) -> Measured:
    """Area under the precision-recall curve: the mean precision at each positive's score."""
    above = truth == 1
    total = float(weights[above].sum())
    if total <= 0:
        return undefined("average_precision", len(scores))
    order, starts, tie = _ties(-scores)  # the greatest first
    positive = np.where(above, weights, 0.0)[order]
    other = np.where(above, 0.0, weights)[order]
    hits = _upto(positive, starts, tie)  # weight of positives scored at least as high
    false = _upto(other, starts, tie)
    both = np.maximum(hits + false, _TINY)
    value = float(np.sum(positive * hits / both) / total)
    gain = _from(positive * false / np.square(both), starts, tie)
    loss = _from(positive * hits / np.square(both), starts, tie)
    moved = np.where(above[order], hits / both - value + gain, -loss) / total
    influence = np.empty(len(scores))
    influence[order] = weights[order] * moved
    error = math.sqrt(float(np.sum(np.square(influence))))
    estimate = intervals.wald(value, error, Scale.LOGIT, level)
    found = Measured("average_precision", estimate, len(scores), influence)
    return sure(found, intervals.kish(weights[above]), level)


def expected_calibration_error(
    scores: Floats, truth: Any, weights: Floats, level: float = LEVEL
) -> Measured:
    """ECE over ten bins of equal width; see `stats.calibration.calibration_error`."""
    estimate = calibration_error(scores, truth, weights=weights, level=level)
    place = np.searchsorted(edges_of(scores), scores, side="left")
    gaps = weights * (scores - truth)
    signs = np.sign(np.bincount(place, gaps))
    influence = (signs[place] * gaps - weights * estimate.value) / weights.sum()
    return Measured("ece", estimate, len(scores), influence)


def of_scores(given: Predictions, level: float = LEVEL) -> list[Measured]:
    """All metrics of probabilities that fit the task."""
    truth, scores, weights = given.truth, given.scores, given.weights
    if given.task is Task.BINARY:
        held = np.where(truth == 1, scores, 1 - scores)
        return [
            roc_auc(truth, scores, weights, level),
            average_precision(truth, scores, weights, level),
            _mean("log_loss", -np.log(np.maximum(held, _TINY)), weights, level),
            _mean("brier", np.square(scores - truth), weights, level),
            expected_calibration_error(scores, truth, weights, level),
        ]
    if given.task is Task.MULTICLASS:
        flags = np.eye(len(given.classes))[truth]
        held = (scores * flags).sum(axis=1)
        loss = -np.log(np.maximum(held, _TINY))
        brier = np.square(scores - flags).sum(axis=1)
        best = scores.argmax(axis=1)
        sure_of, right = scores.max(axis=1), (best == truth) * 1.0
    else:
        flags = truth * 1.0
        held = np.where(flags == 1, scores, 1 - scores)
        loss = -np.log(np.maximum(held, _TINY)).mean(axis=1)
        brier = np.square(scores - flags).mean(axis=1)
        sure_of, right = scores.ravel(), flags.ravel()
    repeated = weights if len(right) == len(weights) else np.repeat(weights, scores.shape[1])
    ece = expected_calibration_error(sure_of, right, repeated, level)
    if len(right) != len(weights):
        ece = replace(ece, influence=ece.influence.reshape(scores.shape).sum(axis=1))
    return [
        *_over_classes(flags, scores, weights, level),
        _mean("log_loss", loss, weights, level),
        _mean("brier", brier, weights, level),
        replace(ece, count=len(weights)),
    ]


def _over_classes(flags: Floats, scores: Floats, weights: Floats, level: float) -> list[Measured]:
    """Macro and weighted means of one class against the rest; classes without rows are left out."""
    found = []
    for metric in (roc_auc, average_precision):
        every = [metric(flags[:, k], scores[:, k], weights, level) for k in range(flags.shape[1])]
        places = [k for k, one in enumerate(every) if not math.isnan(one.value)]
        parts = [every[k] for k in places]
        name = metric.__name__
        support = np.array([float((weights * flags[:, k]).sum()) for k in places])
        if not parts:
            found += [undefined(f"{mean}_{name}", len(weights)) for mean in ("macro", "weighted")]
            continue
        even = [1 / len(parts)] * len(parts)
        found.append(mixture(f"macro_{name}", parts, even, level))
        shares = (support / support.sum()).tolist()
        found.append(mixture(f"weighted_{name}", parts, shares, level))
    return found


def _mean(name: str, values: Floats, weights: Floats, level: float) -> Measured:
    return average(name, values, weights, level, Scale.LOG)


def _ties(scores: Floats) -> tuple[Any, Any, Any]:
    """The rising order, where each run of equal scores begins in it, and each place's run."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    new = np.concatenate([[True], ranked[1:] != ranked[:-1]])
    return order, np.flatnonzero(new), np.cumsum(new) - 1


def _beaten(mass: Floats, starts: Any, tie: Any) -> Floats:
    """Of each place: the mass in earlier runs and half of its own run's."""
    runs = np.add.reduceat(mass, starts)
    before = np.cumsum(runs) - runs
    found: Floats = (before + runs / 2)[tie]
    return found


def _upto(mass: Floats, starts: Any, tie: Any) -> Floats:
    """Of each place: the mass in its own and earlier runs."""
    found: Floats = np.cumsum(np.add.reduceat(mass, starts))[tie]
    return found


def _from(mass: Floats, starts: Any, tie: Any) -> Floats:
    """Of each place: the mass in its own and later runs."""
    found: Floats = np.cumsum(np.add.reduceat(mass, starts)[::-1])[::-1][tie]
    return found


def _unbiased(rows: Any) -> float:
    count = int(np.sum(rows))
    return math.sqrt(count / (count - 1)) if count > 1 else 1.0


def _newcombe(value: float, above: float, below: float, level: float) -> Estimate:
    """Where no pair, or every pair, is in the wrong order: the interval by the score method."""
    z, half = intervals.z_of(level), (above + below) / 2 - 1

    def beyond(area: float) -> bool:
        spread = 1 + half * ((1 - area) / (2 - area) + area / (1 + area))
        spread *= area * (1 - area) / (above * below)
        return (value - area) ** 2 > z * z * spread

    ends = []
    for outer in (0.0, 1.0):
        near, far = value, outer
        for _ in range(60):
            middle = (near + far) / 2
            near, far = (near, middle) if beyond(middle) else (middle, far)
        ends.append(near if abs(near - outer) > 1e-12 else outer)
    return Estimate(value, ends[0], ends[1], "newcombe 5")
