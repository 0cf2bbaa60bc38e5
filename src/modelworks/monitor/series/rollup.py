"""Longer windows out of shorter ones: counts add up, percentiles come from added buckets. Pure."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from modelworks.monitor.series.chunk import Key
from modelworks.monitor.series.names import STAGES, Roll, roll_of

TOP_S: Final = 2**34 / 1e9
"""The last finite bound of the server's buckets."""
_TAKES: Final[Mapping[Roll, Callable[[Any], Any]]] = {
    Roll.SUM: np.sum,
    Roll.MAX: np.max,
    Roll.MEAN: np.mean,
}
_SHARES: Final = (("p50_ms", 0.5), ("p99_ms", 0.99))


def rolled(rows: Mapping[Key, Any]) -> dict[Key, float]:
    """One longer window of each series, but for those that are derived.

    Args:
        rows: the values of the shorter windows in it; NaN = nothing was there.
    """
    found = {}
    for key, values in rows.items():
        known = values[~np.isnan(values)]
        how = roll_of(key[0])
        if not len(known) or how is Roll.DERIVED:
            continue
        found[key] = float(_TAKES[how](known))
    return found


def derived(buckets: Mapping[Key, float]) -> dict[Key, float]:
    """Percentiles and means of one window, from its buckets and sums."""
    counts: dict[tuple[str, tuple[tuple[str, str], ...]], dict[float, float]] = {}
    sums = {}
    for (name, labels), value in buckets.items():
        stage, _, kind = name.rpartition("_")
        if stage not in STAGES:
            continue
        if kind == "sum":
            sums[stage, labels] = value
            continue
        told = dict(labels)
        rest = tuple((k, v) for k, v in labels if k != "le")
        counts.setdefault((stage, rest), {})[float(told["le"])] = value
    found: dict[Key, float] = {}
    for (stage, labels), cells in counts.items():
        total = sum(cells.values())
        if not total:
            continue
        for name, share in _SHARES:
            found[f"{stage}_{name}", labels] = quantile(cells, share) * 1e3
        if (stage, labels) in sums:
            found[f"{stage}_mean_ms", labels] = sums[stage, labels] / total * 1e3
    return found


def quantile(cells: Mapping[float, float], share: float) -> float:
    """The value under which that share of the observations lies; linear in its bucket.

    Args:
        cells: upper bound -> observations in the bucket (not cumulative); empty buckets may be
            left out, for a bucket begins at half of its bound at the most (see `BOUNDS` of the
            server: each is twice the one before).
        share: 0.99 for the 99th percentile.

    Returns:
        Beyond the last finite bound nothing is known: that bound.
    """
    wanted = share * sum(cells.values())
    reached = last = 0.0
    for bound in sorted(cells):
        here = cells[bound]
        if here and reached + here >= wanted:
            if math.isinf(bound):
                return max(last, TOP_S)
            low = max(last, bound / 2)
            return low + (bound - low) * max(0.0, wanted - reached) / here
        reached += here
        last = bound
    return last
