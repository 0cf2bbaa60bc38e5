"""Says how far a copy is, now and then."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T", bytes, memoryview)

_EVERY_S: Final = 2.0
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


class Pace:
    """Counts what goes through it.

    Args:
        verb: what is done: `copying`.
        listed: (digest, size) of every file.
        say: told the state at first, at the end, and every two seconds.
    """

    def __init__(
        self, verb: str, listed: Sequence[tuple[str, int]], say: Callable[[str], None]
    ) -> None:
        self._verb = verb
        self._files = len(listed)
        self._total = sum(size for _, size in listed)
        self._say = say
        self._done = self._bytes = 0
        self._next = 0.0

    def watched(self, pieces: Iterable[T]) -> Iterator[T]:
        """The pieces of the next file."""
        self._tell()
        for piece in pieces:
            self._bytes += len(piece)
            self._tell()
            yield piece
        self._done += 1
        if self._done == self._files:
            self._next = 0.0
            self._tell()

    def _tell(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY_S
        self._say(
            f"{self._verb} files: {self._done} of {self._files}, "
            f"{_size(self._bytes)} of {_size(self._total)}"
        )


def _size(count: int) -> str:
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} {_UNITS[-1]}"
