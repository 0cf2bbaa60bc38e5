"""When a costly test first refutes, with the costly part asked only where a cheap one allows it.

Evidence against "no difference" is the least over all common levels, so that it is at most the
evidence at any one level: where that is too little, the rest need not be computed.
"""

import math

import numpy as np

from modelworks.stats.designs.bounds import efficacy
from modelworks.stats.sequences import means, rates
from modelworks.stats.sequences.tilts import log_evidence

_CHUNK = 1_500_000  # evidence values at once


def crossings(module, mixed, stable, candidate, alpha, aim):
    """Looks at which 0 is refuted; after the first one of an experiment none is looked for.

    Args:
        module: `rates` or `means`, whose sums these are.
        mixed: its tilts.
        stable: arrays [experiments, looks].
        candidate: the same.
        alpha: of the interval.
        aim: what the mixture bets on, or None.
    """
    needed, shape = -math.log(alpha), stable[0].shape
    found = np.zeros(shape, bool)
    rows = max(1, _CHUNK // (shape[1] * len(mixed.weights)))
    for start in range(0, shape[0], rows):
        part = slice(start, start + rows)
        one, other = ([side[part] for side in arm] for arm in (stable, candidate))
        found[part] = _crossings(module, mixed, one, other, needed, aim)
    return found


def _crossings(module, mixed, one, other, needed, aim):
    level = _common(module, one, other)
    fits = (
        log_evidence(
            mixed,
            module.exponents(mixed, *one)(level[..., None]),
            module.exponents(mixed, *other)(level[..., None]),
        )[..., 0]
        >= needed
    )
    found = np.zeros(fits.shape, bool)
    left = np.arange(len(fits))
    while len(left):
        left = left[fits[left].any(1)]
        first = fits[left].argmax(1)
        at = [[side[left, first] for side in arm] for arm in (one, other)]
        if not len(left):
            break
        sure = module.log_evidence(at[0], at[1], 0.0, aim) >= needed
        found[left[sure], first[sure]] = True
        fits[left[~sure], first[~sure]] = False
        left = left[~sure]
    return found


def _common(module, one, other):
    """About the level that suits both arms best."""
    if module is rates:
        return (one[0] + other[0]) / np.maximum(one[1] + other[1], 1)
    assert module is means
    return (one[1] + other[1]) / np.maximum(one[0] + other[0], 1)


def normal_mixture(apart, variance, rows, alpha, around):
    """Where the mixture sequential test that knows its horizon and the variance refutes 0."""
    half = means.half_width(np.maximum(variance, 1e-300), rows, alpha, around)
    return np.abs(apart) > half


def planned(apart, variance, times, alpha):
    """Where a test with fifty looks that were planned refutes 0: O'Brien and Fleming's spending."""
    step = max(1, len(times) // 50)
    at = np.arange(len(times) - 1, -1, -step)[::-1]
    upper = np.array(efficacy(times[at], alpha / 2).upper)
    return np.abs(apart[:, at]) >= upper * np.sqrt(np.maximum(variance[..., at], 1e-300))
