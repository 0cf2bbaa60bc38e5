"""Rates as a Bayesian sees them: the chance to be better, and what a wrong choice would cost.

These answer "which one would I take today?". They hold no error rate under peeking: a roll-out is
decided by `sequences`; this is for people to read and for bandits.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from modelworks.core.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Beta:
    """What is believed of a rate.

    Attributes:
        hits: of the Beta distribution, above 0; the prior's 1 is the uniform one.
        misses: the other parameter, above 0.
    """

    hits: float = 1.0
    misses: float = 1.0

    def __post_init__(self) -> None:
        if not (self.hits > 0 and self.misses > 0):
            raise InvalidError("hits, misses: a Beta distribution wants both above 0", field="hits")

    @property
    def mean(self) -> float:
        """Expected rate."""
        return self.hits / (self.hits + self.misses)

    def after(self, events: float, count: float) -> "Beta":
        """What is believed after so many events among so many rows."""
        return Beta(self.hits + events, self.misses + count - events)


def better(stable: Beta, candidate: Beta) -> float:
    """Chance that the candidate's rate is the higher one.

    Source: Gelman and others, "Bayesian Data Analysis" (3rd edition), section 2.4, for the
    posterior; the integral over the candidate's rate is done along its own quantiles.

    Args:
        stable: posterior of the rate.
        candidate: the same.
    """
    from scipy.special import betainc, betaincinv  # noqa: PLC0415 - a quarter of a second of import

    # the narrower of the two is integrated over, so that the curve in between is a smooth one
    swap = _variance(stable) < _variance(candidate)
    inner, outer = (stable, candidate) if swap else (candidate, stable)
    shares, weights = _shares()
    places = betaincinv(inner.hits, inner.misses, shares)
    below = float(weights @ betainc(outer.hits, outer.misses, places))
    return 1 - below if swap else below


def expected_loss(stable: Beta, candidate: Beta) -> float:
    """What is lost by taking the candidate: its shortfall, on average, 0 where it is no shortfall.

    Source: Stucchio, "Bayesian A/B testing at VWO" (2015), section 6. With x p(x) of a Beta being
    again a Beta, the expectation is two chances to be better.

    Args:
        stable: posterior of the rate, higher = better.
        candidate: the same.

    Returns:
        In units of the rate.
    """
    one = stable.mean * better(candidate, Beta(stable.hits + 1, stable.misses))
    other = candidate.mean * better(Beta(candidate.hits + 1, candidate.misses), stable)
    return max(one - other, 0.0)


def _variance(one: Beta) -> float:
    return one.mean * (1 - one.mean) / (one.hits + one.misses + 1)


@lru_cache(maxsize=1)
def _shares() -> tuple[
    np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]
]:
    points, weights = np.polynomial.legendre.leggauss(128)
    return (points + 1) / 2, weights / 2
