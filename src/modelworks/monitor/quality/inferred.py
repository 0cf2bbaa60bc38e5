"""Quality from few labels: the estimates of all rows, set right by the rows that have one."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from modelworks.evaluation.predictions import Task
from modelworks.monitor.quality.estimator import Estimator
from modelworks.monitor.quality.plan import Plan
from modelworks.monitor.quality.rows import Rows
from modelworks.stats.inference import FEWEST, powered_mean, powered_ratio
from modelworks.stats.intervals import Estimate

_RATES: Final = ("precision", "recall", "f1", "specificity")


def infer(estimator: Estimator, rows: Rows, plan: Plan) -> dict[str, Estimate]:
    """Metrics that are means, or ratios of means; nothing where labels or open rows are too few.

    Of more than two classes accuracy alone, of regressions MAE and RMSE.

    Args:
        estimator: whose guesses are used; bad ones cost width, not truth.
        rows: of the window, with and without their truth.
        plan: of the model.
    """
    known, level = rows.known, plan.level
    if known.sum() < FEWEST or (~known).sum() < FEWEST:
        return {}
    if estimator.losses is not None:
        size, square = estimator.losses.expected(rows)
        off = np.abs(rows.labels - rows.truth)[known]
        mae = powered_mean(off, size[known], size[~known], level=level)
        mean = powered_mean(np.square(off), square[known], square[~known], level=level)
        value, low, high = (max(0.0, end) ** 0.5 for end in (mean.value, mean.low, mean.high))
        return {"mae": mae, "rmse": Estimate(value, low, high, mean.method)}
    if estimator.calibration is None or rows.scores is None:
        return {}
    shares = estimator.calibration.apply(rows.scores)
    right = shares[np.arange(len(rows)), rows.labels]
    hit = (rows.labels == rows.truth)[known] * 1.0
    found = {"accuracy": powered_mean(hit, right[known], right[~known], level=level)}
    if plan.task is Task.BINARY:
        guessed = _terms(rows.labels, shares[:, 1])
        real = _terms(rows.labels[known], rows.truth[known] * 1.0)
        for name in _RATES:
            found[name] = powered_ratio(
                real[name],
                (guessed[name][0][known], guessed[name][1][known]),
                (guessed[name][0][~known], guessed[name][1][~known]),
                level=level,
            )
    return {name: _within(one) for name, one in found.items()}


def _terms(labels: Any, positive: Any) -> Mapping[str, tuple[Any, Any]]:
    """Above and below the line of each rate, a row each, from how positive it is."""
    said = labels * 1.0
    hit = said * positive
    return {
        "precision": (hit, said),
        "recall": (hit, positive),
        "f1": (2 * hit, said + positive),
        "specificity": ((1 - said) * (1 - positive), 1 - positive),
    }


def _within(found: Estimate) -> Estimate:
    value, low, high = np.clip([found.value, found.low, found.high], 0.0, 1.0).tolist()
    return replace(found, value=value, low=low, high=high)
