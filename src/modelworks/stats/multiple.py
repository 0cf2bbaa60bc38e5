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


def holm_levels(alpha: float, count: int) -> tuple[float, ...]:
    """The levels of Holm's steps: the clearest of the tests is made at the first, and so on.

    Args:
        alpha: chance of any false finding.
        count: of tests.
    """
    return tuple(alpha / left for left in range(count, 0, -1))


def holm_found(refutes: Callable[[int, float], bool], count: int, alpha: float) -> tuple[bool, ...]:
    """Holm's procedure where a test is an interval: which ones are found, at the levels they need.

    A test that is found frees its part of alpha for the others. For intervals that are valid at
    all looks what is found once stays found.

    Source: Holm (1979), section 3.

    Args:
        refutes: whether test number so and so finds something at a level; what it finds at a level
            it has to find at any larger one.
        count: of tests.
        alpha: chance of any false finding.
    """
    found = [False] * count
    while not all(found):
        level = alpha / (count - sum(found))
        more = [n for n in range(count) if not found[n] and refutes(n, level)]
        if not more:
            break
        for number in more:
            found[number] = True
    return tuple(found)
