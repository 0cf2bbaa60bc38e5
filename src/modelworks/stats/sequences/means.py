"""Means: of figures with known bounds, and of figures without."""

import math
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.stats.sequences.between import ANYTHING, Between
from modelworks.stats.sequences.region import Exponents, least, project
from modelworks.stats.sequences.tilts import Aim, Floats, Mixture, mixture, threshold

Sums = tuple[float, float, float]
"""(count, total, sum of squares)."""
LARGEST: Final = 4.0
SMALLEST: Final = 0.0005
_MOST: Final = 0.9
_TINY: Final = 1e-4
_NEVER: Final = -1e300
FEWEST: Final = 64
"""Rows of an arm below which no large-sample law is used."""
AROUND: Final = 2_000.0
"""Rows (n1 n2 / (n1 + n2)) at which the large-sample sequences are tightest."""


def difference(
    stable: Sums,
    candidate: Sums,
    alpha: float,
    low: float,
    high: float,
    aim: Aim | None = None,
) -> Between:
    """Candidate's mean less the stable arm's, of figures between two bounds: empirical Bernstein.

    Valid at every look and for any number of rows, whatever the distribution. The exponent of an
    arm, with figures scaled to 0 to 1, is l * sum(x - m) - psi(l m) / m^2 * sum((x - m)^2) with
    psi(l) = -log(1 - l) - l, as x - m >= -m; mirrored for l < 0. Sources: Fan, Grama and Liu,
    "Exponential inequalities for martingales with applications", EJP 20 (2015), lemma 4.1; as an
    empirical Bernstein sequence: Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49
    (2021), theorem 4. Here the squares are taken around the mean that is tested, so that sums are
    enough.

    Args:
        stable: (count, total, squares).
        candidate: the same.
        alpha: chance of ever missing.
        low: smallest figure there can be.
        high: largest.
        aim: `aim_at` what is to be found soonest; to be chosen before the first look.

    Raises:
        InvalidError: sums that no figures between the bounds have.
    """
    if not low < high:
        raise InvalidError(f"low: {low} is not below high: {high}", field="low")
    needed = threshold(alpha)
    arms = [scaled(sums, low, high) for sums in (stable, candidate)]
    for name, (count, total, squares) in zip(("stable", "candidate"), arms, strict=True):
        slack = 1e-6 * max(count, 1.0)
        if not (-slack <= total <= count + slack and squares <= total + slack):
            raise InvalidError(
                f"{name}: figures lie outside {low} to {high}; give the bounds that hold",
                field=name,
            )
    centres = (arms[0][1] / max(arms[0][0], 1), arms[1][1] / max(arms[1][0], 1))
    mixed = _mixed(aim)
    found = project(
        mixed,
        (exponents(mixed, *arms[0]), exponents(mixed, *arms[1])),
        centres,
        (float(_spread(*arms[0])), float(_spread(*arms[1]))),
        needed,
    )
    return Between(found.low * (high - low), found.high * (high - low))


def log_evidence(stable: Any, candidate: Any, null: Any, aim: Aim | None = None) -> Floats:
    """Evidence against a difference of figures from 0 to 1, of many experiments at once.

    Args:
        stable: (count, total, squares), arrays of one shape.
        candidate: the same.
        null: the difference that is tested.
        aim: as in `difference`.

    Returns:
        Natural logarithm; `log(1 / alpha)` refutes.
    """
    one, other = ([np.asarray(a, np.float64) for a in sums] for sums in (stable, candidate))
    centres = (one[1] / np.maximum(one[0], 1), other[1] / np.maximum(other[0], 1))
    mixed = _mixed(aim)
    arms = (exponents(mixed, *one), exponents(mixed, *other))
    spreads = (_spread(*one), _spread(*other))
    return least(mixed, arms, centres, spreads, np.broadcast_to(null, centres[0].shape))


def aim_at(effect: float, variance: float, share: float = 0.5) -> Aim:
    """The aim at a difference of figures from 0 to 1.

    Args:
        effect: the difference, of either sign, as a part of the width between the bounds.
        variance: about that of a figure, as a part of the width's square.
        share: of the rows that are the candidate's.
    """
    return Aim(abs(effect) / max(variance, 1e-9), share)


def exponents(mixed: Mixture, count: Any, total: Any, squares: Any) -> Exponents:
    """Of one arm: from means [..., points] to [..., points, tilts]; sums are [...]."""
    tilts = mixed.tilts
    size = np.abs(tilts)
    rows, sums, around = (
        np.asarray(a, np.float64)[..., None, None] for a in (count, total, squares)
    )

    def at(means: Floats) -> Floats:
        mean = means[..., None]
        # the farthest that a figure can lie on the other side of the mean
        reach = np.maximum(np.where(tilts > 0, mean, 1 - mean), _TINY)
        part = size * reach
        price = -(np.log1p(-np.minimum(part, _MOST)) + part) / (reach * reach)
        apart = np.maximum(around - 2 * mean * sums + rows * mean * mean, 0.0)
        found: Floats = tilts * (sums - rows * mean) - price * apart
        return np.where(part <= _MOST, found, _NEVER)

    return at


def difference_asymptotic(
    stable: Sums, candidate: Sums, alpha: float, around: float = AROUND
) -> Between:
    """Candidate's mean less the stable arm's, of figures without bounds.

    Valid at every look from `FEWEST` rows of each arm on, up to the error of the central limit
    theorem there: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit
    theory and asymptotic confidence sequences", Annals of Statistics 52 (2024), theorem 2.2.

    Args:
        stable: (count, total, squares).
        candidate: the same.
        alpha: chance of ever missing.
        around: n1 n2 / (n1 + n2) at which it shall be tightest.
    """
    threshold(alpha)
    (n1, t1, _), (n2, t2, _) = stable, candidate
    if min(n1, n2) < FEWEST:
        return ANYTHING
    first, second = (_variance(*sums) for sums in (stable, candidate))
    apart = t2 / n2 - t1 / n1
    half = half_width(first / n1 + second / n2, n1 * n2 / (n1 + n2), alpha, around)
    return Between(float(apart - half), float(apart + half))


def half_width(variance: Any, rows: Any, alpha: float, around: float = AROUND) -> Any:
    """Half of an asymptotic confidence sequence's width, the normal mixture's.

    Source: theorem 2.2 of the above; the best parameter for a time of one's choice as in Howard and
    others (2021), section 3.5.

    Args:
        variance: of the estimate, [...].
        rows: intrinsic time, [...]: how many rows have made it.
        alpha: chance of ever missing, two-sided.
        around: rows at which it is tightest.
    """
    prior = around / (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha)))
    rows = np.maximum(rows, 1e-300)
    z = np.sqrt((1 + prior / rows) * (np.log1p(rows / prior) - 2 * math.log(alpha)))
    return np.sqrt(variance) * z


def scaled(sums: Sums, low: float, high: float) -> Sums:
    """Sums of (figure - low) / (high - low)."""
    count, total, squares = sums
    width = high - low
    moved = (total - count * low) / width
    return count, moved, (squares - 2 * low * total + count * low * low) / width**2


def _variance(count: float, total: float, squares: float) -> float:
    return max(squares - total * total / count, 0.0) / (count - 1)


def _spread(count: Any, total: Any, squares: Any) -> Any:
    rows = np.maximum(count, 1)
    own = np.maximum(squares / rows - (total / rows) ** 2, 0.0)
    return (own + 1 / (np.asarray(count) + 4)) / (np.asarray(count) + 1)


def _mixed(aim: Aim | None) -> Mixture:
    return mixture(LARGEST, SMALLEST, aim=aim)
