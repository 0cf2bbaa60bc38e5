"""What sequences count, in the block that all workers share; and what is scraped of it."""

from dataclasses import dataclass
from typing import Any, Final

from modelworks.protocol.openmetrics import Family, Kind
from modelworks.serving.block import Block
from modelworks.serving.statistics import Cell

OPEN, BYTES, STARTED, ENDED, EXPIRED, LOST = range(Cell.SEQUENCES, Cell.SEQUENCES + 6)
_GAUGES: Final = range(OPEN, BYTES + 1)


@dataclass(frozen=True, slots=True)
class SequenceNumbers:
    """One version's.

    Attributes:
        open: sequences now.
        bytes: that their states take now.
        started: in all.
        ended: by their callers.
        expired: that nobody asked for long enough.
        lost: that the server let go of: their first request failed, their version was unloaded, or
            their states took too much.
    """

    open: int
    bytes: int
    started: int
    ended: int
    expired: int
    lost: int


class SequenceCounts:
    """Writes one version's numbers into this worker's cells."""

    __slots__ = ("cells",)

    def __init__(self, cells: memoryview) -> None:
        self.cells = cells
        for cell in _GAUGES:  # a killed predecessor left its own
            cells[cell] = 0

    def holds(self, sequences: int, size: int) -> None:
        """The gauges."""
        self.cells[OPEN] = sequences
        self.cells[BYTES] = size

    def add(self, cell: int) -> None:
        """One more."""
        self.cells[cell] += 1


def read_sequences(block: Block, index: int) -> SequenceNumbers:
    """The numbers of a region."""
    cells: Any = block.total(index)
    return SequenceNumbers(*(int(cells[place]) for place in range(OPEN, LOST + 1)))


def families(block: Block) -> list[Family]:
    """What is scraped, of the versions that keep sequences."""
    held = Family("modelworks_sequences_open", Kind.GAUGE, "Sequences that are open.")
    size = Family("modelworks_sequences_bytes", Kind.GAUGE, "Memory that their states take.")
    begun = Family("modelworks_sequences_started", Kind.COUNTER, "Sequences that were begun.")
    over = Family("modelworks_sequences_ended", Kind.COUNTER, "Sequences by why they are over.")
    for (name, of), index in sorted(block.models().items()):
        found = read_sequences(block, index)
        if not found.started:
            continue
        pairs = {"model": name, "version": of}
        held.add(found.open, pairs)
        size.add(found.bytes, pairs)
        begun.add(found.started, pairs)
        for why, count in (
            ("end", found.ended),
            ("idle", found.expired),
            ("lost", found.lost),
        ):
            over.add(count, {**pairs, "reason": why})
    return [held, size, begun, over]
