"""How far two histograms lie apart. The last axis holds the cells; leading axes are kept."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def shares(counts: ArrayLike, pseudo: float = 0.0) -> Array:
    """Counts as shares.

    Args:
        counts: one a cell.
        pseudo: added to every cell first: 0.5 (Jeffreys' prior) keeps logarithms finite where a
            cell is empty.

    Returns:
        Shares that sum to 1; NaN where nothing was counted.
    """
    given = np.asarray(counts, np.float64) + pseudo
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = given / given.sum(-1, keepdims=True)
    return found


def kl(p: ArrayLike, q: ArrayLike) -> Array:
    """Relative entropy of `p` to `q` in nats; infinite where `q` is 0 and `p` is not.

    Source: Kullback and Leibler (1951), equation 2.4.
    """
    one, other = np.broadcast_arrays(np.asarray(p, np.float64), np.asarray(q, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(one > 0, one * np.log(one / other), 0.0)
    return np.asarray(terms.sum(-1))


def psi(p: ArrayLike, q: ArrayLike) -> Array:
    """Population stability index: `kl(p, q) + kl(q, p)` in nats.

    Source: Jeffreys (1946), the divergence J; the name is that of credit scoring.
    """
    return np.asarray(kl(p, q) + kl(q, p))


def js(p: ArrayLike, q: ArrayLike) -> Array:
    """Jensen-Shannon distance: the root of the divergence to base 2, from 0 to 1.

    Source: Endres and Schindelin (2003), who show that the root is a metric.
    """
    one, other = np.asarray(p, np.float64), np.asarray(q, np.float64)
    middle = (one + other) / 2
    divergence = (kl(one, middle) + kl(other, middle)) / (2 * np.log(2))
    return np.asarray(np.sqrt(np.clip(divergence, 0.0, 1.0)))


def total_variation(p: ArrayLike, q: ArrayLike) -> Array:
    """Half the sum of the absolute differences: the share that would have to move."""
    one, other = np.asarray(p, np.float64), np.asarray(q, np.float64)
    return np.asarray(np.abs(one - other).sum(-1) / 2)


def grid_ks(p: ArrayLike, q: ArrayLike) -> tuple[Array, Array]:
    """Kolmogorov-Smirnov distance as far as ordered cells tell it.

    Returns:
        (distance, bound): the true distance of the samples lies between `distance` and
        `distance + bound`. Inside a cell the two distribution functions can part by no more than
        the larger of the two masses that they gain there.
    """
    one, other = np.asarray(p, np.float64), np.asarray(q, np.float64)
    gaps = np.abs(np.cumsum(one - other, -1)).max(-1)
    return np.asarray(gaps), np.asarray(np.maximum(one, other).max(-1))
