"""Metrics of predicted numbers."""

import math
from typing import Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.evaluation.measured import Measured, average, of_sums
from modelworks.evaluation.predictions import Predictions
from modelworks.stats import intervals
from modelworks.stats.intervals import LEVEL, Floats, Scale

_TINY: Final = 1e-300


def of_numbers(
    given: Predictions, level: float = LEVEL, quantile: float | None = None
) -> list[Measured]:
    """MAE, RMSE, MAPE, sMAPE, R2, median absolute error, bias, and the pinball loss.

    MAPE is over the rows whose truth is not 0, sMAPE is `2 |e| / (|y| + |p|)` with 0 where both are
    0, bias is the mean of prediction less truth. The median is not weighted.

    Args:
        given: of a regression.
        level: of the intervals.
        quantile: that the model predicts; None = no pinball loss.

    Raises:
        InvalidError: the quantile is not between 0 and 1.
    """
    truth, weights = given.truth, given.weights
    off = given.labels - truth
    size = np.abs(off)
    with np.errstate(all="ignore"):
        share = np.where(truth == 0, math.nan, size / np.maximum(np.abs(truth), _TINY))
        both = np.abs(truth) + np.abs(given.labels)
        even = np.where(both > 0, 2 * size / np.maximum(both, _TINY), 0.0)
    found = [
        average("mae", size, weights, level, Scale.LOG),
        _rmse(off, weights, level),
        average("mape", share, weights, level, Scale.LOG),
        average("smape", even, weights, level, Scale.LOG),
        _r2(truth, off, weights, level),
        _median(size, level),
        average("bias", off, weights, level),
    ]
    if quantile is not None:
        if not 0 < quantile < 1:
            raise InvalidError(f"quantile: {quantile} is not between 0 and 1", field="quantile")
        loss = np.where(off <= 0, -quantile * off, (1 - quantile) * off)
        found.append(average(f"pinball@{quantile:g}", loss, weights, level, Scale.LOG))
    return found


def _rmse(off: Floats, weights: Floats, level: float) -> Measured:
    terms = np.stack([weights * np.square(off), weights], axis=1)
    return of_sums(
        "rmse", terms, lambda sums: np.sqrt(sums[..., 0] / sums[..., 1]), Scale.LOG, level
    )


def _r2(truth: Floats, off: Floats, weights: Floats, level: float) -> Measured:
    """1 - squared errors / squared distances from the mean; not defined for a constant truth."""
    moved = truth - truth.mean()  # large offsets would eat the digits
    terms = np.stack(
        [weights * np.square(off), weights * np.square(moved), weights * moved, weights], axis=1
    )

    def value(sums: Floats) -> Floats:
        spread = sums[..., 1] - np.square(sums[..., 2]) / sums[..., 3]
        return np.asarray(1 - sums[..., 0] / np.where(spread > 1e-12, spread, math.nan), np.float64)

    return of_sums("r2", terms, value, Scale.PLAIN, level)


def _median(size: Floats, level: float) -> Measured:
    estimate = intervals.quantile(size, 0.5, level)
    influence = np.zeros(len(size))
    if not math.isnan(estimate.low):
        error = (estimate.high - estimate.low) / (2 * intervals.z_of(level))
        influence = np.sign(size - estimate.value) * error / math.sqrt(len(size))
    return Measured("median_ae", estimate, len(size), influence)
