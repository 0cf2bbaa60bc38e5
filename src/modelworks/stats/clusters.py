"""Where vectors lie: the nearest of a few centres."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST: Final = 16
_ROWS_EACH: Final = 20
_ROUNDS: Final = 25
_ROUNDING: Final = 1e-12


def centres(rows: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Centres of clusters of rows, by k-means; at most 16, and one for every 20 rows.

    Source: Lloyd (1982), "Least squares quantization in PCM"; begun as Arthur and Vassilvitskii
    (2007), "k-means++: the advantages of careful seeding".

    Args:
        rows: rows x numbers, all of them finite, at least one.
        seed: of the first centres.
    """
    rng = np.random.default_rng(seed)
    found = _begun(rows, max(1, min(MOST, len(rows) // _ROWS_EACH)), rng)
    places = np.zeros(0, np.int64)
    for _ in range(_ROUNDS):
        before, (places, _) = places, nearest(rows, found)
        if np.array_equal(before, places):
            break
        for place in np.unique(places).tolist():
            found[place] = rows[places == place].mean(0)
    return found


def nearest(
    rows: NDArray[np.float32], found: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(number of the nearest centre, its Euclidean distance) of each row.

    A row that is not finite, or of another width, is nearest to none: -1, at a distance of NaN.
    """
    places = np.full(len(rows), -1)
    apart = np.full(len(rows), np.nan)
    if rows.ndim != 2 or rows.shape[1] != found.shape[1]:
        return places, apart
    good = np.isfinite(rows).all(1)
    squares = _squares(rows[good], found)
    places[good] = squares.argmin(1)
    apart[good] = np.sqrt(squares.min(1)) if len(squares) else squares.sum(1)
    return places, apart


def _begun(rows: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rows far from one another; fewer than asked for where the rows have no more that differ."""
    chosen = [rows[int(rng.integers(len(rows)))]]
    while len(chosen) < count:
        squares = _squares(rows, np.stack(chosen)).min(1)
        total = float(squares.sum())
        if total <= 0:
            break
        chosen.append(rows[int(rng.choice(len(rows), p=squares / total))])
    return np.stack(chosen).astype(np.float32)


def _squares(rows: Any, found: Any) -> NDArray[np.float64]:
    """Squared distances, rows x centres; 0 where rounding is all that there is of one."""
    rows, found = rows.astype(np.float64), found.astype(np.float64)
    lengths = (rows**2).sum(1)[:, None] + (found**2).sum(1)
    squares = lengths - 2 * rows @ found.T
    made: NDArray[np.float64] = np.where(squares > _ROUNDING * lengths, squares, 0.0)
    return made
