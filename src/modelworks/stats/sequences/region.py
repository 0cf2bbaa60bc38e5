"""The differences that a confidence region of two parameters leaves open."""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from modelworks.stats.sequences.between import Between
from modelworks.stats.sequences.tilts import Floats, Mixture, log_evidence

Exponents = Callable[[Floats], Floats]
"""From parameters [...] to exponents [..., tilts]."""
_ACROSS: Final = np.linspace(-0.2, 1.2, 6)
_AROUND: Final = np.array([-6.0, -3.0, -1.2, 0.0, 1.2, 3.0, 6.0])
_INNER: Final = np.linspace(0.0, 1.0, 7)
_STAGES: Final = 3
_CUTS: Final = 12
_ROUNDS: Final = 3


def least(
    mixed: Mixture,
    arms: tuple[Exponents, Exponents],
    centres: tuple[Any, Any],
    spreads: tuple[Any, Any],
    difference: Any,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Floats:
    """Evidence against a difference: the least over all common levels.

    Args:
        mixed: the tilts.
        arms: exponents of the stable arm and of the candidate.
        centres: the two estimates, [...].
        spreads: about their variances, above 0, [...]: where to look closely.
        difference: candidate less stable, [...].
        limits: of the parameters.

    Returns:
        Natural logarithm, [...]. The search is along a line on which the evidence is convex or
        nearly so, between (and somewhat beyond) the levels that suit either arm alone.
    """
    apart = np.asarray(difference, np.float64)[..., None]
    one = np.asarray(centres[0], np.float64)[..., None]
    other = np.asarray(centres[1], np.float64)[..., None] - apart
    first, second = (np.asarray(spread, np.float64)[..., None] for spread in spreads)
    low, high = np.maximum(limits[0], limits[0] - apart), np.minimum(limits[1], limits[1] - apart)
    both = (one * second + other * first) / (first + second)
    near = both + np.sqrt(first * second / (first + second)) * _AROUND
    points = np.sort(np.concatenate([one + (other - one) * _ACROSS, near], axis=-1))
    for _ in range(_STAGES):
        points = np.clip(points, low, high)
        best = log_evidence(mixed, arms[0](points), arms[1](points + apart)).argmin(-1)[..., None]
        left, right = (
            np.take_along_axis(points, np.clip(best + side, 0, points.shape[-1] - 1), -1)
            for side in (-1, 1)
        )
        points = left + (right - left) * _INNER
    return np.asarray(log_evidence(mixed, arms[0](points), arms[1](points + apart)).min(-1))


def project(
    mixed: Mixture,
    arms: tuple[Exponents, Exponents],
    centres: tuple[float, float],
    spreads: tuple[float, float],
    needed: float,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Between:
    """The interval of the differences that are not refuted, rounded outwards.

    Args:
        mixed: the tilts.
        arms: exponents of the stable arm and of the candidate.
        centres: the two estimates.
        spreads: about their variances, above 0.
        needed: logarithm of the evidence that refutes.
        limits: of the parameters.
    """
    middle, width = centres[1] - centres[0], limits[1] - limits[0]
    reach = math.sqrt(2 * (needed + 2) * sum(spreads))
    ends = []
    for sign, far in ((-1.0, width + middle), (1.0, width - middle)):
        inside, outside = 0.0, min(max(reach, 1e-9 * width), far)

        def refuted(away: Floats, sign: float = sign) -> Any:
            shape = np.zeros(len(away))
            at = (centres[0] + shape, centres[1] + shape)
            wide = (spreads[0] + shape, spreads[1] + shape)
            return least(mixed, arms, at, wide, middle + sign * away, limits) >= needed

        while not refuted(np.array([outside]))[0] and outside < far:
            inside, outside = outside, min(2 * outside, far)
        for _ in range(_ROUNDS):
            cuts = np.linspace(inside, outside, _CUTS + 1)[1:]
            hit = np.flatnonzero(refuted(cuts))
            first = int(hit[0]) if len(hit) else _CUTS - 1
            inside, outside = (cuts[first - 1] if first else inside), float(cuts[first])
        # no hole is left out: what is open farther away belongs to the interval
        farther = np.linspace(outside, far, _CUTS)[1:]
        open_ = np.flatnonzero(~refuted(farther))
        if len(open_):
            outside = float(farther[min(int(open_[-1]) + 1, len(farther) - 1)])
        ends.append(middle + sign * outside)
    return Between(float(ends[0]), float(ends[1]))
