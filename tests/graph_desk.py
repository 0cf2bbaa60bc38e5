"""Graphs for tests: small models with known answers, files of graphs, a table that serves them."""

import asyncio
import json
from time import perf_counter_ns

import numpy as np
from onnx import helper

from modelworks.core.graphs import FILE, GRAPH
from modelworks.core.served import ServedList, ServedModel
from modelworks.core.tensor import Datatype
from modelworks.serving.batcher import Member
from modelworks.serving.block import Block
from modelworks.serving.models import ModelTable
from modelworks.testing import onnx_models as models

WIDTH = 3


def document(steps, outputs, inputs=("x",), name="flow"):
    """A graph as its file says it."""
    return {
        "apiVersion": "modelworks/v1",
        "kind": "Graph",
        "metadata": {"name": name},
        "spec": {"inputs": list(inputs), "steps": steps, "outputs": outputs},
    }


def times(folder, name, factor, width=WIDTH):
    """A model `y = factor * x`."""
    file = models.double(folder / f"{name}.onnx", width, factor)
    return ServedModel(name, "1.0.0", str(file), f"sha256:{name}")


def scorer(folder, name="scorer", width=WIDTH):
    """A model that gives the mean of a row as its `score`, [rows, 1]."""
    node = helper.make_node("ReduceMean", ["x"], ["score"], axes=[1], keepdims=1)
    file = models.write(
        folder / f"{name}.onnx",
        [node],
        [models.info("x", Datatype.FP32, (None, width))],
        [models.info("score", Datatype.FP32, (None, 1))],
    )
    return ServedModel(name, "1.0.0", str(file), f"sha256:{name}")


def graph(folder, steps, outputs, inputs=("x",), name="flow", **more):
    """A line of the served list for a graph."""
    home = folder / f"{name}-graph"
    home.mkdir(exist_ok=True)
    (home / FILE).write_text(json.dumps(document(steps, outputs, inputs, name)))
    line = {"digest": f"sha256:{name}", "format": GRAPH, "engine": GRAPH, **more}
    return ServedModel(name, "1.0.0", str(home), **line)


def ask(name, model, ref="$input.x"):
    """A step that asks a model with one input `x`."""
    return {"name": name, "model": model, "inputs": {"x": ref}}


CHAIN = ([ask("a", "two", "$input.x"), ask("b", "three", "steps.a.y")], {"y": "steps.b.y"})


def chained(folder, **more):
    """Two models behind each other, and a graph of them: six times."""
    return [times(folder, "two", 2.0), times(folder, "three", 3.0), graph(folder, *CHAIN, **more)]


class Asked(Member):
    """A request whose answer is kept."""

    __slots__ = ("_priority", "error", "event", "outputs")

    def __init__(self, live, rows, *, deadline_ns=0, priority=0, **arrays):
        given = {name: np.asarray(array) for name, array in arrays.items()}
        super().__init__(given, rows, None, perf_counter_ns())
        self.deadline_ns = deadline_ns
        self.outputs = self.error = None
        self.event = asyncio.Event()
        self._priority = priority

    @property
    def priority(self):
        return self._priority

    def succeed(self, outputs):
        assert self.outputs is None
        assert self.error is None
        self.outputs = [np.array(array) for array in outputs]
        self.event.set()

    def fail(self, error):
        assert self.outputs is None
        assert self.error is None
        self.error = error
        self.event.set()

    async def answer(self):
        await asyncio.wait_for(self.event.wait(), 20)
        if self.error is not None:
            raise self.error
        return self.outputs


def rows(*values, width=WIDTH):
    """Rows that have one value in all columns."""
    return np.array([[value] * width for value in values], np.float32)


def put(live, x, **more):
    """Ask a live model or graph with its input `x`."""
    member = Asked(live, len(x), x=x, **more)
    live.batcher.submit(member)
    return member


def put_named(live, **arrays):
    """Ask with inputs by name."""
    member = Asked(live, len(next(iter(arrays.values()))), **arrays)
    live.batcher.submit(member)
    return member


def serve(lines, main):
    """Run `main(table)` while a table serves the lines."""

    async def whole():
        table = ModelTable(Block(), 1, lambda: None)
        try:
            await table.apply(ServedList(1, tuple(lines)))
            await main(table)
        finally:
            await table.close(5)

    asyncio.run(asyncio.wait_for(whole(), 60))
