"""Histograms that are looked at again and again: evidence that stays valid however often one looks.

An e-process is a number that, as long as nothing has changed, exceeds `1 / alpha` ever with
probability `alpha` at most (Ville 1939), so that it may be looked at after every row. Here it is
the likelihood of the counts under a mixture of changed distributions, over the largest likelihood
that any distribution near the reference gives them ("universal inference": Wasserman, Ramdas and
Balakrishnan 2020, section 8). "Near" is a ball of relative entropy around the reference's shares:
it holds drifts that are too small to matter, and the error of a reference that is itself a sample.
No large-sample law is used anywhere, so thin counts are safe.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelworks.stats.distances import kl

Array = NDArray[np.float64]
TOLERANCE: Final = 0.005
"""Nats: a normal feature that moves by a tenth of its standard deviation, a PSI of about 0.01."""
_CONCENTRATIONS: Final = (10.0, 100.0, 1000.0)
_SPREAD: Final = 0.05  # of the mixture's centre over all cells: what was never seen may come
_HALVINGS: Final = 40


def reference_radius(size: int, cells: int, chance: float = 1e-4) -> float:
    """How far, in nats, the truth may lie from the shares of a sample, but for a small chance.

    Source: Agrawal (2020), "Finite-sample concentration of the multinomial in relative entropy",
    theorem 1.2: P(KL(sample, truth) >= y / n) <= exp(-y) (e y / (k - 1)) ** (k - 1).

    Args:
        size: of the sample.
        cells: of the histogram.
        chance: that it lies farther.
    """
    free = max(cells - 1, 1)
    low, high = float(free), free + 1.0
    wanted = -np.log(chance)

    def exponent(y: float) -> float:
        return y - free * (1.0 + float(np.log(y / free)))

    while exponent(high) < wanted:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if exponent(middle) < wanted else (low, middle)
    return high / max(size, 1)


def log_evidence(counts: ArrayLike, reference: ArrayLike, radius: ArrayLike) -> Array:
    """Logarithm of the e-process of counts that were added up since a start that was fixed before.

    Args:
        counts: by cell, on the last axis; leading axes are kept.
        reference: shares by cell, as they were measured; cells of 0 are allowed.
        radius: nats around the reference within which nothing counts as a change.

    Returns:
        Natural logarithm; at least `log(1 / alpha)` means: changed, at the level `alpha`.
    """
    given = np.asarray(counts, np.float64)
    shares = np.broadcast_to(np.asarray(reference, np.float64), given.shape)
    total = given.sum(-1)
    near = _nearest(given, shares, np.asarray(radius, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = np.where(given > 0, given * np.log(near), 0.0).sum(-1)
    return np.asarray(np.where(total > 0, _mixture(given, shares) - bound, 0.0))


def log_ceiling(counts: ArrayLike, reference: ArrayLike, radius: ArrayLike) -> Array:
    """A number that `log_evidence` never exceeds, at a fraction of its cost.

    No mixture makes the counts likelier than their own shares do. Where those lie within the ball
    there is none; else exp(-radius) of the reference and the rest of their own shares does.
    """
    given = np.asarray(counts, np.float64)
    total = given.sum(-1)
    shares = np.asarray(reference, np.float64)
    limit = np.asarray(radius, np.float64)
    kept = np.exp(-limit)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        measured = given / total[..., None]
        far = (kl(shares, measured) > limit) & (total > 0)
        near = kept * shares + (1 - kept) * measured
        return np.asarray(np.where(far, total * kl(measured, near), 0.0))


def _nearest(counts: Array, shares: Array, radius: Array) -> Array:
    """The shares within the ball under which the counts are likeliest.

    Lagrange's condition makes them a mixture of the measured shares and the reference's:
    t * measured + (1 - t) * reference, with the largest t that the ball allows.
    """
    total = np.maximum(counts.sum(-1, keepdims=True), 1.0)
    measured = counts / total
    low = np.zeros(counts.shape[:-1])
    high = np.ones(counts.shape[:-1])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        mixed = middle[..., None] * measured + (1 - middle[..., None]) * shares
        fits = kl(shares, mixed) <= radius
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    share = high[..., None]  # just outside, so that the bound is one
    return np.asarray(share * measured + (1 - share) * shares)


def _mixture(counts: Array, shares: Array) -> Array:
    """Log-likelihood under Dirichlet distributions around the reference, wide ones and narrow."""
    from scipy.special import gammaln, logsumexp  # noqa: PLC0415 - a quarter of a second of import

    total = counts.sum(-1)
    centre = (1 - _SPREAD) * shares + _SPREAD / counts.shape[-1]
    found = []
    for concentration in _CONCENTRATIONS:
        prior = concentration * centre
        cells = (gammaln(prior + counts) - gammaln(prior)).sum(-1)
        found.append(cells + gammaln(concentration) - gammaln(concentration + total))
    return np.asarray(logsumexp(np.stack(found), axis=0) - np.log(len(found)))


@dataclass(frozen=True, slots=True)
class Span:
    """Counts are added up from the beginning of a span to its end, then anew.

    Attributes:
        name: of it.
        hours: its length.
    """

    name: str
    hours: int

    @property
    def starts(self) -> int:
        """How many begin in a week, at least one."""
        return max(1, 168 // self.hours)


SPANS: Final = (Span("hour", 1), Span("day", 24), Span("week", 168), Span("month", 672))


@dataclass(frozen=True, slots=True)
class Spending:
    """What chance of a false alarm each look may spend, so that a week spends no more than its own.

    A week's chance is divided evenly over the spans, and within a span over the features and the
    processes that begin in a week; looks within a process are free. The sum is a union bound: it
    holds whatever features and spans have to do with one another.

    Attributes:
        features: that are looked at together.
        per_week: chance of any false alarm in a week.
        spans: that are looked at.
    """

    features: int
    per_week: float = 0.05
    spans: tuple[Span, ...] = SPANS

    def log_threshold(self, span: Span) -> float:
        """What `log_evidence` of one feature has to reach in a span."""
        level = self.per_week / (len(self.spans) * max(self.features, 1) * span.starts)
        return float(-np.log(level))
