"""How often a model was loaded, unloaded and evicted, what that took, and the memory it holds."""

from dataclasses import dataclass
from typing import Any

from modelworks.serving.block import Block
from modelworks.serving.statistics import Cell

LOADS, UNLOADS, EVICTIONS, LOAD_FAILURES, LOAD_NS, FOOTPRINT = range(
    Cell.LIFETIMES, Cell.LIFETIMES + 6
)


class Lifetimes:
    """Writes one version's numbers into this worker's cells.

    Args:
        block: the counters.
        name: of the model.
        version: of this member.
    """

    __slots__ = ("_cells",)

    def __init__(self, block: Block, name: str, version: str) -> None:
        self._cells = block.region(name, version)
        self._cells[FOOTPRINT] = 0  # a killed predecessor left its own

    def loaded(self, seconds: float, footprint: int) -> None:
        """A load that went well; it holds so many bytes now."""
        self._cells[LOADS] += 1
        self._cells[LOAD_NS] += int(seconds * 1e9)
        self._cells[FOOTPRINT] = footprint

    def failed(self, seconds: float) -> None:
        """A load that did not; one that was refused for want of room took no time."""
        self._cells[LOAD_FAILURES] += 1
        self._cells[LOAD_NS] += int(seconds * 1e9)

    def unloaded(self, *, evicted: bool, gone: bool) -> None:
        """Memory was given back.

        Args:
            evicted: to make room for another model.
            gone: nothing took its place.
        """
        self._cells[UNLOADS] += 1
        self._cells[EVICTIONS] += evicted
        if gone:
            self._cells[FOOTPRINT] = 0


@dataclass(frozen=True, slots=True)
class Lifetime:
    """One version's numbers, summed over the workers.

    Attributes:
        loads: that went well.
        unloads: of any kind: on request, replaced, off the list, evicted.
        evictions: those of them that made room for another model.
        failures: loads that did not.
        load_ns: nanoseconds that loads took, warm-up included.
        footprint: bytes that the loaded copies take.
    """

    loads: int
    unloads: int
    evictions: int
    failures: int
    load_ns: int
    footprint: int


def read_lifetime(block: Block, index: int) -> Lifetime:
    """The numbers of a region."""
    cells: Any = block.total(index)
    found = (LOADS, UNLOADS, EVICTIONS, LOAD_FAILURES, LOAD_NS, FOOTPRINT)
    return Lifetime(*(int(cells[place]) for place in found))
