"""The moment after a long call, in which those who were answered ask again: pure, told the time.

Callers that wait for their answers before they ask again come back together, a moment after an
engine has become free. One that starts at once, with the few that waited meanwhile, makes two
calls of what could have been one, and goes on so: 8 callers become batches of 2 and 6 in turn.
Measured on MiniLM and 8 connections, such calls took a tenth longer a row.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

_LOOK_BACK: Final = 8  # engine calls
_PART: Final = 64  # of the next call: as long as that nobody has to come for the moment to be over
_GAPS: Final = 4  # and it is over after so many of these, whoever comes
_MOST_NS: Final = 500_000
_TRIES: Final = 4.0  # moments in vain, after which there is one in so many calls:
_AGAIN: Final = 1 / 64


class Lull:
    """Whether an idle engine without a delay looks for company once more.

    Args:
        predict: nanoseconds of a call, by rows.
    """

    def __init__(self, predict: Callable[[int], float]) -> None:
        self._predict = predict
        self._crowds: deque[int] = deque(maxlen=_LOOK_BACK)
        self._tries = _TRIES
        self._gap = 0  # nanoseconds; 0 = no moment has begun
        self._until = 0
        self._end = 0
        self._first = 0  # rows that waited when it began
        self._seen = 0  # and at the last look

    def ended(self, rows: int, waiting: int) -> None:
        """A call of `rows` rows came back, while `waiting` others were there."""
        self._crowds.append(rows + waiting)

    def lasts(self, waiting: int, size: int, now: int) -> bool:
        """Whether to look once more before the engine takes the `waiting` rows.

        Args:
            waiting: 1 or more.
            size: rows of a full batch.
            now: nanoseconds, on any clock.
        """
        wanted = min(size, max(self._crowds, default=0))
        if not self._gap:
            return waiting < wanted and self._begin(waiting, now)
        if waiting > self._seen:
            self._seen = waiting
            self._until = min(now + self._gap, self._end)
        if waiting < wanted and now < self._until:
            return True
        self._gap = 0
        came = waiting - self._first
        self._tries = _TRIES if 2 * came >= wanted - self._first else self._tries - 1
        return False

    def _begin(self, waiting: int, now: int) -> bool:
        if self._tries < 1:
            self._tries += _AGAIN
            return False
        self._gap = max(1, int(min(self._predict(waiting) / _PART, _MOST_NS)))
        self._first = self._seen = waiting
        self._until, self._end = now + self._gap, now + _GAPS * self._gap
        return True
