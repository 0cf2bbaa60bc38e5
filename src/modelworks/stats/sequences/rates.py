"""Rates: how much more often something happens in one arm than in another.

The exponents are the exact log-likelihood ratios of Bernoulli trials, so that no large-sample law
is used: the interval is valid from the first row on, with events that are as rare as can be.
"""

from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.stats.sequences.between import Between
from modelworks.stats.sequences.region import Exponents, least, project
from modelworks.stats.sequences.tilts import Floats, Mixture, mixture, threshold

LARGEST: Final = 4.0
"""Log odds ratio: 1 % of errors that have become 36 %."""
SMALLEST: Final = 0.002


def difference(
    stable_events: int,
    stable_count: int,
    candidate_events: int,
    candidate_count: int,
    alpha: float,
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
    return project(
        _mixed(),
        (exponents(stable_events, stable_count), exponents(candidate_events, candidate_count)),
        (one, other),
        (float(_spread(one, stable_count)), float(_spread(other, candidate_count))),
        needed,
    )


def log_evidence(
    stable_events: Any, stable_count: Any, candidate_events: Any, candidate_count: Any, null: Any
) -> Floats:
    """Evidence against a difference, of many experiments at once.

    Args: arrays of one shape, as in `difference`, and
        null: the difference that is tested.

    Returns:
        Natural logarithm of the evidence; `log(1 / alpha)` refutes.
    """
    counts = [
        np.asarray(a, np.float64)
        for a in (stable_events, stable_count, candidate_events, candidate_count)
    ]
    centres = (counts[0] / np.maximum(counts[1], 1), counts[2] / np.maximum(counts[3], 1))
    arms = (exponents(*counts[:2]), exponents(*counts[2:]))
    spreads = (_spread(centres[0], counts[1]), _spread(centres[1], counts[3]))
    return least(_mixed(), arms, centres, spreads, np.broadcast_to(null, centres[0].shape))


def exponents(events: Any, count: Any) -> Exponents:
    """Of one arm: from rates [..., points] to [..., points, tilts]; counts are [...]."""
    tilts = _mixed().tilts
    odds = np.expm1(tilts)
    gained = np.asarray(events, np.float64)[..., None, None] * tilts
    rows = np.asarray(count, np.float64)[..., None, None]

    def at(rates: Floats) -> Floats:
        found: Floats = gained - rows * np.log1p(rates[..., None] * odds)
        return found

    return at


def _spread(rate: Any, count: Any) -> Any:
    return (rate * (1 - rate) + 1 / (count + 4)) / (count + 1)


def _mixed() -> Mixture:
    return mixture(LARGEST, SMALLEST)
