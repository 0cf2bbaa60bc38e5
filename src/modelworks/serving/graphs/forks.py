"""Rows that go different ways, and come together again in their order."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError

Part = tuple[int, Any]
"""A branch, and the places of its rows; None = all of them."""


def parted(chosen: Any, rows: int) -> list[Part]:
    """Who goes where.

    Args:
        chosen: a branch a row, or one for all.
        rows: how many.
    """
    if isinstance(chosen, int):
        return [(chosen, None)]
    found = np.unique(chosen)
    if len(found) == 1:
        return [(int(found[0]), None)]
    if not rows:
        return [(0, None)]
    return [(int(branch), np.flatnonzero(chosen == branch)) for branch in found]


class Fork:
    """A router's rows on their ways.

    Args:
        parts: who goes where.
        rows: of all of them.

    Attributes:
        begun: every branch was begun.
        complete: every branch is back.
    """

    __slots__ = ("_back", "_left", "_rows", "begun", "complete", "parts")

    def __init__(self, parts: Sequence[Part], rows: int) -> None:
        self.parts = parts
        self.begun = self.complete = False
        self._rows = rows
        self._left = len(parts)
        self._back: list[Sequence[Any]] = [()] * len(parts)

    def taker(
        self, number: int, told: Callable[[Sequence[Any]], None]
    ) -> Callable[[Sequence[Any]], None]:
        """Takes the outputs of one part; with the last one tells all of them together."""

        def take(outputs: Sequence[Any]) -> None:
            self._back[number] = outputs
            self._left -= 1
            if not self._left:
                joined = self._joined()
                self.complete = True
                told(joined)

        return take

    def _joined(self) -> Sequence[Any]:
        if len(self.parts) == 1:
            return self._back[0]
        joined = []
        for place, first in enumerate(self._back[0]):
            shapes = {outputs[place].shape[1:] for outputs in self._back}
            if len(shapes) > 1:
                told = " and ".join(str(list(shape)) for shape in sorted(shapes))
                raise InvalidError(f"its branches gave rows of shapes {told}")
            whole = np.empty((self._rows, *first.shape[1:]), first.dtype)
            for (_, rows), outputs in zip(self.parts, self._back, strict=True):
                whole[rows] = outputs[place]
            joined.append(whole)
        return joined
