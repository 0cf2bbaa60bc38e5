"""Moves closed segments into a store, and what came in of feedback into its own."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelworks.control.forwarding.spools import Spools
from modelworks.core.records import Record
from modelworks.core.seams import FeedbackStore, RecordStore
from modelworks.monitor.feedback.inbox import Inbox
from modelworks.protocol.records import read_segment, sealed_segments
from modelworks.protocol.records.segments import recover

_log = logging.getLogger("modelworks.records")
MOST: Final = 50_000
"""Records in memory at once, and of one file of the store."""
FORWARD: Final = "forward"
"""Beside the folder of segments: what is to be sent on."""
_TOLD: Final = 200
"""Files of the inbox that are taken together."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was moved.

    Attributes:
        segments: files that are in the store and gone.
        records: that they held.
        damaged: bytes that could not be read, and are gone with their segments.
        feedback: that was moved.
    """

    segments: int = 0
    records: int = 0
    damaged: int = 0
    feedback: int = 0


def compact(
    segments: Path, store: RecordStore, inbox: Inbox, feedback: FeedbackStore, most: int = MOST
) -> Compacted:
    """Move everything that is closed.

    Whenever the process ends, the next call does the rest: a segment is deleted when the store has
    all of it, and the store keeps nothing twice. The caller sees to it that only one does so.

    Raises:
        UnavailableError: a store does not take more; what it does not have stays where it is.
    """
    recover(segments)  # what dead loggers left open
    moved = _Mover(store, most, Spools(segments.parent / FORWARD)).move(sealed_segments(segments))
    told = 0
    while paths := inbox.waiting(_TOLD):
        found = inbox.read(paths)
        feedback.write(found)
        inbox.delete(paths)
        told += len(found)
    return Compacted(moved.segments, moved.records, moved.damaged, told)


class _Mover:
    """Moves segments, several into one file of the store."""

    def __init__(self, store: RecordStore, most: int, spools: Spools) -> None:
        self._store = store
        self._most = most
        self._spools = spools
        self._pending: list[Record] = []
        self._read: list[Path] = []
        self._segments = self._records = self._damaged = 0

    def move(self, paths: Sequence[Path]) -> Compacted:
        """All of them."""
        for path in paths:
            for record in read_segment(path, self._torn(path)):
                self._pending.append(record)
                if len(self._pending) >= self._most:
                    self._write()
            self._read.append(path)
            if not self._pending:
                self._forget()
        self._write()
        self._forget()
        return Compacted(self._segments, self._records, self._damaged)

    def _write(self) -> None:
        if self._pending:
            self._store.write(self._pending)
            self._records += len(self._pending)
            self._pending = []

    def _forget(self) -> None:
        """Delete segments all of whose records are in the store."""
        for path in self._read:
            self._spools.take(path)  # who still has to send it on
            path.unlink(missing_ok=True)
            self._segments += 1
        self._read = []

    def _torn(self, path: Path) -> Callable[[int], None]:
        def note(count: int) -> None:
            self._damaged += count
            _log.warning("%s: its last %d bytes are damaged, and lost", path, count)

        return note
