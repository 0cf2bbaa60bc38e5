"""When requests of an open loop are due: at a constant rate, or as a Poisson process."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import numpy as np

_CHUNK: Final = 4096


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
