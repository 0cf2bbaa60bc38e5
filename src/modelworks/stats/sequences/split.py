"""Does the split of the traffic hold? A sequential check of the sample ratio."""

import math
from collections.abc import Sequence

from modelworks.core.errors import InvalidError

CONCENTRATION = 1000.0
"""Of the alternatives around the declared shares: a share of a half is off by 1.6 points."""


def mismatch(
    counts: Sequence[int], shares: Sequence[float], concentration: float = CONCENTRATION
) -> float:
    """E-value of a sample-ratio mismatch: reject at 1 / alpha, at any look, as often as one likes.

    Source: Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022,
    section 3: a Dirichlet mixture over the shares against those declared.

    What is counted must be assigned independently: users where the split is sticky, not their
    requests. Counts of periods with different shares: multiply the e-values of the periods.

    Args:
        counts: by arm.
        shares: that were declared, in the same order; they are scaled to add up to 1.
        concentration: of the Dirichlet distribution.

    Returns:
        E-value; 1 = no evidence; at most e^700.

    Raises:
        InvalidError: no share for an arm, or shares that are none.
    """
    if len(counts) != len(shares) or not shares:
        raise InvalidError(f"shares: {len(shares)} for {len(counts)} arms", field="shares")
    total = math.fsum(shares)
    if min(shares) < 0 or not total > 0 or min(counts) < 0:
        raise InvalidError("shares: below 0, or all of them 0", field="shares")
    found = math.lgamma(concentration) - math.lgamma(concentration + sum(counts))
    for count, share in zip(counts, shares, strict=True):
        if share == 0:
            if count:
                return math.exp(700.0)
            continue
        prior = concentration * share / total
        found += math.lgamma(prior + count) - math.lgamma(prior)
        found -= count * math.log(share / total)
    return math.exp(min(found, 700.0))
