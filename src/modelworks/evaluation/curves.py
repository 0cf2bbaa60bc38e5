"""Points of ROC and precision-recall curves, few enough to draw."""

from typing import Any, Final

import numpy as np

from modelworks.stats.intervals import Floats

_POINTS: Final = 200


def roc_points(truth: Any, scores: Floats, weights: Floats) -> list[tuple[float, float]]:
    """(false positive rate, true positive rate), rising; empty where one class is missing."""
    hits, false = _running(truth, scores, weights)
    if not len(hits) or hits[-1] <= 0 or false[-1] <= 0:
        return []
    return [(0.0, 0.0), *_thinned(false / false[-1], hits / hits[-1])]


def pr_points(truth: Any, scores: Floats, weights: Floats) -> list[tuple[float, float]]:
    """(recall, precision), recall rising; empty without a positive row."""
    hits, false = _running(truth, scores, weights)
    if not len(hits) or hits[-1] <= 0:
        return []
    return _thinned(hits / hits[-1], hits / np.maximum(hits + false, 1e-12))


def _running(truth: Any, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weights of hits and false alarms at each threshold, the highest first."""
    order = np.argsort(-scores, kind="stable")
    last = np.concatenate([scores[order][1:] != scores[order][:-1], [True]])
    hits = np.cumsum(np.where(truth == 1, weights, 0.0)[order])[last]
    false = np.cumsum(np.where(truth == 1, 0.0, weights)[order])[last]
    return hits, false


def _thinned(xs: Floats, ys: Floats) -> list[tuple[float, float]]:
    chosen = np.unique(np.linspace(0, len(xs) - 1, min(len(xs), _POINTS)).astype(int))
    return list(zip(xs[chosen].tolist(), ys[chosen].tolist(), strict=True))
