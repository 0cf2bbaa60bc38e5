"""What a cache counts, in the block that all workers share; and what is scraped of it."""

from dataclasses import dataclass
from typing import Any, Final

from modelworks.protocol.openmetrics import Family, Kind
from modelworks.serving.block import Block
from modelworks.serving.cache.store import Store
from modelworks.serving.statistics import Cell

(HITS, MISSES, HIT_NS, MISS_NS, EVICTIONS, ERRORS, BYTES, ENTRIES) = range(
    Cell.CACHE, Cell.CACHE + 8
)
_GAUGES: Final = range(BYTES, ENTRIES + 1)


@dataclass(frozen=True, slots=True)
class CacheNumbers:
    """One version's, summed over the workers.

    Attributes:
        hits: requests that were given a kept answer, or one that was computed for another caller
            at the same time.
        misses: that were computed.
        hit_ns: what it took to find and give.
        miss_ns: what it took not to find, and to keep.
        evictions: answers that left to make room.
        errors: calls of Redis that failed or came too late.
        bytes: kept now.
        entries: kept now.
    """

    hits: int
    misses: int
    hit_ns: int
    miss_ns: int
    evictions: int
    errors: int
    bytes: int
    entries: int


class CacheCounts:
    """Writes one version's numbers into this worker's cells."""

    __slots__ = ("_cells",)

    def __init__(self, cells: memoryview) -> None:
        self._cells = cells
        for cell in _GAUGES:  # a killed predecessor left its own
            cells[cell] = 0

    def hit(self, taken_ns: int) -> None:
        """A request was given what was kept."""
        self._cells[HITS] += 1
        self._cells[HIT_NS] += taken_ns

    def miss(self, taken_ns: int) -> None:
        """A request is computed."""
        self._cells[MISSES] += 1
        self._cells[MISS_NS] += taken_ns

    def kept(self, taken_ns: int, store: Store) -> None:
        """An answer was put into the store."""
        self._cells[MISS_NS] += taken_ns
        self.holds(store)

    def holds(self, store: Store) -> None:
        """How much it holds."""
        cells = self._cells
        cells[BYTES] = store.bytes
        cells[ENTRIES] = len(store)
        if store.evictions:
            cells[EVICTIONS] += store.evictions
            store.evictions = 0

    def failed(self, count: int = 1) -> None:
        """Calls of Redis went wrong."""
        self._cells[ERRORS] += count


def read_cache(block: Block, index: int) -> CacheNumbers:
    """The numbers of a region."""
    cells: Any = block.total(index)
    return CacheNumbers(*(int(cells[place]) for place in range(HITS, ENTRIES + 1)))


def families(block: Block) -> list[Family]:
    """What is scraped, of the versions that have a cache."""
    asked = Family(
        "modelworks_cache_requests",
        Kind.COUNTER,
        "Requests of models with a cache: hit = given a kept answer, miss = computed.",
    )
    seconds = Family(
        "modelworks_cache_seconds", Kind.COUNTER, "Time spent on looking, giving and keeping."
    )
    evictions = Family(
        "modelworks_cache_evictions", Kind.COUNTER, "Answers that left to make room."
    )
    errors = Family(
        "modelworks_cache_errors", Kind.COUNTER, "Calls of Redis that failed or came too late."
    )
    held = Family("modelworks_cache_bytes", Kind.GAUGE, "Memory that kept answers take.")
    entries = Family("modelworks_cache_entries", Kind.GAUGE, "Answers that are kept.")
    for (name, of), index in sorted(block.models().items()):
        found = read_cache(block, index)
        if not (found.hits or found.misses or found.entries):
            continue
        pairs = {"model": name, "version": of}
        asked.add(found.hits, {**pairs, "outcome": "hit"})
        asked.add(found.misses, {**pairs, "outcome": "miss"})
        seconds.add(found.hit_ns / 1e9, {**pairs, "outcome": "hit"})
        seconds.add(found.miss_ns / 1e9, {**pairs, "outcome": "miss"})
        evictions.add(found.evictions, pairs)
        errors.add(found.errors, pairs)
        held.add(found.bytes, pairs)
        entries.add(found.entries, pairs)
    return [asked, seconds, evictions, errors, held, entries]
