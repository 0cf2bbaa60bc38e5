"""What going by routes costs a request inside the server: policy and access control, no socket.

    python benchmarks/routes.py [--rounds 200] [--json] [--save]

In the harness of `budget.py`: CPU nanoseconds of the thread, a figure is the tenth percentile, the
rounds are cut into blocks and the range of the blocks' own figures is the noise. All variants get
the very same requests, each of another user and with an API key: what differs is what the server
does with them. The snapshot has 1,000 routes and 10,000 keys. Beside it: what reading such a
snapshot takes of a thread, how long its longest step keeps the loop from its turn, and what the
loop itself does to put it in force.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import time
from functools import partial
from pathlib import Path

import orjson
import uvloop
from budget import AUTHORIZATION, RESULTS, Harness, Parts, framed, more, noted
from workloads import JSON, cached

from modelworks.core.breath import Breath, uncollected
from modelworks.core.codec import encode
from modelworks.core.keys import digest_of
from modelworks.core.routes import Arm, Limit, Pass, Route, Snapshot, Source, Sticky
from modelworks.core.served import ServedModel
from modelworks.edge.connection import Connection
from modelworks.edge.hub import Hub
from modelworks.edge.limits import Limits
from modelworks.protocol.routes import Policy, spans
from modelworks.protocol.routes.access import Access
from modelworks.protocol.routes.limits import Table
from modelworks.protocol.routes.reading import read_snapshot
from modelworks.serving.app import App
from modelworks.serving.block import Block
from modelworks.serving.entries import Entry
from modelworks.serving.routing.book import Book, open_book
from modelworks.serving.routing.router import Router

ROUTES, KEYS = 1000, 10_000
BAR_US = 2.0
BAR_MS = 5.0
SHARES = {"a": 0.9, "b": 0.1}
LIMIT = Limit(rate=1e9, burst=1000)
BY_USER = Sticky(Source.HEADER, "x-user")
ARMS = (Arm("a", "m", "1"), Arm("b", "m", "2"))


class TwoVersions:
    """A table of models whose two versions are one: their requests share batches."""

    def __init__(self, live) -> None:
        self._live = live
        self._entries = []
        for version in ("1", "2"):
            entry = Entry(ServedModel("m", version, "", ""))
            entry.live = live
            self._entries.append(entry)

    def entry(self, _: str, version: str | None = None) -> Entry:
        """A version."""
        return self._entries[version == "2"]

    def entries(self) -> list[Entry]:
        """Both."""
        return self._entries

    def names(self):
        """What answers without routes."""
        return [("m", self._live)]

    async def revive(self, _: Entry) -> None:
        """Nothing has left."""


def text(*, split: bool, keys: bool, limits: bool) -> bytes:
    """A snapshot's text; the first route is asked."""
    shares = SHARES if split else {"a": 1.0}
    routes = [
        Route(
            f"r{n}",
            ARMS,
            spans((), shares),
            f"m{n}" if n else "m",
            sticky=BY_USER,
            override="x-arm",
        )
        for n in range(ROUTES)
    ]
    own = LIMIT if limits else None
    passes = {digest_of(b"%d" % n): Pass(f"k{n}", models=("m*",)) for n in range(KEYS - 1)}
    passes[digest_of(AUTHORIZATION[7:])] = Pass("bench", models=("m*",), limit=own)
    shared = {"default": LIMIT} if limits else {}
    snapshot = Snapshot(1, tuple(routes), passes if keys else {}, limits=shared)
    return orjson.dumps(encode(snapshot))


class Asked(Parts):
    """Requests of many users, each with a key."""

    def __init__(self, model: Path, bodies: list[bytes]) -> None:
        super().__init__(model, bodies)
        self.requests = [
            framed(body, b"Authorization: %b\r\nX-User: user-%d\r\n" % (AUTHORIZATION, n))
            for n, body in enumerate(bodies)
        ]

    def server(self, snapshot: bytes | None) -> Harness:
        """A server that goes by a snapshot; None = by none."""
        live, _ = self.live()
        table = TwoVersions(live)
        router = None if snapshot is None else Router(Block())
        app = App(self.block, "0", 0.0, router=router)
        app.begin(table, None)
        if router is not None:
            router.use(open_book(snapshot, lambda: None, Table()))
        app.refresh()
        hub = Hub(app, Limits(), asyncio.get_running_loop())
        return Harness(partial(Connection, hub), self.requests, live.recorder.settle)


