"""What is counted of generations: by how they ended, their tokens, and how long tokens took."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from modelworks.protocol.openmetrics import Family, Kind
from modelworks.serving.block import Block
from modelworks.serving.block_file import GENERATING
from modelworks.serving.histograms import CELLS, Histogram, histogram_of, place_of
from modelworks.serving.metrics import spread


class End(StrEnum):
    """How a generation ended."""

    STOP = "stop"  # the model ended it, or a stop string came
    LENGTH = "length"  # `max_tokens`, or the context was full
    LEFT = "left"  # the client went away
    SLOW = "slow"  # the client did not read
    LATE = "late"  # its time-out was over
    INVALID = "invalid"  # it never began: the prompt is too long, no such adapter
    REFUSED = "refused"  # it never began: everything was full, a quota was used up
    FAILED = "failed"  # the engine did
    UNLOADED = "unloaded"  # the model was, or the server stopped


OPEN: Final = GENERATING  # a gauge
TOKENS_IN: Final = GENERATING + 1
TOKENS_OUT: Final = GENERATING + 2
TOKENS_CACHED: Final = GENERATING + 3
_ENDS: Final = {end: GENERATING + 8 + place for place, end in enumerate(End)}
_FIRST: Final = GENERATING + 32
_NEXT: Final = _FIRST + CELLS + 1


class Counts:
    """One version's cells in this worker's slot; used on the loop's thread only."""

    __slots__ = ("_cells",)

    def __init__(self, cells: memoryview) -> None:
        self._cells = cells
        cells[OPEN] = 0  # a killed predecessor left its own

    def begun(self) -> None:
        """One more is open."""
        self._cells[OPEN] += 1

    def inherit(self, count: int) -> None:
        """So many are open still that began before the version was changed in place."""
        self._cells[OPEN] += count

    def closed(self, end: End) -> None:
        """One less is open; it ended so."""
        self._cells[OPEN] -= 1
        self._cells[_ENDS[end]] += 1

    def first(self, taken_ns: int) -> None:
        """The first token came so long after the request."""
        self._note(_FIRST, taken_ns, 1)

    def further(self, taken_ns: int, tokens: int) -> None:
        """So many tokens came together, so long after those before them."""
        self._note(_NEXT, taken_ns // tokens, tokens)

    def tokens(self, given: int) -> None:
        """Tokens were made."""
        self._cells[TOKENS_OUT] += given

    def prompt(self, tokens: int, cached: int) -> None:
        """A prompt was read; `cached` of its tokens were not computed again."""
        self._cells[TOKENS_IN] += tokens
        self._cells[TOKENS_CACHED] += cached

    def _note(self, first: int, taken_ns: int, times: int) -> None:
        self._cells[first + place_of(taken_ns)] += times
        self._cells[first + CELLS] += taken_ns * times


@dataclass(frozen=True, slots=True)
class Generated:
    """One version's numbers, summed over the workers.

    Attributes:
        open: generations under way, the ones that are being stopped included.
        ends: those that are over, by how they ended.
        tokens_in: of prompts.
        tokens_out: made.
        tokens_cached: of prompts, that were not computed again.
        first: from the request to the first token.
        further: from token to token.
    """

    open: int
    ends: dict[End, int]
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    first: Histogram
    further: Histogram

    @property
    def count(self) -> int:
        """Generations that began."""
        return self.open + sum(self.ends.values())


def read_generated(block: Block, index: int) -> Generated:
    """The numbers of a region."""
    cells: Any = block.total(index)
    return generated_of([int(value) for value in cells])


def generated_of(cells: Sequence[int]) -> Generated:
    """The numbers of one region's cells."""
    return Generated(
        open=cells[OPEN],
        ends={end: cells[place] for end, place in _ENDS.items()},
        tokens_in=cells[TOKENS_IN],
        tokens_out=cells[TOKENS_OUT],
        tokens_cached=cells[TOKENS_CACHED],
        first=histogram_of(cells, _FIRST),
        further=histogram_of(cells, _NEXT),
    )


def families(block: Block) -> list[Family]:
    """What is scraped of generations, of the versions that had any."""
    text = "Generations that are over, by how they ended."
    ended = Family("modelworks_generations", Kind.COUNTER, text)
    text = "Generations under way."
    under_way = Family("modelworks_generations_open", Kind.GAUGE, text)
    text = "Tokens: of prompts (in), of those not computed again (cached), made (out)."
    tokens = Family("modelworks_generation_tokens", Kind.COUNTER, text)
    text = "From the request to the first token."
    first = Family("modelworks_time_to_first_token_seconds", Kind.HISTOGRAM, text)
    text = "From one token of a generation to the next."
    further = Family("modelworks_time_between_tokens_seconds", Kind.HISTOGRAM, text)
    for (name, of), index in sorted(block.models().items()):
        found = read_generated(block, index)
        if not found.count:
            continue
        pairs = {"model": name, "version": of}
        for end, count in found.ends.items():
            if count or end is End.STOP:
                ended.add(count, pairs | {"end": end.value})
        under_way.add(found.open, pairs)
        tokens.add(found.tokens_in, pairs | {"direction": "in"})
        tokens.add(found.tokens_cached, pairs | {"direction": "cached"})
        tokens.add(found.tokens_out, pairs | {"direction": "out"})
        spread(first, pairs, found.first)
        spread(further, pairs, found.further)
    return [ended, under_way, tokens, first, further]
