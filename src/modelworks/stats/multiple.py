"""Many tests at once."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """P-values adjusted to the false discovery rate, for independent or positively dependent tests.

    Source: Benjamini and Hochberg (1995), section 3.1.

    Args:
        p_values: of the tests; NaN = was not made, and stays NaN.
    """
    return _step_up(p_values, lambda _count: 1.0)


def benjamini_yekutieli(p_values: ArrayLike) -> NDArray[np.float64]:
    """The same under any dependence, at the price of a factor of about the logarithm of the count.

    Source: Benjamini and Yekutieli (2001), theorem 1.3.
    """
    return _step_up(p_values, lambda count: float((1.0 / np.arange(1, count + 1)).sum()))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """P-values adjusted to the probability of any false finding at all, under any dependence.

    Source: Holm (1979), section 3.
    """
    given = np.asarray(p_values, np.float64)
    found = np.full(given.shape, np.nan)
    made = np.flatnonzero(~np.isnan(given))
    order = made[np.argsort(given[made], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1.0)
    return found


def _step_up(p_values: ArrayLike, penalty: Callable[[int], float]) -> NDArray[np.float64]:
    given = np.asarray(p_values, np.float64)
    found = np.full(given.shape, np.nan)
    made = np.flatnonzero(~np.isnan(given))
    if not len(made):
        return found
    order = made[np.argsort(given[made], kind="stable")]
    count = len(order)
    scaled = given[order] * count / np.arange(1, count + 1) * penalty(count)
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return found