async def measure(model: Path, bodies: list[bytes], rounds: int) -> dict:
    """Every variant in turn."""
    parts = Asked(model, bodies)
    variants = {
        "no routes": parts.server(None),
        "split by user": parts.server(text(split=True, keys=False, limits=False)),
        "keys": parts.server(text(split=False, keys=True, limits=False)),
        "split, keys": parts.server(text(split=True, keys=True, limits=False)),
        "split, keys, limits of key and tenant": parts.server(
            text(split=True, keys=True, limits=True)
        ),
    }
    taken = {name: [] for name in variants}
    for harness in variants.values():
        for _ in range(3):
            await harness.sample()
    gc.freeze()
    order = list(variants)
    for _ in range(rounds):
        for name in order:
            taken[name].append(await variants[name].sample())
        order.reverse()
    base = taken["no routes"]
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {platform.platform()}",
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "rounds": rounds,
        "no routes": noted(base),
        "costs": {name: more(taken[name], base) for name in variants if name != "no routes"},
        "swap": swapped(),
    }


class Steps(Breath):
    """Notes how long the other threads had to wait for their turn: CPU between two breaths."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0
        self._last = time.thread_time()

    def __call__(self) -> None:
        """Note, then breathe."""
        now = time.thread_time()
        self.longest = max(self.longest, now - self._last)
        super().__call__()
        self._last = time.thread_time()


def swapped() -> dict:
    """What a swap takes of another thread, its longest step, and what it takes of the loop."""
    snapshot = text(split=True, keys=True, limits=True)
    gc.set_threshold(20_000, 20, 50)  # as a worker has it
    router = Router(Block())
    found = {"bytes": len(snapshot), "make_ms": [], "longest_step_ms": [], "in_force_ms": []}
    book = open_book(snapshot, lambda: None, Table())
    for _ in range(5):
        before = book  # a worker's thread gives it back, not its loop
        began, steps = time.thread_time(), Steps()
        with uncollected():
            read = read_snapshot(snapshot, steps)
            book = Book(read, Policy(read, steps), Access(read, table=Table()))
            steps()
        found["make_ms"].append(round(1000 * (time.thread_time() - began), 1))
        found["longest_step_ms"].append(round(1000 * steps.longest, 2))
        began = time.thread_time()
        router.use(book)
        found["in_force_ms"].append(round(1000 * (time.thread_time() - began), 3))
        del before
    return found


def table(found: dict) -> str:
    """For humans."""
    base, swap = found["no routes"], found["swap"]
    lines = [
        f"{found['rounds']} rounds; load {found['load']:.1f}",
        "",
        "| | us a request | its blocks | budget |",
        "|---|---:|---:|---:|",
        f"| no routes | {base['us']:.2f} | {base['low']:.2f} to {base['high']:.2f} | |",
    ]
    for name, one in found["costs"].items():
        between = f"{one['low']:.2f} to {one['high']:.2f}"
        lines.append(f"| {name}: more by | {one['us']:.2f} | {between} | {BAR_US:.1f} |")
    lines.append(
        f"\nswap of {ROUTES} routes and {KEYS} keys ({swap['bytes']} bytes), five times: "
        f"{swap['make_ms']} ms of another thread, whose longest step takes "
        f"{swap['longest_step_ms']} (budget {BAR_MS}); {swap['in_force_ms']} ms of the loop"
    )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print the document")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/routes.json")
    asked = parser.parse_args()
    model = cached("S")
    bodies = [JSON.body(row).data for row in model.rows[:72]]
    found = uvloop.run(measure(model.path, bodies, asked.rounds))
    if asked.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "routes.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1) if asked.json else table(found))


if __name__ == "__main__":
    main()
