"""What a request costs inside the server, stage by stage and line by line, without a socket.

    python benchmarks/budget.py [--rounds 200] [--json] [--save]

Real connections over a transport that only counts, the real application, batcher, engine and
counters, in batches of 64; beside them the yardstick sketch in the same harness. Times are CPU
nanoseconds of the thread, in many short samples, every variant in turn. Neighbours can only make a
sample longer, so a figure is the tenth percentile; the rounds are cut into blocks, and the range of
the blocks' own figures is the noise. A line of the budget is the server less the server without
that line. What is switched off is switched off here, by another class in its place: the product
has no such switch.
"""

import argparse
import ast
import asyncio
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvloop
from bare import BareConnection, OneModel, OpenBatcher, SilentRecorder, Transport, TrustingReader
from targets import sketch_path
from workloads import JSON, cached

from modelworks.core.keys import Key, Role, digest_of
from modelworks.core.served import ServedModel
from modelworks.edge.connection import Connection
from modelworks.edge.exchange import Handler
from modelworks.edge.hub import Hub
from modelworks.edge.key_gate import KeyGate
from modelworks.edge.key_ring import KeyRing
from modelworks.edge.limits import Limits
from modelworks.serving.app import App
from modelworks.serving.batcher import Call
from modelworks.serving.block import Block
from modelworks.serving.infer import answer, gather, infer
from modelworks.serving.live import Live
from modelworks.serving.loading import load_model
from modelworks.serving.statistics import Recorder

RESULTS = Path(__file__).resolve().parent / "results"
TOGETHER = 64  # connections, and so members of a batch
BATCHES = 8  # in a timed sample
BLOCKS = 5  # of rounds
LINES_US = {
    "edge limits": 1.0,
    "signature check": 0.6,
    "metrics and statistics": 1.0,
    "routing": 0.4,
    "deadline and queue bounds": 0.6,
}
TOTAL_US = 4.0
KEYS_US = 2.0
MANY = 1000  # API keys in the file
AUTHORIZATION = b"Bearer mw_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
KEYS = [Key(f"k{n}", Role.PREDICT, digest_of(AUTHORIZATION[7:] + b"+" * n)) for n in range(MANY)]
ARRIVING = "parse and dispatch"
ASKING = "parse and dispatch, with an API key"
REST = "members, queue, the loop (the rest)"


class Harness:
    """A server without sockets: connections, and what they are sent."""

    def __init__(
        self,
        connect: Callable[[], asyncio.Protocol],
        requests: list[bytes],
        settle: Callable[[], object] = int,
    ) -> None:
        self._connect = connect
        self._settle = settle  # what the server puts off until later; it costs all the same
        self._requests = requests
        self._open: list[asyncio.Protocol] = []
        self.fresh()

    def fresh(self) -> None:
        """New connections; whoever waits for an answer on the old ones gets none."""
        for connection in self._open:
            connection.connection_lost(None)
        self.transports = [Transport() for _ in range(TOGETHER)]
        self._open = [self._connect() for _ in self.transports]
        for connection, transport in zip(self._open, self.transports, strict=True):
            connection.connection_made(transport)

    async def sample(self, *, answered: bool = True) -> float:
        """CPU nanoseconds a request, of a batch that warms the caches and those behind it."""
        await self._batch(0, answered=answered)
        self._settle()
        began = time.thread_time_ns()
        for batch in range(BATCHES):
            await self._batch(batch, answered=answered)
        self._settle()
        taken = time.thread_time_ns() - began
        said = self.transports[-1].last
        if answered and not said.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"a refusal: {said[:300]!r}")
        return taken / (BATCHES * TOGETHER)

    async def _batch(self, number: int, *, answered: bool) -> None:
        """A request on every connection; each connection sends others from batch to batch."""
        last = self.transports[-1]
        written = last.writes
        for connection, request in zip(self._open, self._requests[number:], strict=False):
            connection.data_received(request)
        while answered and last.writes == written:  # noqa: ASYNC110 - the loop's turns are measured
            await asyncio.sleep(0)


