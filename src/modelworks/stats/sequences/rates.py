"""Rates: how much more often something happens in one arm than in another.

The exponents are the exact log-likelihood ratios of Bernoulli trials, so that no large-sample law
is used: the interval is valid from the first row on, with events that are as rare as can be.
"""

import math
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.stats.sequences.between import Between
from modelworks.stats.sequences.region import Exponents, least, project
from modelworks.stats.sequences.tilts import Aim, Floats, Mixture, mixture, threshold

LARGEST: Final = 4.0
"""Log odds ratio: 1 % of errors that have become 36 %."""
SMALLEST: Final = 0.002


def difference(
    stable_events: int,
    stable_count: int,
    candidate_events: int,
    candidate_count: int,
    alpha: float,
    aim: Aim | None = None,
) -> Between:
    """Candidate's rate less the stable arm's.

    Valid at every look and for any number of rows of either arm: the chance that the true
    difference ever lies outside, to either side, is at most alpha. Source: `tilts`; an exponent is
    l * events - count * log(1 - p + p e^l), Howard and others (2020), section 3.1 (sub-Bernoulli).

    Args:
        stable_events: among its rows.
        stable_count: of rows.
        candidate_events: among its rows.
        candidate_count: of rows.
        alpha: chance of ever missing.
        aim: `aim_at` what is to be found soonest; to be chosen before the first look.

    Raises:
        InvalidError: more events than rows, or an alpha that is none.
    """
    for name, events, count in (
        ("stable_events", stable_events, stable_count),
        ("candidate_events", candidate_events, candidate_count),
    ):
        if not 0 <= events <= count:
            raise InvalidError(f"{name}: {events} events of {count} rows", field=name)
    needed = threshold(alpha)
    one, other = stable_events / max(stable_count, 1), candidate_events / max(candidate_count, 1)
    mixed = _mixed(aim)
    return project(
        mixed,
        (
            exponents(mixed, stable_events, stable_count),
            exponents(mixed, candidate_events, candidate_count),
        ),
        (one, other),
        (float(_spread(one, stable_count)), float(_spread(other, candidate_count))),
        needed,
    )


def log_evidence(
    stable: tuple[Any, Any], candidate: tuple[Any, Any], null: Any, aim: Aim | None = None
) -> Floats:
    """Evidence against a difference, of many experiments at once.

    Args:
        stable: (events, count), arrays of one shape.
        candidate: the same.
        null: the difference that is tested.
        aim: as in `difference`.

    Returns:
        Natural logarithm of the evidence; `log(1 / alpha)` refutes.
    """
    mixed = _mixed(aim)
    one, other = ([np.asarray(a, np.float64) for a in arm] for arm in (stable, candidate))
    centres = (one[0] / np.maximum(one[1], 1), other[0] / np.maximum(other[1], 1))
    spreads = (_spread(centres[0], one[1]), _spread(centres[1], other[1]))
    arms = (exponents(mixed, *one), exponents(mixed, *other))
    return least(mixed, arms, centres, spreads, np.broadcast_to(null, centres[0].shape))


def aim_at(effect: float, rate: float, share: float = 0.5) -> Aim:
    """The aim at a difference.

    Args:
        effect: the difference, of either sign.
        rate: about the stable arm's.
        share: of the rows that are the candidate's.
    """
    inside = [min(max(p, 1e-6), 1 - 1e-6) for p in (rate, rate + abs(effect))]
    odds = [math.log(p / (1 - p)) for p in inside]
    return Aim(odds[1] - odds[0], share)


def exponents(mixed: Mixture, events: Any, count: Any) -> Exponents:
    """Of one arm: from rates [..., points] to [..., points, tilts]; counts are [...]."""
    tilts = mixed.tilts
    odds = np.expm1(tilts)
    gained = np.asarray(events, np.float64)[..., None, None] * tilts
    rows = np.asarray(count, np.float64)[..., None, None]

    def at(rates: Floats) -> Floats:
        found: Floats = gained - rows * np.log1p(rates[..., None] * odds)
        return found

    return at


def _spread(rate: Any, count: Any) -> Any:
    return (rate * (1 - rate) + 1 / (count + 4)) / (count + 1)


def _mixed(aim: Aim | None) -> Mixture:
    return mixture(LARGEST, SMALLEST, aim=aim)
