"""What an engine call takes, learnt from every call: decides who runs it, loop or thread."""

from typing import Final

INLINE_NS: Final = 1_000_000
"""Calls shorter than this run on the loop: handing over costs more than the loop's pause."""
_WEIGHT: Final = 0.2
_SURPRISE: Final = 4.0
_BUCKETS: Final = 65  # bits of a row count, and none
_HALF_MORE: Final = 1.5
_GROWN: Final = 1 << 20


class Cost:
    """Moving averages of a call's nanoseconds, one a power of two of rows.

    Args:
        by_rows: rows say how much work a call is. With an input that has a dynamic axis beside
            the batch they do not: one request may be a million times the work of the last one.
            Nor do they where the session says that calls belong apart.
    """

    def __init__(self, *, by_rows: bool = True) -> None:
        self._most = INLINE_NS if by_rows else 0
        self._ns = [0.0] * _BUCKETS

    def learn(self, rows: int, ns: float) -> None:
        """One call of `rows` rows took `ns`."""
        averages = self._ns
        bucket = rows.bit_length()
        known = averages[bucket]
        if known:
            # One call that the system interrupted says little; a model that became slow is
            # noticed all the same, within ten calls.
            if ns > _SURPRISE * known:  # noqa: PLR1730 - `min` costs more than all the rest here
                ns = _SURPRISE * known
            averages[bucket] = known + _WEIGHT * (ns - known)
        else:
            averages[bucket] = float(ns)

    def predict(self, rows: int) -> float:
        """Nanoseconds for `rows` rows: the average there, else scaled from the nearest smaller.

        Without any knowledge it is infinite: an unknown call does not stop the loop.
        """
        bucket = rows.bit_length()
        known = self._ns[bucket]
        if known:
            return known
        for distance in range(1, bucket + 1):
            known = self._ns[bucket - distance]
            if known:
                return known * float(2**distance)
        return next((ns for ns in self._ns[bucket:] if ns), float("inf"))

    def inline(self, rows: int) -> bool:
        """Whether a call of `rows` rows may run on the loop."""
        return (self._ns[rows.bit_length()] or self.predict(rows)) < self._most

    def beside(self, rows: int) -> int:
        """Rows that a call of `rows` may grow to and take at most half as long again."""
        most = _HALF_MORE * self.predict(rows)
        grown = rows
        while grown < _GROWN and self.predict(2 * grown) <= most:
            grown *= 2
        return grown
