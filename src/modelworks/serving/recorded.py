"""How many requests of a version were recorded, and how many were not and why."""

from dataclasses import dataclass
from typing import Any, Final

from modelworks.protocol.openmetrics import Family, Kind
from modelworks.serving.block import Block
from modelworks.serving.statistics import Cell

RECORDED: Final = Cell.RECORDS
DROPPED: Final = Cell.RECORDS + 1
LOST: Final = Cell.RECORDS + 2
UNREADABLE: Final = Cell.RECORDS + 3


@dataclass(frozen=True, slots=True)
class Recorded:
    """One version's numbers, summed over the workers.

    Attributes:
        kept: requests that lie in a segment.
        dropped: chosen, and not sent: the logger was away or did not keep up.
        lost: sent, and not kept: the disk was full, or the logger was killed before it said so.
        unreadable: of those kept, requests whose body or answer could not be read and is left out.
    """

    kept: int
    dropped: int
    lost: int
    unreadable: int


def read_recorded(block: Block, index: int) -> Recorded:
    """The numbers of a region."""
    cells: Any = block.total(index)
    return Recorded(*(int(cells[place]) for place in (RECORDED, DROPPED, LOST, UNREADABLE)))


def families(block: Block) -> list[Family]:
    """What is scraped of records, of the versions that have any."""
    text = "Requests chosen for the records, by what became of them."
    records = Family("modelworks_records", Kind.COUNTER, text)
    text = "Records kept whose body or answer could not be read and is left out."
    unreadable = Family("modelworks_records_unreadable", Kind.COUNTER, text)
    for (name, of), index in sorted(block.models().items()):
        found = read_recorded(block, index)
        if not (found.kept or found.dropped or found.lost):
            continue
        pairs = {"model": name, "version": of}
        records.add(found.kept, {**pairs, "outcome": "kept"})
        records.add(found.dropped, {**pairs, "outcome": "dropped"})
        records.add(found.lost, {**pairs, "outcome": "lost"})
        unreadable.add(found.unreadable, pairs)
    return [records, unreadable]
