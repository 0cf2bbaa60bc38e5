"""Means of streams between 0 and 1, row by row: confidence sequences by betting.

Whoever believes that the mean is m bets against it at fair odds; a fortune that grows refutes m.
The bets follow what was seen, so that the sequence adapts to the variance: it is the narrowest of
those here, and needs the rows in their order where the others need sums.

Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B
86 (2024; arXiv 2010.09686, 2023): the hedged capital process, theorem 3 and section 4.4; its bets,
equation 26.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.stats.sequences.between import Between
from modelworks.stats.sequences.tilts import Floats, threshold

_CELLS: Final = 400
_MOST: Final = 0.5
"""Share of the fortune that is bet at the most."""


@dataclass(frozen=True, slots=True, eq=False)
class Fortunes:
    """Where all bettors stand after some rows; a new one begins with `begin`.

    Attributes:
        alpha: chance of ever missing.
        means: that are bet against.
        up: logarithm of the fortune of who bets on more, by mean.
        down: of who bets on less.
        rows: so far.
        total: sum.
        squares: of distances from the running mean, which the bets go by.
        low: where the interval begins; it never grows again.
        high: where it ends.
    """

    alpha: float
    means: Floats
    up: Floats
    down: Floats
    rows: int
    total: float
    squares: float
    low: float
    high: float

    @property
    def between(self) -> Between:
        """The interval after these rows."""
        return Between(self.low, self.high)

    def after(self, values: Sequence[float] | Floats) -> "Fortunes":
        """Where they stand after more rows, in their order.

        Args:
            values: each 0 to 1.

        Raises:
            InvalidError: one lies outside.
        """
        given = np.asarray(values, np.float64)
        if given.size and not (given.min() >= 0 and given.max() <= 1):
            raise InvalidError("values: one lies outside 0 to 1; scale them", field="values")
        if not given.size:
            return self
        bets, total, squares = self._bets(given)
        apart = given[:, None] - self.means
        with np.errstate(divide="ignore"):
            most_up, most_down = _MOST / self.means, _MOST / (1 - self.means)
        up = self.up + np.log1p(np.minimum(bets[:, None], most_up) * apart).cumsum(0)
        down = self.down + np.log1p(-np.minimum(bets[:, None], most_down) * apart).cumsum(0)
        # half of the fortune is bet either way; the better half alone already refutes
        ever = np.maximum(up, down).max(0) - math.log(2) >= threshold(self.alpha)
        low, high = self._open(~ever)
        return Fortunes(
            *(self.alpha, self.means, up[-1], down[-1], self.rows + len(given)),
            *(total, squares, low, high),
        )

    def _bets(self, given: Floats) -> tuple[Floats, float, float]:
        """Each row's bet, from the rows before it (equation 26)."""
        rows = self.rows + np.arange(1, len(given) + 1)
        totals = self.total + given.cumsum()
        running = (0.5 + totals) / (rows + 1)
        squares = self.squares + ((given - running) ** 2).cumsum()
        before = np.concatenate([[self.squares], squares[:-1]])
        variance = (0.25 + before) / rows
        bets = np.sqrt(2 * math.log(2 / self.alpha) / (variance * rows * np.log1p(rows)))
        return bets, float(totals[-1]), float(squares[-1])

    def _open(self, kept: Any) -> tuple[float, float]:
        """The means that are not refuted, a cell more to either side, within what was left."""
        inside = np.flatnonzero(kept & (self.means >= self.low) & (self.means <= self.high))
        if not len(inside):  # between two of the means that were bet against
            return self.low, self.high
        first, last = max(int(inside[0]) - 1, 0), min(int(inside[-1]) + 1, len(self.means) - 1)
        return max(self.low, float(self.means[first])), min(self.high, float(self.means[last]))


def begin(alpha: float, cells: int = _CELLS) -> Fortunes:
    """Before the first row.

    Args:
        alpha: chance of ever missing.
        cells: the interval is known to one in so many parts.
    """
    threshold(alpha)
    means = np.linspace(0, 1, cells + 1)
    nothing = np.zeros(cells + 1)
    return Fortunes(alpha, means, nothing, nothing, 0, 0.0, 0.0, 0.0, 1.0)


def mean(values: Sequence[float] | Floats, alpha: float, cells: int = _CELLS) -> Between:
    """The interval of the mean after all rows; the same rows in parts give the same one.

    Args:
        values: each 0 to 1, in their order.
        alpha: chance of ever missing.
        cells: the interval is known to one in so many parts.
    """
    found = begin(alpha, cells)
    for start in range(0, len(values), 1024):
        found = found.after(values[start : start + 1024])
    return found.between


def difference(
    stable: Sequence[float] | Floats,
    candidate: Sequence[float] | Floats,
    alpha: float,
    cells: int = _CELLS,
) -> Between:
    """Candidate's mean less the stable arm's, from pairs of rows, as shadows and replays have them.

    The difference of a pair lies between -1 and 1 and is one row of a stream. Pairs of the same
    request are more alike than requests are, which makes the interval narrower still.

    Args:
        stable: each 0 to 1, in their order.
        candidate: the same; what has no partner is left out.
        alpha: chance of ever missing.
        cells: as `mean`.
    """
    count = min(len(stable), len(candidate))
    one, other = (np.asarray(side, np.float64)[:count] for side in (stable, candidate))
    for name, side in (("stable", one), ("candidate", other)):
        if count and not (side.min() >= 0 and side.max() <= 1):
            raise InvalidError(f"{name}: a value lies outside 0 to 1; scale them", field=name)
    found = mean((1 + other - one) / 2, alpha, cells)
    return Between(2 * found.low - 1, 2 * found.high - 1)
