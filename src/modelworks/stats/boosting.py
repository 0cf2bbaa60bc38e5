"""Boosted regression trees on counted columns: a small learner for what a loss depends on.

Gradient boosting for squared error (Friedman, Annals of Statistics 29, 2001) over columns cut at
their quantiles (as LightGBM does), trees of a fixed depth, level by level.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.stats.intervals import Floats

_CELLS: Final = 32
_DEPTH: Final = 3
_TREES: Final = 60
_RATE: Final = 0.15
_FEWEST: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Boosted:
    """A fitted sum of trees.

    Attributes:
        edges: of each column's cells; the last cell is for what is missing.
        base: mean of the target.
        splits: [trees, depth levels x nodes, 2]: column and last cell that goes left.
        leaves: [trees, leaves].
        low: least target that was seen; answers are kept within.
        high: greatest.
    """

    edges: tuple[Floats, ...]
    base: float
    splits: Any
    leaves: Floats
    low: float
    high: float

    def predict(self, rows: Any) -> Floats:
        """The target that is expected of each row, [rows, columns] with NaN = missing."""
        cells = _cells(np.asarray(rows, np.float64), self.edges)
        found = np.full(len(cells), self.base)
        every = np.arange(len(cells))
        for splits, leaves in zip(self.splits, self.leaves, strict=True):
            node = np.zeros(len(cells), np.int64)
            for _ in range(_DEPTH):
                column, last = splits[node, 0], splits[node, 1]
                node = 2 * node + 1 + (cells[every, column] > last)
            found += leaves[node - (2**_DEPTH - 1)]
        kept: Floats = np.clip(found, self.low, self.high)
        return kept


def fit_boosted(rows: Any, target: Any, trees: int = _TREES) -> Boosted:
    """Learn a target from columns.

    Args:
        rows: [rows, columns], NaN = missing.
        target: one a row.
        trees: how many.
    """
    rows, target = np.asarray(rows, np.float64), np.asarray(target, np.float64)
    edges = tuple(_edges(rows[:, k]) for k in range(rows.shape[1]))
    cells = _cells(rows, edges)
    base = float(target.mean())
    rest = target - base
    splits = np.zeros((trees, 2**_DEPTH - 1, 2), np.int64)
    leaves = np.zeros((trees, 2**_DEPTH))
    for number in range(trees):
        node = _grow(cells, rest, splits[number])
        leaf = node - (2**_DEPTH - 1)
        counts = np.bincount(leaf, minlength=2**_DEPTH)
        sums = np.bincount(leaf, rest, 2**_DEPTH)
        leaves[number] = _RATE * sums / np.maximum(counts + 1, 1)
        rest = rest - leaves[number][leaf]
    return Boosted(edges, base, splits, leaves, float(target.min()), float(target.max()))


def _grow(cells: Any, rest: Floats, splits: Any) -> Any:
    """One tree: writes its splits, and says in which node each row ends."""
    node = np.zeros(len(cells), np.int64)
    columns, width = cells.shape[1], _CELLS + 1
    for level in range(_DEPTH):
        first, count = 2**level - 1, 2**level
        best = np.full(count, -np.inf)
        splits[first : first + count] = (0, width)  # all to the left
        for column in range(columns):
            place = (node - first) * width + cells[:, column]
            sums = np.bincount(place, rest, count * width).reshape(count, width)
            sizes = np.bincount(place, minlength=count * width).reshape(count, width)
            left, below = sums.cumsum(axis=1), sizes.cumsum(axis=1)
            right, above = left[:, -1:] - left, below[:, -1:] - below
            gain = left**2 / np.maximum(below, 1) + right**2 / np.maximum(above, 1)
            gain[(below < _FEWEST) | (above < _FEWEST)] = -np.inf
            chosen = gain.argmax(axis=1)
            found = gain[np.arange(count), chosen]
            better = found > best
            best[better] = found[better]
            splits[first : first + count][better] = np.stack(
                [np.full(better.sum(), column), chosen[better]], axis=1
            )
        column, last = splits[node, 0], splits[node, 1]
        node = 2 * node + 1 + (cells[np.arange(len(cells)), column] > last)
    return node


def _edges(column: Floats) -> Floats:
    known = column[np.isfinite(column)]
    if not len(known):
        return np.zeros(0)
    return np.unique(np.quantile(known, np.linspace(0, 1, _CELLS + 1)[1:-1]))


def _cells(rows: Floats, edges: tuple[Floats, ...]) -> Any:
    found = np.empty(rows.shape, np.int64)
    for number, inner in enumerate(edges):
        column = rows[:, number]
        found[:, number] = np.searchsorted(inner, column, side="left")
        found[~np.isfinite(column), number] = _CELLS
    return found


def document(found: Boosted) -> dict[str, Any]:
    """As JSON; `restored` reads it."""
    return {
        "edges": [edge.tolist() for edge in found.edges],
        "base": found.base,
        "splits": found.splits.tolist(),
        "leaves": found.leaves.tolist(),
        "low": found.low,
        "high": found.high,
    }


def restored(data: Mapping[str, Any]) -> Boosted:
    """What `document` wrote."""
    return Boosted(
        tuple(np.array(edge, np.float64) for edge in data["edges"]),
        float(data["base"]),
        np.array(data["splits"], np.int64),
        np.array(data["leaves"], np.float64),
        float(data["low"]),
        float(data["high"]),
    )
