"""Two samples of numbers against each other; both sorted once, and merged once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EXACT = 2_000
"""Values of both samples together up to which `ks_p_value` counts paths."""


@dataclass(frozen=True, slots=True)
class Gap:
    """How two samples differ.

    Attributes:
        ks: largest distance of the two distribution functions.
        wasserstein: area between them, in the unit of the values.
    """

    ks: float
    wasserstein: float


def gap(reference: Array, current: Array) -> Gap:
    """Compare two sorted samples without NaN and infinities.

    One merge gives both statistics: the gap of the two distribution functions after every value.

    Raises:
        ValueError: an empty sample.
    """
    first, second = len(reference), len(current)
    if not first or not second:
        raise ValueError("both samples need a value")
    values = np.concatenate([reference, current])
    order = np.argsort(values, kind="stable")  # two sorted runs: one pass
    # n2 * (count of the reference) - n1 * (count of the current), in whole numbers
    weights = np.where(order < first, second, -first)
    gaps = np.abs(np.cumsum(weights, out=weights), out=weights)
    values = values[order]
    widths = np.diff(values)
    scale = float(first) * second
    ends = gaps[:-1][widths > 0]  # after the last of equal values; after the very last it is 0
    largest = float(ends.max()) / scale if len(ends) else 0.0
    return Gap(largest, float(np.dot(gaps[:-1], widths)) / scale)


def ks_p_value(distance: float, first: int, second: int) -> float:
    """Two-sided p-value of a Kolmogorov-Smirnov distance; values that repeat make it too large.

    Small samples are counted exactly; of larger ones it is the one-sample law at the harmonic
    size, as `scipy.stats.ks_2samp(method="asymp")` computes it.

    Args:
        distance: of `gap`.
        first: size of a sample.
        second: size of the other.
    """
    if distance <= 0:
        return 1.0
    if first + second <= EXACT:
        return ks_exact(distance, first, second)
    from scipy.stats import kstwo  # noqa: PLC0415 - half a second of import, for who needs it

    size = np.round(first * second / (first + second))
    return float(np.clip(kstwo.sf(distance, size), 0.0, 1.0))


def ks_exact(distance: float, first: int, second: int) -> float:
    """Probability of at least this distance where no value repeats.

    Orders of the two samples are paths through a lattice, all of them equally likely. Those that
    stay nearer than `distance` are counted, diagonal by diagonal, as shares of all paths there, so
    that nothing overflows. Source: Hodges (1958), "The significance probability of the Smirnov
    two-sample test", section 2.
    """
    small, large = sorted((first, second))
    limit = round(distance * small * large)  # distances are whole multiples of 1 / (n1 n2)
    rows = np.arange(small + 1, dtype=np.int64)
    inside = np.zeros(small + 1)  # by row: paths to (row, step - row) that stayed inside
    inside[0] = 1.0 if limit > 0 else 0.0
    for step in range(1, small + large + 1):
        columns = step - rows
        grown = inside * columns / step
        grown[1:] += inside[:-1] * rows[1:] / step
        outside = np.abs(rows * large - columns * small) >= limit
        grown[outside | (columns < 0) | (columns > large)] = 0.0
        inside = grown
    return float(np.clip(1.0 - inside[small], 0.0, 1.0))
