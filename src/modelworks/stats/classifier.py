"""Two samples of vectors against each other: whether a classifier can tell them apart."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MOST_ROWS: Final = 10_000
_ROUNDS: Final = 25
_RIDGE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Separation:
    """How well a classifier tells two samples apart.

    Attributes:
        auc: area under its ROC curve on rows that it has not seen; 0.5 = not at all.
        p_value: of no difference, one-sided.
        weights: by column: the classifier's coefficients, of the column and of its square together.
        rows: that it was tested on.
        centre: of the columns it was trained on.
        scale: of them.
        coefficients: of one, the columns, and their squares.
    """

    auc: float
    p_value: float
    weights: Array
    rows: int
    centre: Array
    scale: Array
    coefficients: Array

    def odds(self, rows: Any) -> Array:
        """How much likelier each row is in the second sample than in the first, up to a factor."""
        given = _design(np.asarray(rows, np.float64), self.centre, self.scale)
        return np.asarray(np.exp(np.clip(given @ self.coefficients, -20.0, 20.0)))


def separate(first: Any, second: Any, seed: int = 0, most: int = MOST_ROWS) -> Separation:
    """Train a classifier on half of the rows and test it on the other half.

    A logistic regression on standardised columns and their squares, so that shifts of place and of
    width are seen. Source: Lopez-Paz and Oquab (2017), "Revisiting classifier two-sample tests";
    the test rows are ranked by Mann and Whitney (1947), which needs no threshold, and as the
    classifier never saw them its p-value needs no permutation.

    Args:
        first: rows x columns; NaN = missing.
        second: rows x the same columns.
        seed: of the choice of rows.
        most: rows of each sample that are used.

    Raises:
        ValueError: fewer than four rows in a sample.
    """
    if min(len(first), len(second)) < 4:
        raise ValueError("a sample needs at least four rows to train on and test")
    rng = np.random.default_rng(seed)
    one, other = (_chosen(rows, most, rng) for rows in (first, second))
    halves = [(len(rows) + 1) // 2 for rows in (one, other)]
    train = np.concatenate([one[: halves[0]], other[: halves[1]]])
    test = np.concatenate([one[halves[0] :], other[halves[1] :]])
    labels = np.repeat([0.0, 1.0], halves)
    centre, scale = _moments(train)
    coefficients = _fit(_design(train, centre, scale), labels)
    scores = _design(test, centre, scale) @ coefficients
    split = len(one) - halves[0]
    auc, p_value = rank_test(scores[:split], scores[split:])
    columns = first.shape[1]
    together = np.hypot(coefficients[1 : columns + 1], coefficients[columns + 1 :])
    return Separation(auc, p_value, together, len(test), centre, scale, coefficients)


def rank_test(first: Array, second: Array) -> tuple[float, float]:
    """Chance that a value of the second sample exceeds one of the first, and its p-value.

    Mann and Whitney's U over n m, ties as halves; one-sided, by the normal law with its correction
    for ties.
    """
    from scipy.special import ndtr  # noqa: PLC0415 - a quarter of a second of import

    sizes = len(first), len(second)
    values = np.concatenate([first, second])
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    above = ranks[sizes[0] :].sum() - sizes[1] * (sizes[1] + 1) / 2
    total = sum(sizes)
    ties = float((counts.astype(np.float64) ** 3 - counts).sum()) / (total * (total - 1))
    spread = np.sqrt(sizes[0] * sizes[1] / 12 * (total + 1 - ties))
    if not spread > 0:
        return 0.5, 1.0
    deviation = (above - sizes[0] * sizes[1] / 2) / spread
    return float(above / (sizes[0] * sizes[1])), float(ndtr(-deviation))


def _chosen(rows: Any, most: int, rng: np.random.Generator) -> Array:
    order = rng.permutation(len(rows))[:most]
    return np.asarray(rows[order], np.float64)


def _moments(rows: Array) -> tuple[Array, Array]:
    present = np.isfinite(rows)
    count = np.maximum(present.sum(0), 1)
    centre = np.where(present, rows, 0.0).sum(0) / count
    scale = np.sqrt((np.where(present, rows - centre, 0.0) ** 2).sum(0) / count)
    scale[~(scale > 0)] = 1.0
    return centre, scale


def _design(rows: Array, centre: Array, scale: Array) -> Array:
    """One, columns, squares; a missing value stands in the centre, a far one is cut."""
    plain = np.clip(np.nan_to_num((rows - centre) / scale, posinf=5.0, neginf=-5.0), -5.0, 5.0)
    return np.concatenate([np.ones((len(rows), 1)), plain, plain**2 - 1.0], axis=1)


def _fit(design: Array, labels: Array) -> Array:
    """Logistic regression with a ridge, by Newton's steps."""
    coefficients = np.zeros(design.shape[1])
    ridge = np.full(design.shape[1], _RIDGE)
    ridge[0] = 1e-6
    for _ in range(_ROUNDS):
        chances = 1 / (1 + np.exp(-np.clip(design @ coefficients, -30.0, 30.0)))
        slope = design.T @ (labels - chances) - ridge * coefficients
        weights = np.maximum(chances * (1 - chances), 1e-6)
        curvature = (design * weights[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(curvature, slope)
        coefficients += step
        if float(np.abs(step).max()) < 1e-6:
            break
    return coefficients