class Parts:
    """The pieces of a server, and variants of it that miss one."""

    def __init__(self, model: Path, bodies: list[bytes]) -> None:
        self._model = model
        self.bodies = bodies
        self.requests = [framed(body) for body in bodies]
        self.keyed = [framed(body, b"Authorization: %b\r\n" % AUTHORIZATION) for body in bodies]
        self.block = Block()

    def live(self, recorder=None) -> tuple[Live, object]:
        """A loaded model and its session."""
        served = ServedModel("m", "1", str(self._model), "")
        loaded = load_model(served, 1)
        recorder = recorder or Recorder.of_model(self.block, "m", "1")
        live = Live(served, loaded, recorder, answer, gather)
        live.batcher.adjust(TOGETHER, 0.0)  # whatever a busy machine made of its curve
        return live, loaded.session

    def asking(self, handler: Handler) -> Harness:
        """Connections that ask for an API key, of callers that bring one."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "keys")
            path.write_text("".join(f"{key}\n" for key in KEYS))
            ring = KeyRing(path)
        gate = KeyGate(ring)
        hub = Hub(gate.before(handler), Limits(), asyncio.get_running_loop(), gate.admit)
        return Harness(partial(Connection, hub), self.keyed)

    def harness(self, live: Live, *, bare: bool = False, routed: bool = True) -> Harness:
        """A server around a model."""
        handler: Handler = partial(infer, live)
        if routed:
            app = App(self.block, "0", 0.0)
            app.begin(OneModel(live), None)
            app.refresh()
            handler = app
        return self.edge(handler, live.recorder.settle, bare=bare)

    def edge(
        self, handler: Handler, settle: Callable[[], object] = int, *, bare: bool = False
    ) -> Harness:
        """Connections before a handler."""
        hub = Hub(handler, Limits(), asyncio.get_running_loop())
        connect = partial(BareConnection if bare else Connection, hub)
        return Harness(connect, self.requests, settle)

    def variants(self) -> dict[str, Harness]:
        """The server, the server without each line, and without any."""
        without_check, _ = self.live()
        without_check.reader = TrustingReader(without_check.signature, self.bodies[0])
        unbounded, session = self.live()
        unbounded.batcher = OpenBatcher(unbounded, session)
        nothing, session = self.live(SilentRecorder())
        nothing.reader = TrustingReader(nothing.signature, self.bodies[0])
        nothing.batcher = OpenBatcher(nothing, session)
        return {
            "server": self.harness(self.live()[0]),
            "edge limits": self.harness(self.live()[0], bare=True),
            "signature check": self.harness(without_check),
            "metrics and statistics": self.harness(self.live(SilentRecorder())[0]),
            "routing": self.harness(self.live()[0], routed=False),
            "deadline and queue bounds": self.harness(unbounded),
            "all of them": self.harness(nothing, bare=True, routed=False),
        }


def framed(body: bytes, header: bytes = b"") -> bytes:
    """A request as wrk sends it, with a further header."""
    return (
        b"POST /v2/models/m/infer HTTP/1.1\r\nHost: 127.0.0.1:9911\r\n"
        b"Content-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
        % (header, len(body), body)
    )


def sketch(script: Path, model: Path) -> Callable[[], asyncio.Protocol]:
    """The sketch's connection, its last line (the server's start) left out."""
    tree = ast.parse(script.read_text())
    tree.body.pop()
    names: dict = {"__name__": "sketch"}
    given, sys.argv = sys.argv, [str(script), str(model), "0"]
    try:
        exec(compile(tree, str(script), "exec"), names)
    finally:
        sys.argv = given
    return names["Connection"]


class Keeping:
    """A recorder that keeps what it is told of."""

    def __init__(self, recorder: Recorder, calls: list[Call]) -> None:
        self._calls = calls
        self._call = recorder.call
        self.waiting = recorder.waiting
        self.settle = recorder.settle

    def call(self, call: Call) -> bool:
        """Count and keep."""
        self._calls.append(call)
        return self._call(call)


class Arriving:
    """Requests up to the handler, without API keys and with one."""

    def __init__(self, parts: Parts) -> None:
        self._edges = {
            ARRIVING: parts.edge(lambda _: None),
            ASKING: parts.asking(lambda _: None),
        }
        self._order = list(self._edges)

    async def sample(self) -> dict[str, float]:
        """CPU nanoseconds a request of both."""
        found = {}
        for name in self._order:
            edge = self._edges[name]
            edge.fresh()
            await edge.sample(answered=False)
            found[name] = await edge.sample(answered=False)
        self._order.reverse()  # who comes second finds warmer caches
        return found


class Stages:
    """Each stage on its own, on material that a real run left behind."""

    def __init__(self, parts: Parts) -> None:
        self._live, self._session = parts.live()
        self._bodies = parts.bodies
        self._calls: list[Call] = []
        self._arriving = Arriving(parts)
        self._reply = parts.edge(lambda exchange: exchange.reply(200, ANSWER, b"application/json"))
        self._recorder = self._live.recorder
        self._live.recorder = Keeping(self._recorder, self._calls)
        self._whole = parts.harness(self._live)

    async def prepare(self) -> None:
        """Leave a call behind, and templates learnt."""
        await self._whole.sample()
        self._call = max(self._calls, key=lambda call: len(call.members))
        self._calls.clear()
        if len(self._call.members) < TOGETHER:
            raise RuntimeError(f"the largest batch was of {len(self._call.members)} members")

    async def sample(self) -> dict[str, float]:
        """CPU nanoseconds a request of every stage."""
        arriving = await self._arriving.sample()
        live, call = self._live, self._call
        known = [live.reader.recognise(body, None) for body in self._bodies[:TOGETHER]]
        template, varying = known[0][0], [one[1] for one in known]
        joined = template.read(varying)
        found = {
            **arriving,
            "reply and write": await self._reply.sample(),
            "recognise": timed(
                lambda: [live.reader.recognise(body, None) for body in self._bodies[:TOGETHER]]
            ),
            "decode": timed(lambda: template.read(varying)),
            "engine": timed(lambda: self._session.infer(joined)),
            "encode": timed(lambda: live.writer.write(template.form, call.results, [1] * TOGETHER)),
            "statistics": timed(lambda: self._recorder.call(call), self._recorder.settle),
        }
        found["reply and write"] -= found[ARRIVING]
        return found


ANSWER = b"x" * 300


def timed(work: Callable[[], object], after: Callable[[], object] = int) -> float:
    """CPU nanoseconds a request of something done for 64 requests at once, a few times."""
    began = time.thread_time_ns()
    for _ in range(BATCHES):
        work()
    after()
    return (time.thread_time_ns() - began) / (BATCHES * TOGETHER)


async def measure(model: Path, bodies: list[bytes], rounds: int) -> dict:
    """Every variant and stage in turn, so many times."""
    parts = Parts(model, bodies)
    variants = parts.variants()
    script = sketch_path()
    if script is not None:
        variants["sketch"] = Harness(sketch(script, model), parts.requests)
    stages = Stages(parts)
    await stages.prepare()
    whole: dict[str, list[float]] = {name: [] for name in variants}
    single: dict[str, list[float]] = {}
    for harness in variants.values():
        for _ in range(3):
            await harness.sample()
    gc.freeze()
    for _ in range(rounds):
        for name, harness in variants.items():
            whole[name].append(await harness.sample())
        for name, taken in (await stages.sample()).items():
            single.setdefault(name, []).append(taken)
    return document(whole, single)


def document(whole: dict[str, list[float]], single: dict[str, list[float]]) -> dict:
    """Undisturbed microseconds, lines as differences."""
    server = whole["server"]
    lines = {}
    for name in (*LINES_US, "all of them"):
        lines[name] = more(server, whole[name])
    keys = more(single.pop(ASKING), single[ARRIVING])
    stages = {name: noted(values) for name, values in single.items()}
    rest = (tenth(server) - sum(tenth(values) for values in single.values())) / 1000
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {platform.platform()}",
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "rounds": len(server),
        "whole": {name: noted(whole[name]) for name in ("server", "sketch") if name in whole},
        "stages": stages | {REST: {"us": round(rest, 2)}},
        "lines": lines,
        "keys": keys,
    }


def more(one: list[float], other: list[float]) -> dict[str, float]:
    """By how much one takes longer than the other."""
    blocks = zip(blocks_of(one), blocks_of(other), strict=True)
    differences = [tenth(these) - tenth(those) for these, those in blocks]
    return figure(tenth(one) - tenth(other), differences)


async def keys_alone(model: Path, bodies: list[bytes], rounds: int) -> dict:
    """What asking for an API key costs, and nothing else; of the compiled form too."""
    arriving = Arriving(Parts(model, bodies))
    await arriving.sample()
    found = [await arriving.sample() for _ in range(rounds)]
    return more([one[ASKING] for one in found], [one[ARRIVING] for one in found])


def tenth(values: list[float]) -> float:
    """The tenth percentile: what it takes undisturbed."""
    return statistics.quantiles(values, n=10)[0]


def blocks_of(values: list[float]) -> list[list[float]]:
    """The rounds, cut into blocks in order."""
    size = len(values) // BLOCKS
    return [values[size * block : size * (block + 1)] for block in range(BLOCKS)]


def noted(values: list[float]) -> dict[str, float]:
    """A figure in microseconds and its noise."""
    return figure(tenth(values), [tenth(block) for block in blocks_of(values)])


def figure(ns: float, blocks: list[float]) -> dict[str, float]:
    """In microseconds, with the least and the most of the blocks."""
    low, high = min(blocks), max(blocks)
    return {"us": round(ns / 1000, 2), "low": round(low / 1000, 2), "high": round(high / 1000, 2)}


def table(found: dict) -> str:
    """For humans."""
    lines = [
        f"{found['rounds']} rounds of {BATCHES} batches of {TOGETHER}; load {found['load']:.1f}",
        "",
        "| | us a request | its blocks |",
        "|---|---:|---:|",
    ]
    for title in ("whole", "stages"):
        for name, one in found[title].items():
            between = f"{one['low']:.2f} to {one['high']:.2f}" if "low" in one else ""
            lines.append(f"| {name} | {one['us']:.2f} | {between} |")
    lines += ["", "| switched off | saves us | its blocks | budget |", "|---|---:|---:|---:|"]
    for name, one in found["lines"].items():
        bar = LINES_US.get(name, TOTAL_US)
        between = f"{one['low']:.2f} to {one['high']:.2f}"
        lines.append(f"| {name} | {one['us']:.2f} | {between} | {bar:.1f} |")
    keys = found["keys"]
    between = f"{keys['low']:.2f} to {keys['high']:.2f}"
    lines += ["", "| switched on | costs us | its blocks | budget |", "|---|---:|---:|---:|"]
    lines.append(f"| API keys | {keys['us']:.2f} | {between} | {KEYS_US:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--keys", action="store_true", help="only what API keys cost")
    parser.add_argument("--json", action="store_true", help="print the document")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/budget.json")
    asked = parser.parse_args()
    model = cached("S")
    bodies = [JSON.body(row).data for row in model.rows[: TOGETHER + BATCHES]]
    if asked.keys:
        print(json.dumps(uvloop.run(keys_alone(model.path, bodies, asked.rounds))))
        return
    found = uvloop.run(measure(model.path, bodies, asked.rounds))
    if asked.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "budget.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1) if asked.json else table(found))


if __name__ == "__main__":
    main()
