"""Importance of features over a window of explained rows, and between two windows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelworks.stats.intervals import LEVEL, Estimate, adjusted, difference, mean


@dataclass(frozen=True, slots=True)
class Importance:
    """What one feature does over a window.

    Attributes:
        feature: name.
        size: mean of the absolute values; of several classes their mean.
        direction: mean of the values of the last class: whether it rather raises or lowers it.
    """

    feature: str
    size: Estimate
    direction: Estimate


@dataclass(frozen=True, slots=True)
class Change:
    """What changed of one feature from one window to another.

    Attributes:
        feature: name.
        before: mean of the absolute values.
        now: the same.
        change: now less before; the intervals of all features hold together.
        clear: whether the interval leaves 0 out.
    """

    feature: str
    before: Estimate
    now: Estimate
    change: Estimate
    clear: bool


def importance(features: Sequence[str], values: Any, level: float = LEVEL) -> list[Importance]:
    """Features by size, the largest first.

    Args:
        features: names, in the order of the columns.
        values: rows x features (x classes).
        level: of confidence.
    """
    table = np.asarray(values, np.float64)
    table = table[..., None] if table.ndim == 2 else table
    found = [
        Importance(
            name,
            _mean(np.abs(table[:, place]).mean(axis=1), level),
            _mean(table[:, place, -1], level),
        )
        for place, name in enumerate(features)
    ]
    return sorted(found, key=lambda one: -one.size.value)


def changes(features: Sequence[str], before: Any, now: Any, level: float = LEVEL) -> list[Change]:
    """Features by how much their importance changed, the most first.

    Args:
        features: names, in the order of the columns.
        before: values of the earlier window.
        now: values of the later one.
        level: of confidence, over all features together.
    """
    each = adjusted(level, len(features))
    old = {one.feature: one.size for one in importance(features, before, each)}
    new = {one.feature: one.size for one in importance(features, now, each)}
    found = []
    for name in features:
        change = difference(new[name], old[name])
        clear = change.low > 0 or change.high < 0
        found.append(Change(name, old[name], new[name], change, clear))
    return sorted(found, key=lambda one: (not one.clear, -abs(one.change.value)))


def _mean(values: Any, level: float) -> Estimate:
    count = len(values)
    error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return mean(float(values.mean()), error, count, level)
