"""When requests of an open loop are due: at a constant rate, or as a Poisson process."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final, Protocol

import numpy as np

_CHUNK: Final = 4096
FAR: Final = 2**62


class Arrivals(StrEnum):
    """How the times between requests are spread."""

    CONSTANT = "constant"
    POISSON = "poisson"  # exponential gaps: callers that know nothing of each other


def due(
    rate: float, arrivals: Arrivals, start: int, seed: int | None = None
) -> Iterator[list[int]]:
    """Times in ns, ascending, in lists without end.

    Args:
        rate: requests a second.
        arrivals: how the gaps are spread.
        start: of the schedule, ns; the first constant request is due then.
        seed: of the gaps.
    """
    step = 1e9 / rate
    if arrivals is Arrivals.CONSTANT:
        first = 0
        while True:
            places = np.arange(first, first + _CHUNK, dtype=np.float64)
            yield (start + (places * step).astype(np.int64)).tolist()
            first += _CHUNK
    generator = np.random.default_rng(seed)
    base = 0.0
    while True:
        times = base + np.cumsum(generator.exponential(step, _CHUNK))
        base = float(times[-1])
        yield (start + times.astype(np.int64)).tolist()


class Due(Protocol):
    """When the requests of an open loop are due, one after another.

    Attributes:
        due: when the next one is, ns; `FAR` where there is none any more.
    """

    due: int

    def advance(self) -> None:
        """The next one has left."""
        ...

    def remaining(self) -> int:
        """Requests that have not left; none afterwards."""
        ...


class Times:
    """Given times, such as those at which recorded requests came.

    Args:
        times: ns, ascending.
    """

    def __init__(self, times: Sequence[int]) -> None:
        self._times = times
        self._place = -1
        self.due = FAR
        self.advance()

    def advance(self) -> None:
        """See `Due`."""
        self._place += 1
        self.due = self._times[self._place] if self._place < len(self._times) else FAR

    def remaining(self) -> int:
        """See `Due`."""
        left = max(0, len(self._times) - self._place)
        self._place, self.due = len(self._times), FAR
        return left


class Schedule:
    """The times of an open loop up to its end, one after another.

    Args:
        rate: requests a second.
        arrivals: how they are spread.
        start: of the schedule, ns.
        until: its end, ns.
        seed: of the gaps.

    Attributes:
        due: when the next request is due, ns; far beyond `until` where none is any more.
    """

    def __init__(
        self, rate: float, arrivals: Arrivals, start: int, until: int, seed: int | None = None
    ) -> None:
        self._chunks = due(rate, arrivals, start, seed)
        self._until = until
        self._times = next(self._chunks)
        self._place = -1
        self.due = 0
        self.advance()

    def advance(self) -> None:
        """The next one has left."""
        self._place += 1
        if self._place == len(self._times):
            self._times, self._place = next(self._chunks), 0
        time = self._times[self._place]
        self.due = time if time < self._until else FAR

    def remaining(self) -> int:
        """Requests that are still due before the end; none afterwards."""
        count = 0
        while self._times[-1] < self._until:
            count += len(self._times) - self._place
            self._times, self._place = next(self._chunks), 0
        count += sum(time < self._until for time in self._times[self._place :])
        self.due = FAR
        return count
