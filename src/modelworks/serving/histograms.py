"""Latency histograms: four buckets an octave, found in a float's bits; quantiles from them.

A bucket is a fourth of a power of two wide (12 to 25 % of its value), from 1 us to 17 s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

_LOWEST: Final = 10  # bits of the last number below 1,024 ns
_HIGHEST: Final = 34  # bits of the last number below 17.2 s
_PARTS: Final = 4
_REGULAR: Final = _PARTS * (_HIGHEST - _LOWEST)

_MANTISSA: Final = 52  # bits of a float's mantissa; its first two tell the part of the octave
_BIAS: Final = 1022  # of the exponent of a number with no bits
_FIRST: Final = _PARTS * (_BIAS + _LOWEST)  # what stands there in the lowest octave
CELLS: Final = _REGULAR + 2 * _PARTS
"""Cells of one histogram: an octave for all below, the regular ones, one for all above."""
BOUNDS_NS: Final = (
    *(part << bits - 3 for bits in range(_LOWEST + 1, _HIGHEST + 1) for part in range(4, 8)),
    1 << _HIGHEST,
)
"""Bounds of the buckets, nanoseconds; one bucket is below the first, one from the last on."""


def bits_of(numbers: Any) -> Any:
    """How many bits each has; int64, from 1 to below 2**53: a float's exponent tells."""
    return (numbers.astype(np.float64).view(np.int64) >> _MANTISSA) - _BIAS


def places_of(taken: Any) -> Any:
    """The cells that count durations of `taken` nanoseconds, int64."""
    numbers = taken.astype(np.float64)
    # All below the lowest octave are counted in it, all above the top there.
    np.maximum(numbers, 1 << _LOWEST - 1, out=numbers)
    np.minimum(numbers, 1 << _HIGHEST, out=numbers)
    places = numbers.view(np.int64)
    places >>= _MANTISSA - 2
    places -= _FIRST
    return places


def place_of(taken_ns: int) -> int:
    """The cell that counts one duration: `places_of` without an array."""
    number = min(max(taken_ns, 1 << _LOWEST - 1), 1 << _HIGHEST)
    bits = number.bit_length()
    return _PARTS * (bits - _LOWEST) + (number >> bits - 3 & _PARTS - 1)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations counted.

    Attributes:
        buckets: bucket i counts those from `BOUNDS_NS[i - 1]` to below `BOUNDS_NS[i]`.
        sum_ns: of all durations.
    """

    buckets: tuple[int, ...] = (0,) * (len(BOUNDS_NS) + 1)
    sum_ns: int = 0

    @property
    def count(self) -> int:
        """Observations."""
        return sum(self.buckets)

    @property
    def mean_ns(self) -> float:
        """Of all durations; 0 where there is none."""
        return self.sum_ns / max(1, self.count)

    def since(self, before: "Histogram") -> "Histogram":
        """What was counted after `before`; a counter that went back began anew."""
        if self.count < before.count:
            return self
        pairs = zip(self.buckets, before.buckets, strict=True)
        return Histogram(
            tuple(max(0, now - then) for now, then in pairs), max(0, self.sum_ns - before.sum_ns)
        )

    def plus(self, other: "Histogram") -> "Histogram":
        """Both together."""
        pairs = zip(self.buckets, other.buckets, strict=True)
        return Histogram(tuple(one + two for one, two in pairs), self.sum_ns + other.sum_ns)

    def below(self, bound_ns: int) -> int:
        """How many were shorter than one of the bounds."""
        return sum(self.buckets[: BOUNDS_NS.index(bound_ns) + 1])

    def quantile(self, share: float) -> "Quantile | None":
        """The duration that a `share` of all did not exceed; None without observations."""
        count = self.count
        if not count:
            return None
        wanted = share * count
        reached = 0
        for place, here in enumerate(self.buckets):
            if here and reached + here >= wanted:
                low = BOUNDS_NS[place - 1] if place else 0
                if place == len(BOUNDS_NS):
                    return Quantile(low, low, None)
                high = BOUNDS_NS[place]
                inside = max(0.0, wanted - reached) / here
                return Quantile(low, low + inside * (high - low), high)
            reached += here
        return None


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile as far as a histogram knows it, nanoseconds.

    Attributes:
        low: it is at least this,
        estimate: linear within its bucket,
        high: and below this; None = the bucket has no upper bound.
    """

    low: int
    estimate: float
    high: int | None


def histogram_of(cells: Sequence[int], first: int) -> Histogram:
    """The histogram whose cells begin at `first`; the sum lies behind them."""
    inner = first + _PARTS
    outer = inner + _REGULAR
    end = first + CELLS
    buckets = (sum(cells[first:inner]), *cells[inner:outer], sum(cells[outer:end]))
    return Histogram(buckets, cells[end])
