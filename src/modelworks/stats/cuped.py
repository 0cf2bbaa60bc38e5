"""CUPED: what is known of a unit from before takes noise out of what is measured after.

Source: Deng, Xu, Kohavi and Walker, "Improving the sensitivity of online controlled experiments by
utilizing pre-experiment data", WSDM 2013, sections 3.1 and 3.2.
"""

from dataclasses import dataclass

from modelworks.core.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one arm's units.

    Attributes:
        count: of units.
        total: of what is measured.
        squares: its squares.
        before: sum of the same (or anything else) from before the experiment.
        before_squares: its squares.
        product: sum of after times before.
    """

    count: float
    total: float
    squares: float
    before: float
    before_squares: float
    product: float


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A difference of two means, with less noise.

    Attributes:
        difference: candidate less stable.
        variance: of it; its root is the standard error.
        slope: what was taken off a unit for each unit of the covariate.
        kept: share of the plain difference's variance that is left: 1 = the past tells nothing.
    """

    difference: float
    variance: float
    slope: float
    kept: float


def adjusted(stable: Sums, candidate: Sums) -> Adjusted:
    """The difference of the means, adjusted for what was before.

    One slope is estimated within both arms together, so that the arms' own difference does not
    enter it. With `sequences.means.half_width` the result is a sequence that is valid at all looks.

    Args:
        stable: sums over its units.
        candidate: the same.

    Raises:
        InvalidError: fewer than three units in an arm.
    """
    if min(stable.count, candidate.count) < 3:
        raise InvalidError("count: an arm has fewer than three units", field="count")
    arms = (stable, candidate)
    parts = [_moments(arm) for arm in arms]
    spread = sum(arm.count * part[1] for arm, part in zip(arms, parts, strict=True))
    shared = sum(arm.count * part[2] for arm, part in zip(arms, parts, strict=True))
    slope = shared / spread if spread > 0 else 0.0
    plain = variance = 0.0
    for arm, (after, before, both) in zip(arms, parts, strict=True):
        plain += after / (arm.count - 1)
        variance += max(after - 2 * slope * both + slope * slope * before, 0.0) / (arm.count - 1)
    apart = candidate.total / candidate.count - stable.total / stable.count
    moved = candidate.before / candidate.count - stable.before / stable.count
    return Adjusted(apart - slope * moved, variance, slope, variance / plain if plain > 0 else 1.0)


def _moments(arm: Sums) -> tuple[float, float, float]:
    """(variance after, variance before, covariance)."""
    after, before = arm.total / arm.count, arm.before / arm.count
    return (
        max(arm.squares / arm.count - after * after, 0.0),
        max(arm.before_squares / arm.count - before * before, 0.0),
        arm.product / arm.count - after * before,
    )
