"""Two forms side by side: their values on the same rows, some at a time, within bounded memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.seams import View
from modelworks.core.tensor import Tensors
from modelworks.evaluation.diverging.meters import Meter
from modelworks.evaluation.diverging.pairing import Pair, Stage

AT_ONCE: Final = 256
"""Values that are outputs of one session."""
BYTES: Final = 64 << 20
"""Of all values of one run of one form, but where one value of one call has more."""
_ROWS: Final = 256

Progress = Callable[[str], None]
Numbers = list[int]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two forms.

    Attributes:
        view: of it.
        served: it is looked at as it is served; False = operator by operator.
    """

    view: View
    served: bool


@dataclass(frozen=True, slots=True)
class Given:
    """Rows.

    Attributes:
        inputs: of the bare model.
        size: rows of every call; 0 = any number.
    """

    inputs: Tensors
    size: int

    @property
    def count(self) -> int:
        """Of rows, of which every call has its size."""
        rows = min(len(array) for array in self.inputs.values())
        return rows - rows % self.size if self.size else rows

    def take(self, rows: Numbers) -> dict[str, Any]:
        """Some of them."""
        return {name: array[rows] for name, array in self.inputs.items()}

    def calls(self, rows: Numbers, most: int) -> list[Numbers]:
        """Rows as calls of at most so many, or of the only number that there is."""
        step = self.size or max(1, most)
        return [rows[start : start + step] for start in range(0, len(rows), step)]

    def farthest(self, far: Any, most: int) -> Numbers:
        """The rows that are farthest apart, rising; whole calls where those have a size."""
        size = self.size or 1
        calls = np.asarray(far)[: self.count].reshape(-1, size).max(axis=1)
        best = np.argsort(-calls, kind="stable")[: max(1, most // size)].tolist()
        return [call * size + place for call in sorted(best) for place in range(size)]


class Looking:
    """Holds values of two forms side by side.

    Args:
        given: rows.
        progress: told each step.
    """

    def __init__(self, given: Given, progress: Progress) -> None:
        self.given, self._progress = given, progress

    def measured(self, every: Sequence[Pair], sides: Sequence[Side], rows: Numbers) -> list[Meter]:
        """How far values are apart; one meter a pair.

        Raises:
            InvalidError: a form does not run.
        """
        meters = [Meter() for _ in every]
        for start in range(0, len(every), AT_ONCE):
            self._progress(f"comparing values: {start} of {len(every)}")
            places = list(range(start, min(start + AT_ONCE, len(every))))
            self._some(every, sides, rows, places, meters)
        return meters

    def _some(
        self,
        every: Sequence[Pair],
        sides: Sequence[Side],
        rows: Numbers,
        places: list[int],
        meters: list[Meter],
    ) -> None:
        """These of the pairs, at once where one call's values fit in memory."""
        wanted = (
            {every[place].first for place in places},
            {every[place].second for place in places},
        )
        looks = [
            side.view.watch(sorted(names), served=side.served)
            for side, names in zip(sides, wanted, strict=True)
        ]
        call = self.given.calls(rows, 1)[0]
        inputs = self.given.take(call)
        values = [look(inputs) for look in looks]
        size = max(1, *(sum(np.asarray(v).nbytes for v in one.values()) for one in values))
        if size > BYTES and len(places) > 1:
            del looks, values
            middle = len(places) // 2
            for half in (places[:middle], places[middle:]):
                self._some(every, sides, rows, half, meters)
            return
        stored = [place for place in places if every[place].stage is Stage.STORED]
        _add(every, stored, [-1], values, meters)
        others = [place for place in places if every[place].stage is not Stage.STORED]
        most = min(_ROWS, max(1, BYTES // size))
        for numbers in self.given.calls(rows, most) if others else []:
            inputs = self.given.take(numbers)
            _add(every, others, numbers, [look(inputs) for look in looks], meters)


def _add(
    every: Sequence[Pair],
    places: Sequence[int],
    numbers: Numbers,
    values: Sequence[dict[str, Any]],
    meters: list[Meter],
) -> None:
    for place in places:
        pair = every[place]
        if pair.first in values[0] and pair.second in values[1]:
            meters[place].add(numbers, values[0][pair.first], values[1][pair.second])
