"""How far apart are two arrays that should be the same? Row by row, a piece at a time.

A row's distance is the larger of two: the root mean square of the difference as a share of the
row's own (at least a hundredth of the whole value's: rows of nothing are not judged by their
rounding), and the largest difference as a share of the value's largest number. The first sees
steps that are too coarse for most numbers, the second one number that is cut off.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.evaluation.parity import as_text

BROKEN: Final = 1e9
"""Distance where one is a number and the other is none (infinity, NaN)."""

_ENDLESS: Final = 1e30  # masks add so much: as good as infinite
_CUT: Final = 5e4  # what half precision has in its place
_SOME: Final = 4096
_FLOOR: Final = 0.01
_TEXTS: Final = "OSU"
_ORDERS: Final = {4: (0, 3, 1, 2), 3: (0, 2, 1)}
"""From channels last to channels first, by the number of axes."""

Floats = NDArray[np.float64]


class Meter:
    """One value of two forms, over all rows that were looked at.

    Attributes:
        misfit: the two shapes, where they are not of the same values; "" = they fit.
        kind: datatype of the second form's.
        low: smallest number of each form that is finite and stands for no infinity.
        high: the largest.
        worst: row, number of the first form, number of the second: where they differ most.
        step: least distance of two numbers of the second form that differ, of some of them.
        nans: numbers of the second form that are NaN where the first form's are none.
        endless: the same of infinity.
    """

    def __init__(self) -> None:
        self.misfit, self.kind = "", ""
        self.low, self.high = [np.inf, np.inf], [-np.inf, -np.inf]
        self.worst = (-1, 0.0, 0.0)
        self.step = np.inf
        self.nans = self.endless = 0
        self._far = -1.0
        self._numbers: list[int] = []
        self._squares: list[Floats] = []  # of the first form, mean by row
        self._differences: list[Floats] = []
        self._largest: list[Floats] = []
        self._broken: list[NDArray[np.bool_]] = []

    def add(self, numbers: list[int], first: Any, second: Any) -> None:
        """Some more rows.

        Args:
            numbers: of the rows.
            first: the value in the first form; [rows, ...], or anything that is no row's alone.
            second: the same in the second form; its channels may be the last axis.
        """
        first, second = np.asarray(first), np.asarray(second)
        self.kind = str(second.dtype)
        if first.dtype.kind in _TEXTS and first.shape == second.shape:
            first, second = np.zeros(first.shape), as_text(first) != as_text(second)
        fitted = None if self.misfit else _fitted(first, second)
        if fitted is None or first.dtype.kind not in "fiub":
            self.misfit = self.misfit or f"{list(first.shape)} and {list(second.shape)}"
            return
        if not first.size:
            return
        rows = len(numbers) if first.ndim and len(first) == len(numbers) else 1
        self._rows(numbers[:rows], *(_flat(one, rows) for one in (first, fitted)))

    @property
    def rows(self) -> int:
        """How many were added; a value that is not one row's alone counts as one each time."""
        return len(self._numbers)

    def apart(self) -> float:
        """The distance of the row that is farthest; 0 = nothing was looked at."""
        return float(self.by_row().max(initial=0.0))

    def by_row(self) -> Floats:
        """The distance of every row."""
        if not self._numbers:
            return np.zeros(0)
        squares, differences = np.concatenate(self._squares), np.concatenate(self._differences)
        largest, broken = np.concatenate(self._largest), np.concatenate(self._broken)
        usual = np.sqrt(np.maximum(squares, squares.mean() * _FLOOR**2))
        top = max(abs(self.low[0]), abs(self.high[0])) if self.high[0] >= self.low[0] else 0.0
        shares = (_share(np.sqrt(differences), usual), _share(largest, np.full_like(largest, top)))
        return np.where(broken, BROKEN, np.minimum(np.maximum(*shares), BROKEN))

    def beyond(self, tolerance: float, most: int = 5) -> tuple[int, ...]:
        """Numbers of the rows that are farther apart than that, the farthest first."""
        far = self.by_row()
        order = np.argsort(-far, kind="stable")[:most]
        return tuple(self._numbers[place] for place in order if far[place] > tolerance)

    def usual(self) -> float:
        """Root mean square of the first form's numbers."""
        return float(np.sqrt(np.concatenate(self._squares).mean())) if self._numbers else 0.0

    def _rows(self, numbers: list[int], first: Floats, second: Floats) -> None:
        with np.errstate(all="ignore"):
            same = (first == second) | (np.isnan(first) & np.isnan(second))
            masked = (np.abs(first) >= _ENDLESS) & (np.sign(first) == np.sign(second))
            same |= masked & (np.abs(second) >= _CUT)
            broken = ~same & (np.isfinite(first) != np.isfinite(second))
            broken |= ~same & ~np.isfinite(first)
            plain = np.isfinite(first) & (np.abs(first) < _ENDLESS)
            far = np.where(same | broken, 0.0, np.abs(first - second))
            own = np.where(plain, first, 0.0)
        self.nans += int((broken & np.isnan(second)).sum())
        self.endless += int((broken & np.isinf(second)).sum())
        self._bounds(0, first[plain])
        kept = second[plain & np.isfinite(second)]
        self._bounds(1, kept)
        gaps = np.diff(np.unique(kept[:_SOME]))
        self.step = min(self.step, float(gaps.min(initial=np.inf)))
        self._numbers += numbers
        self._squares.append(np.mean(own**2, axis=1))
        self._differences.append(np.mean(far**2, axis=1))
        self._largest.append(far.max(axis=1))
        self._broken.append(broken.any(axis=1))
        place = np.unravel_index(int(np.argmax(np.where(broken, np.inf, far))), far.shape)
        height = float(np.inf if broken[place] else far[place])
        if height > self._far:
            self._far = height
            self.worst = (numbers[int(place[0])], float(first[place]), float(second[place]))

    def _bounds(self, side: int, numbers: Floats) -> None:
        if numbers.size:
            self.low[side] = min(self.low[side], float(numbers.min()))
            self.high[side] = max(self.high[side], float(numbers.max()))


def _share(part: Floats, whole: Floats) -> Floats:
    """A share; of nothing it is none where nothing differs, and all where something does."""
    with np.errstate(all="ignore"):
        return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), (part > 0) * 1.0)


def _flat(array: Any, rows: int) -> Floats:
    return np.asarray(array.reshape(rows, -1), np.float64)


def _fitted(first: Any, second: Any) -> Any:
    """The second array in the first one's order of axes; None = it is of other values."""
    if first.size != second.size or second.dtype.kind not in "fiub":
        return None
    if first.shape == second.shape:
        if first.ndim == 4 and len(set(first.shape[1:])) == 1 and first.shape[1] > 1:
            turned = second.transpose(_ORDERS[4])  # nobody can tell by the shape
            return min(second, turned, key=lambda one: _distance(first, one))
        return second
    order = _ORDERS.get(second.ndim)
    if order is not None and second.transpose(order).shape == first.shape:
        return second.transpose(order)
    bare = [tuple(n for n in one.shape if n != 1) for one in (first, second)]
    return second.reshape(first.shape) if bare[0] == bare[1] else None


def _distance(first: Any, second: Any) -> float:
    with np.errstate(all="ignore"):
        return float(np.nansum(np.abs(first.astype(np.float64) - second)))
