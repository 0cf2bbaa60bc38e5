"""What is told of the steps of graphs: how often each ran, for how many rows, how long it took."""

from collections.abc import Iterable
from typing import Any, Final

from modelworks.core.errors import InvalidError
from modelworks.core.graphs import MOST_STEPS
from modelworks.protocol.openmetrics import Family, Kind
from modelworks.serving.block import PART, Block
from modelworks.serving.block_file import REGION
from modelworks.serving.entries import Entry
from modelworks.serving.graphs.bound import CELLS, COUNT, FAILED, NS, ROWS
from modelworks.serving.graphs.live import GraphLive

assert CELLS * MOST_STEPS <= REGION  # noqa: S101 - every step has its cells

_TOLD: Final = (
    ("modelworks_graph_step_runs", "Steps of graphs that ended well.", COUNT, 1.0),
    ("modelworks_graph_step_rows", "Rows that went through them.", ROWS, 1.0),
    (
        "modelworks_graph_step_seconds",
        "Time from a step's begin to its end: waiting for its model, and the model.",
        NS,
        1e9,
    ),
    ("modelworks_graph_step_failures", "Steps that failed, and with them the request.", FAILED, 1),
)


def cells_of(block: Block, name: str, version: str, digest: str) -> memoryview:
    """This worker's cells for the steps of a graph.

    A block that has no further region gives the one in which all other models are counted, where
    the numbers of steps would stand for something else: then they are told to nobody.
    """
    if "\0" in digest:
        raise InvalidError("a digest has no zero byte", field="digest")
    key = PART + name, f"{version}#{digest[-16:]}"
    cells = block.region(*key)
    return cells if key in block.parts() else memoryview(bytearray(8 * REGION)).cast("q")


def families(block: Block, entries: Iterable[Entry]) -> list[Family]:
    """What is scraped of the graphs that this worker serves, over all workers."""
    graphs = [entry.held for entry in entries if isinstance(entry.held, GraphLive)]
    if not graphs:
        return []
    made = [Family(name, Kind.COUNTER, words) for name, words, _, _ in _TOLD]
    parts = block.parts()
    for live in graphs:
        version = f"{live.version}#{live.served.digest[-16:]}"
        index = parts.get((PART + live.name, version))
        if index is None:
            continue
        cells: Any = block.total(index)
        for number, step in enumerate(live.graph.steps.names):
            pairs = {"model": live.name, "version": live.version, "step": step}
            for family, (_, _, cell, unit) in zip(made, _TOLD, strict=True):
                family.add(float(cells[CELLS * number + cell]) / unit, pairs)
    return made
