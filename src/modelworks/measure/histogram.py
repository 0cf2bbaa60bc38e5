"""Counts of durations in buckets whose width grows with the value: bounded memory, known error.

The layout is that of HdrHistogram (Tene, 2012, hdrhistogram.org): every octave is cut into the
same number of equal buckets, so that a value is known to a fixed relative width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from modelworks.core.errors import InvalidError

BITS: Final = 10
"""Values below 2**BITS ns are exact; above, an octave has 2**(BITS - 1) buckets."""
RESOLUTION: Final = 2.0 ** (1 - BITS)
"""Widest bucket relative to its lower edge: 0.2 %."""
_TOP: Final = 2**42 - 1  # 73 minutes in ns; what is longer is counted there
_HALF: Final = 1 << (BITS - 1)
_SIZE: Final = (_TOP.bit_length() - BITS) * _HALF + (1 << BITS)

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Latency:
    """A histogram's figures, in seconds; all zero where nothing was counted.

    Attributes:
        count: durations counted.
        mean: exact.
        p50: median.
        p90: 90th percentile.
        p99: 99th percentile.
        p999: 99.9th percentile.
        max: exact.
        beyond_p99: durations above p99; a percentile that few durations lie beyond is a guess.
        beyond_p999: durations above p99.9.
    """

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    beyond_p99: int
    beyond_p999: int


class Histogram:
    """Durations in nanoseconds; 17 thousand eight-byte counters, however many are recorded.

    Attributes:
        counts: a counter a bucket.
        sum: of all durations, ns.
        max: the longest, exact, ns; 0 where there is none.
    """

    def __init__(self) -> None:
        self.counts: Counts = np.zeros(_SIZE, np.int64)
        self.sum = 0
        self.max = 0

    @property
    def count(self) -> int:
        """Durations recorded."""
        return int(self.counts.sum())

    def record(self, values: Sequence[int] | Counts) -> None:
        """Count durations in ns; a negative one counts as zero."""
        found = np.asarray(values, np.int64)
        if found.size == 0:
            return
        found = np.maximum(found, 0)
        self.sum += int(found.sum())
        self.max = max(self.max, int(found.max()))
        np.add.at(self.counts, _index(np.minimum(found, _TOP)), 1)

    def merge(self, other: "Histogram") -> None:
        """Add what the other one has counted."""
        self.counts += other.counts
        self.sum += other.sum
        self.max = max(self.max, other.max)

    def percentile(self, percent: float) -> int:
        """The nearest-rank percentile in ns, at most `RESOLUTION` too high, never too low.

        Args:
            percent: 0 < percent <= 100.
        """
        total = self.count
        if total == 0:
            return 0
        rank = min(total, max(1, int(np.ceil(total * percent / 100 - 1e-9))))
        place = int(np.searchsorted(np.cumsum(self.counts), rank))
        return min(self.max, _upper(place))

    def within(self, limit: int) -> int:
        """How many durations lasted at most `limit` ns, to the bucket's width."""
        if limit < 0:
            return 0
        place = int(_index(np.asarray([min(limit, _TOP)]))[0])
        return int(self.counts[: place + 1].sum())

    def latency(self) -> Latency:
        """The usual figures."""
        total = self.count
        p99, p999 = self.percentile(99), self.percentile(99.9)
        return Latency(
            count=total,
            mean=self.sum / total / 1e9 if total else 0.0,
            p50=self.percentile(50) / 1e9,
            p90=self.percentile(90) / 1e9,
            p99=p99 / 1e9,
            p999=p999 / 1e9,
            max=self.max / 1e9,
            beyond_p99=total - self.within(p99) if total else 0,
            beyond_p999=total - self.within(p999) if total else 0,
        )

    def buckets(self) -> list[tuple[int, int]]:
        """(upper edge in ns, count) of every bucket that is not empty, ascending."""
        return [(_upper(int(i)), int(self.counts[i])) for i in np.flatnonzero(self.counts)]

    def document(self) -> dict[str, Any]:
        """As JSON values, sparse; `Histogram.of` reads it."""
        places = np.flatnonzero(self.counts)
        return {
            "bits": BITS,
            "sum_ns": self.sum,
            "max_ns": self.max,
            "places": places.tolist(),
            "counts": self.counts[places].tolist(),
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Histogram":
        """A histogram from its document.

        Raises:
            InvalidError: made with another layout, or no such document.
        """
        if document.get("bits") != BITS:
            raise InvalidError(f"a histogram with {document.get('bits')} bits, {BITS} are wanted")
        found = cls()
        found.counts[np.asarray(document["places"], np.int64)] = document["counts"]
        found.sum, found.max = int(document["sum_ns"]), int(document["max_ns"])
        return found


def _index(values: Counts) -> Counts:
    """The bucket of each value: exact below 2**BITS, then 2**(BITS - 1) an octave."""
    _, exponents = np.frexp(values.astype(np.float64))  # exact: below 2**53
    shift = np.maximum(exponents.astype(np.int64) - BITS, 0)
    places: Counts = shift * _HALF + (values >> shift)
    return places


def _upper(place: int) -> int:
    """The largest value of a bucket."""
    if place < 2 * _HALF:
        return place
    shift = place // _HALF - 1
    return ((place - shift * _HALF + 1) << shift) - 1
