"""All numbers at once: what no single feature shows, and what the whole shift costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.monitor.drift import cells as cell
from modelworks.monitor.drift.losses import Impact
from modelworks.monitor.drift.reference import Block, Plain
from modelworks.stats import classifier, discrepancy

Array = NDArray[np.float64]
_LEAST_ROWS: Final = 20
_OVERLAP: Final = 0.02
_APART: Final = 0.98  # AUC: no row of the reference stands for those of the window
_Z: Final = 1.959964


@dataclass(frozen=True, slots=True)
class BlockDrift:
    """What became of features that are looked at together.

    Attributes:
        name: `*`, or a vector's column.
        rows: of the window that had any of them.
        discrepancy: squared maximum mean discrepancy.
        discrepancy_p: its p-value.
        auc: of a classifier that tells the window from the reference; 0.5 = it cannot.
        auc_p: its p-value.
        centroid: distance of the mean vector from the reference's, over the reference's spread;
            None of features.
        features: those that the classifier went by, the heaviest first.
        impact: what the whole shift costs; None = no loss is known, or the two have too little in
            common to say.
        overlap: share of the reference's rows that the estimate rests on, after weighting.
    """

    name: str
    rows: int
    discrepancy: float
    discrepancy_p: float
    auc: float
    auc_p: float
    centroid: float | None
    features: tuple[str, ...]
    impact: Impact | None
    overlap: float

    @property
    def p_value(self) -> float:
        """Of both tests together (Bonferroni)."""
        return min(1.0, 2 * min(self.discrepancy_p, self.auc_p))


def compare(block: Block, plain: Plain, seed: int = 0) -> BlockDrift | None:
    """Compare a block; None = the window has too few rows of it, or not all of its columns."""
    rows = _rows(block, plain)
    if rows is None or len(rows) < _LEAST_ROWS:
        return None
    mean = block.mapped.means(rows)
    squared = discrepancy.discrepancy(mean, block.mean)
    chance = discrepancy.discrepancy_p_value(squared, block.eigenvalues, len(rows), block.rows)
    most = max(100, len(block.sample))
    found = classifier.separate(block.sample, rows, seed, min(most, classifier.MOST_ROWS))
    impact, overlap = _impact(block, found)
    heavy = np.argsort(-found.weights)[:5]
    return BlockDrift(
        block.name,
        len(rows),
        squared,
        chance,
        found.auc,
        found.p_value,
        None if block.columns else _centroid(block, rows),
        tuple(block.columns[place] for place in heavy) if block.columns else (),
        impact,
        overlap,
    )


def _rows(block: Block, plain: Plain) -> NDArray[np.float32] | None:
    if not block.columns:
        rows = plain.vectors.get(block.name)
        return None if rows is None else rows[~np.isnan(rows).all(1)]
    if any(name not in plain.columns for name in block.columns):
        return None
    columns = [_number(plain.columns, name) for name in block.columns]
    return np.stack(columns, axis=1)


def _number(columns: Mapping[str, Any], name: str) -> NDArray[np.float32]:
    array = np.asarray(columns[name])
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and cut
        if array.dtype.kind in "biuf":
            return array.astype(np.float32)
        found = [cell.number_of(value) for value in columns[name]]
        return np.array([np.nan if value is None else value for value in found], np.float32)


def _centroid(block: Block, rows: NDArray[np.float32]) -> float:
    """Euclidean distance of the means, over the root of the reference's total variance."""
    spread = float(np.sqrt(np.nanvar(block.sample.astype(np.float64), axis=0).sum())) or 1.0
    apart = np.nanmean(rows.astype(np.float64), axis=0) - block.centre
    return float(np.sqrt((apart**2).sum())) / spread


def _impact(block: Block, found: classifier.Separation) -> tuple[Impact | None, float]:
    """The reference's loss, weighted by the classifier's odds as density ratio.

    Source: Bickel, Bruckner and Scheffer (2009), "Discriminative learning under covariate shift".
    """
    odds = found.odds(block.sample)
    weights = odds / odds.mean()
    overlap = float(weights.sum() ** 2 / (weights**2).sum()) / len(weights)
    if not len(block.losses) or overlap < _OVERLAP or found.auc > _APART:
        return None, overlap
    losses = block.losses
    loss = float(weights @ losses / weights.sum())
    change = loss - float(losses.mean())
    # error of the difference: linearised, rows independent
    parts = weights * (losses - loss) - (losses - losses.mean())
    error = _Z * float(np.sqrt((parts**2).sum())) / len(weights)
    return Impact(loss, change, change - error, change + error, 0.0), overlap
