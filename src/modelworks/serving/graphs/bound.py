"""What a graph's step needs to know of the model that answers it now."""

from collections.abc import Sequence
from typing import Any, Final

from modelworks.core.errors import ModelworksError, UnavailableError
from modelworks.core.seams import Reusable
from modelworks.protocol.graphs.checking import named
from modelworks.serving.batcher import Batcher
from modelworks.serving.live import Live
from modelworks.serving.outlook import LateError

COUNT, ROWS, NS, FAILED = range(4)
"""What is counted of a step: runs, rows, nanoseconds, failures."""
CELLS: Final = 4


class Bound:
    """One model of a graph, as it is bound now.

    Attributes:
        live: the model.
        wanted: place of an output -> place in the list of tensors.
        copied: its engine uses the memory of its outputs again, so they have to be copied.
        direct: it is answered by its engine's calls alone, not by a cache as well.
        levels: priorities that it knows; 1 = none.
    """

    __slots__ = ("copied", "direct", "levels", "live", "wanted")

    def __init__(self, live: Live, wanted: tuple[tuple[int, int], ...]) -> None:
        self.live = live
        self.wanted = wanted
        self.copied = isinstance(live.loaded.session, Reusable)
        self.direct = type(live.batcher) is Batcher
        self.levels = live.batching.priority_levels


class Steps:
    """Counts what the steps of one graph do, in this worker's part of the block.

    Args:
        cells: of the graph.
        names: of its steps, by number.
    """

    __slots__ = ("cells", "names")

    def __init__(self, cells: memoryview, names: Sequence[str]) -> None:
        self.cells = cells
        self.names = tuple(names)

    def done(self, step: int, rows: int, taken_ns: int) -> None:
        """A step ended well."""
        cells, at = self.cells, CELLS * step
        cells[at] += 1
        cells[at + ROWS] += rows
        cells[at + NS] += taken_ns

    def failed(self, step: int) -> None:
        """A step failed."""
        self.cells[CELLS * step + FAILED] += 1


def of_step(name: str, error: ModelworksError) -> ModelworksError:
    """The error as the graph's caller is told it: with the step's name."""
    if isinstance(error, LateError):  # it is shared, and keeps the answer that it was written as
        plain = UnavailableError(error.message, retry_after=error.retry_after)
        return named(name, plain)
    found = named(name, error)
    found.__traceback__ = None
    return found


def misshapen(array: Any, rows: int) -> bool:
    """Whether a tensor has not one row a row."""
    return bool(array.shape[:1] != (rows,))
