"""What an engine call takes, learnt from every call: decides who runs it, loop or thread."""

from typing import Final

INLINE_NS: Final = 1_000_000
"""Calls shorter than this run on the loop: handing over costs more than the loop's pause."""
_WEIGHT: Final = 0.2
_SURPRISE: Final = 4.0
_BUCKETS: Final = 48


class Cost:
    """Moving averages of a call's nanoseconds, one a power of two of rows.

    Args:
        by_rows: rows say how much work a call is. With an input that has a dynamic axis beside
            the batch they do not: one request may be a million times the work of the last one.
            Nor do they where the session says that calls belong apart.
    """

    def __init__(self, *, by_rows: bool = True) -> None:
        self._by_rows = by_rows
        self._ns = [0.0] * _BUCKETS

    def learn(self, rows: int, ns: float) -> None:
        """One call of `rows` rows took `ns`."""
        bucket = min(rows.bit_length(), _BUCKETS - 1)
        known = self._ns[bucket]
        if known:
            # One call that the system interrupted says little; a model that became slow is
            # noticed all the same, within ten calls.
            ns = min(ns, _SURPRISE * known)
            self._ns[bucket] = known + _WEIGHT * (ns - known)
        else:
            self._ns[bucket] = float(ns)

    def predict(self, rows: int) -> float:
        """Nanoseconds for `rows` rows: the average there, else scaled from the nearest smaller.

        Without any knowledge it is infinite: an unknown call does not stop the loop.
        """
        bucket = min(rows.bit_length(), _BUCKETS - 1)
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
        return self._by_rows and self.predict(rows) < INLINE_NS
