"""Histograms with bounds that are far apart, made finer where a quantile is looked for.

A quantile is known to its bucket: where buckets are octaves, no quantile is ever proved to be
within a fifth of another. So rows are spread within a bucket: the logarithm of the share above a
value falls in a straight line with the value's logarithm, between what is known at the bounds (the
tail of a Pareto distribution, and nearly that of a log-normal one over an octave). Two arms that
are alike stay alike, whatever they are; what is between bounds is a guess else.
"""

import math
from collections.abc import Mapping
from typing import Final

NEAR: Final = 8.0
"""Around a quantile: as many times more or fewer rows above."""
_PARTS: Final = 32
"""Most of one bucket."""


def refined(buckets: Mapping[float, int], q: float, ratio: float) -> dict[float, int]:
    """The same rows in buckets of which none near the quantile is wider than wanted.

    Args:
        buckets: upper bound -> rows, not cumulative. The first bucket and one without a finite end
            are left as they are: nothing is known of where they begin or end.
        q: of the quantile, 0 to 1.
        ratio: of a bucket's ends, more than 1; finer ones are left as they are.

    Returns:
        Upper bound -> rows; as many rows as before.
    """
    total = sum(buckets.values())
    found: dict[float, int] = {}
    below, seen = 0.0, 0
    for bound in sorted(buckets):
        rows = buckets[bound]
        above, left = (total - seen) / max(total, 1), (total - seen - rows) / max(total, 1)
        seen += rows
        near = above >= (1 - q) / NEAR and left <= (1 - q) * NEAR
        wide = below > 0 and math.isfinite(bound) and bound > below * ratio
        parts = 1
        if near and wide and rows:
            parts = min(_PARTS, math.ceil(math.log(bound / below) / math.log(ratio)))
        placed = 0
        for part in range(1, parts):
            share = part / parts
            upto = round(total * (above - _survival(above, left, share)))
            found[below * (bound / below) ** share] = upto - placed
            placed = upto
        found[bound] = rows - placed
        below = bound
    return found


def quantile(buckets: Mapping[float, int], q: float) -> float:
    """Where it lies: the upper end of its bucket, or the last finite one; 0 = there are no rows."""
    wanted, seen, last = q * sum(buckets.values()), 0, 0.0
    for bound in sorted(buckets):
        seen += buckets[bound]
        last = bound if math.isfinite(bound) else last
        if seen >= wanted:
            break
    return last


def _survival(above: float, left: float, share: float) -> float:
    """Share of the rows above a place within a bucket, from those above its two ends."""
    if left <= 0:
        return above * (1 - share)
    return float(above * (left / above) ** share)
