"""Answers that were given, from the loop to whoever writes them down: a bounded queue."""

from collections import deque
from typing import Final, NamedTuple

BOUND: Final = 8192  # entries keep their request's headers alive: a tenth of a second at full speed
HTTP2: Final = 2
GONE: Final = 499
"""Status of a request whose client left before its answer, as nginx notes it."""


class Entry(NamedTuple):
    """One answer, as the loop notes it: made as a plain tuple, read by these names.

    Attributes:
        client: address, or `unix`.
        method: empty where the request could not be read.
        path: raw, without the query.
        headers: of the request; read only.
        modern: 0 = HTTP/1.0, 1 = HTTP/1.1, 2 = HTTP/2.
        received_ns: `time.perf_counter_ns()` when the request was complete.
        answered_ns: the same when it was answered.
        status: HTTP status; 499 when the client left first.
        taken: bytes of the request's body.
        given: bytes of the answer's body.
    """

    client: str
    method: bytes
    path: bytes
    headers: dict[bytes, bytes]
    modern: int
    received_ns: int
    answered_ns: int
    status: int
    taken: int
    given: int


class Journal:
    """Filled by the loop's thread, emptied by another one.

    Attributes:
        entries: tuples of `Entry`'s fields.
        dropped: entries that found no room.
    """

    __slots__ = ("bound", "dropped", "entries")

    def __init__(self, bound: int = BOUND) -> None:
        self.entries: deque[tuple[object, ...]] = deque()
        self.bound = bound
        self.dropped = 0

    def take(self, most: int) -> list[Entry]:
        """The oldest entries, at most so many."""
        entries = self.entries
        count = min(most, len(entries))
        return [Entry._make(entries.popleft()) for _ in range(count)]
