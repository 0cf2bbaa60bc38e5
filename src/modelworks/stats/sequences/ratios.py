"""Ratios of two sums by unit, as clicks a visit or cost a token: the delta method."""

from dataclasses import dataclass

from modelworks.core.errors import InvalidError
from modelworks.stats.sequences.between import ANYTHING, Between
from modelworks.stats.sequences.means import AROUND, FEWEST, half_width
from modelworks.stats.sequences.tilts import threshold


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one arm, over its units (users, sessions), which are independent of one another.

    Attributes:
        count: of units.
        total: of the numerators.
        squares: theirs.
        below: sum of the denominators.
        below_squares: theirs.
        product: sum of numerator times denominator.
    """

    count: float
    total: float
    squares: float
    below: float
    below_squares: float
    product: float


def difference(stable: Sums, candidate: Sums, alpha: float, around: float = AROUND) -> Between:
    """Candidate's ratio less the stable arm's.

    Valid at every look from some `means.FEWEST` units of each arm on, up to the error of the
    central limit theorem there. Sources: variance by the delta method, Deng, Knoblich and Lu,
    "Applying the delta method in metric analytics", KDD 2018, section 3; sequence as
    `means.difference_asymptotic`, for an asymptotically linear estimate (Waudby-Smith and others
    (2024), section 2.5).

    Args:
        stable: sums over its units.
        candidate: the same.
        alpha: chance of ever missing.
        around: n1 n2 / (n1 + n2) units at which it is tightest.
    """
    threshold(alpha)
    if min(stable.count, candidate.count) < FEWEST:
        return ANYTHING
    (one, first), (other, second) = estimate(stable), estimate(candidate)
    units = stable.count * candidate.count / (stable.count + candidate.count)
    half = float(half_width(first + second, units, alpha, around))
    return Between(other - one - half, other - one + half)


def estimate(sums: Sums) -> tuple[float, float]:
    """(ratio, variance of it).

    Raises:
        InvalidError: the denominators add up to nothing.
    """
    if not sums.below > 0:
        raise InvalidError("below: the denominators add up to nothing", field="below")
    ratio = sums.total / sums.below
    apart = sums.squares - 2 * ratio * sums.product + ratio * ratio * sums.below_squares
    return ratio, max(apart, 0.0) / sums.below**2 * sums.count / max(sums.count - 1, 1)
