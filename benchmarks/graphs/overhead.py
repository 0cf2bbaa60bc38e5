"""What a graph of three models costs a request beyond its models.

    python benchmarks/graphs/overhead.py [--rounds 7] [--requests 3000]

In one process and on one loop, as a worker has them, without sockets: a request is a member that
is put into a queue and answered. Measured is the time of the thread, interleaved in rounds:

- the graph: one member through `first -> second -> third`;
- the models: three members one after the other, each put in when the one before was answered;
- the engines: the three sessions called in a row, with nothing around them.

`--together N` puts N members in at once: they share calls at every step.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns, thread_time_ns
from typing import Any

import numpy as np
import uvloop

from modelworks.core.graphs import FILE, GRAPH
from modelworks.core.served import ServedList, ServedModel
from modelworks.serving.batcher import Member
from modelworks.serving.block import Block
from modelworks.serving.live import Live
from modelworks.serving.models import ModelTable
from modelworks.testing import onnx_models

WIDTH = 30
STEPS = ("first", "second", "third")


class Asked(Member):
    """A member that says when it was answered."""

    __slots__ = ("_told",)

    def __init__(self, x: Any, told: Any) -> None:
        super().__init__({"x": x}, len(x), None, perf_counter_ns())
        self._told = told

    def succeed(self, outputs: Any) -> None:
        """Go on."""
        self._told(outputs)

    def fail(self, error: Exception) -> None:
        """A benchmark of errors says nothing."""
        raise error


@dataclass
class Desk:
    """The models and the graph of them."""

    models: list[Live]
    graph: Live
    rows: Any


async def through(lives: list[Live], rows: Any, requests: int, together: int) -> float:
    """Microseconds of the thread a request that is answered by each of `lives` in a row."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = requests

    def begin() -> None:
        for _ in range(together):
            ask(0, rows)

    def ask(place: int, x: Any) -> None:
        lives[place].batcher.submit(Asked(x, lambda outputs: told(place, outputs)))

    waiting = together

    def told(place: int, outputs: Any) -> None:
        nonlocal left, waiting
        if place + 1 < len(lives):
            ask(place + 1, outputs[0].copy())
            return
        left -= 1
        waiting -= 1
        if waiting:
            return
        waiting = together
        if left > 0:
            loop.call_soon(begin)
        else:
            done.set_result(None)

    began = thread_time_ns()
    begin()
    await done
    return (thread_time_ns() - began) / 1000 / requests


def alone(lives: list[Live], rows: Any, requests: int, together: int) -> float:
    """The same of the engines, called in a row with the rows of `together` requests."""
    sessions = [live._session for live in lives]  # noqa: SLF001 - nothing around them
    given = np.concatenate([rows] * together)
    began = thread_time_ns()
    for _ in range(requests // together):
        x = given
        for session in sessions:
            x = session.infer({"x": x})[0]
    return (thread_time_ns() - began) / 1000 / requests


async def measure(desk: Desk, rounds: int, requests: int, together: int) -> dict[str, Any]:
    """Medians of the rounds."""
    found: dict[str, list[float]] = {"graph": [], "models": [], "engines": []}
    for place in range(rounds + 1):
        graph = await through([desk.graph], desk.rows, requests, together)
        models = await through(desk.models, desk.rows, requests, together)
        engines = alone(desk.models, desk.rows, requests, together)
        if place:  # the first warms up
            found["graph"].append(graph)
            found["models"].append(models)
            found["engines"].append(engines)
    told = {name: round(statistics.median(times), 2) for name, times in found.items()}
    over = [a - b for a, b in zip(found["graph"], found["engines"], strict=True)]
    beyond = [a - b for a, b in zip(found["graph"], found["models"], strict=True)]
    told["over_engines"] = round(statistics.median(over), 2)
    told["over_engines_worst"] = round(max(over), 2)
    told["over_models"] = round(statistics.median(beyond), 2)
    return {"together": together, **told}


async def main(rounds: int, requests: int, together: list[int]) -> list[dict[str, Any]]:
    """Serve three models and their graph, and measure."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        lines = []
        for place, name in enumerate(STEPS):
            file = onnx_models.double(folder / f"{name}.onnx", WIDTH, 1.0 + place)
            lines.append(ServedModel(name, "1.0.0", str(file), "sha256:0"))
        steps, ref = [], "$input.x"
        for name in STEPS:
            steps.append({"name": f"{name}_step", "model": name, "inputs": {"x": ref}})
            ref = f"steps.{name}_step.y"
        document = {
            "apiVersion": "modelworks/v1",
            "kind": "Graph",
            "metadata": {"name": "chain"},
            "spec": {"inputs": ["x"], "steps": steps, "outputs": {"y": ref}},
        }
        (folder / FILE).write_text(json.dumps(document))
        lines.append(ServedModel("chain", "1.0.0", text, "sha256:0", GRAPH, GRAPH))
        table = ModelTable(Block(), 1, lambda: None)
        try:
            await table.apply(ServedList(1, tuple(lines)))
            desk = Desk(
                [table.resolve(name) for name in STEPS],
                table.resolve("chain"),
                np.ones((1, WIDTH), np.float32),
            )
            return [await measure(desk, rounds, requests, count) for count in together]
        finally:
            await table.close(5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--together", type=int, nargs="+", default=[1, 8, 64])
    given = parser.parse_args()
    rows = uvloop.run(main(given.rounds, given.requests, given.together))
    print("microseconds a request   together  graph  models  engines  over engines  over models")
    for row in rows:
        print(
            f"{'':24} {row['together']:8} {row['graph']:6} {row['models']:7} {row['engines']:8} "
            f"{row['over_engines']:13} {row['over_models']:12}"
        )
    print(json.dumps(rows))
