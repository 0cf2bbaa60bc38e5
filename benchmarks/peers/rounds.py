"""All servers of one model, started, checked, then measured in turns, one awake at a time.

A server that is not being measured stands still (SIGSTOP), so that what it does in idleness (Ray's
daemons, a JVM) costs nobody else. Every round asks every server in a new order, so that a busy
machine disturbs all alike. A server that fails is listed with its reason and the rest goes on.
"""

import math
import os
import platform
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers import asking, environments
from benchmarks.peers.environments import MissingError
from benchmarks.peers.peer import Peer, Place, free_port, ours
from benchmarks.peers.processes import Tree

SERVER_CORE, LOAD_CORE = 0, 1
IDLE_S = 1.0
WARM_S = 1
WAITS, LONGEST_S = 6, 10
SHORTEST = ("binary", "base64", "json")
FIGURES = ("requests_s", "p50_us", "p99_us", "cpu_us")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: `connections` at a time, `rounds` of `seconds` each."""

    connections: tuple[int, ...]
    rounds: int
    seconds: int
    best_wire: bool = False

    def wires(self, peer):
        """Names of the wires that are asked: all, or the shortest; ours all, to compare with."""
        names = list(peer.wires)
        if not self.best_wire or peer.folder is None:
            return names
        return [min(names, key=SHORTEST.index)]

    def minutes(self, peers):
        """About how long it takes once everything is installed."""
        points = sum(len(self.wires(peer)) for peer in peers) * len(self.connections)
        turns = len(peers) * len(self.connections)
        return (self.rounds * (points * (self.seconds + 0.1) + turns * 0.5) + 8 * len(peers)) / 60


@dataclass
class Running:
    """A server that is up, with what is known about it."""

    peer: Peer
    tree: Tree
    port: int
    wires: dict
    requests: dict
    facts: dict
    points: dict = field(default_factory=dict)
    rates: dict = field(default_factory=dict)

    @contextmanager
    def awake(self):
        """It runs inside, and stands still outside."""
        self.tree.signal(signal.SIGCONT)
        if self.peer.freezes:
            time.sleep(self.peer.wake_s)
        try:
            yield
            self.tree.drain()
        finally:
            if self.peer.freezes:
                self.tree.signal(signal.SIGSTOP)

    def seconds(self, wire, connections, least):
        """How long a round is: at least `least`, and several times what a request will wait."""
        waits = connections / max(self.rates.get(wire, 1.0), 0.1)
        return max(least, min(LONGEST_S, math.ceil(WAITS * waits)))

    def measure(self, wire, connections, least):
        """One round of one point, added to `points`."""
        seconds = self.seconds(wire, connections, least)
        before = self.tree.cpu_seconds()
        told = asking.wrk(
            self.port, self.wires[wire], self.requests[wire], connections, seconds, LOAD_CORE
        )
        used = self.tree.cpu_seconds() - before
        if not told["requests"] and not self.tree.alive():
            raise MissingError(f"ended under load: {self.tree.words()}")
        point = self.points.setdefault(wire, {}).setdefault(
            str(connections), {**{name: [] for name in FIGURES}, "errors": 0, "seconds": seconds}
        )
        point["requests_s"].append(round(told["requests"] / told["seconds"], 1))
        point["p50_us"].append(told["p50_us"])
        point["p99_us"].append(told["p99_us"])
        point["cpu_us"].append(round(used / max(1, told["requests"]) * 1e6, 1))
        point["errors"] += told["errors"]


def machine():
    """What it ran on; no name of the machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "processor": names[0] if names else platform.machine(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def say(words):
    """Progress, on stderr."""
    print(words, file=sys.stderr, flush=True)


def run(model, peers, plan):
    """Measure every peer on one model.

    Returns:
        The document's section for this model.
    """
    section = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "connections": list(plan.connections),
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "load_before": round(os.getloadavg()[0], 2),
        "servers": {},
        "failed": {},
    }
    with ExitStack() as stack:
        running = []
        for peer in peers:
            try:
                up = started(stack, peer, model, plan)
            except MissingError as error:
                section["failed"][peer.name] = str(error)
                say(f"{model.key} {peer.name}: {error}")
            else:
                running.append(up)
                say(f"{model.key} {peer.name}: ready in {up.facts['ready_s']} s, answers right")
        turns(model, running, plan, section["failed"])
        for up in running:
            up.facts["loaded_rss_mb"], up.facts["loaded_pss_mb"] = up.tree.memory_mb()
            section["servers"][up.peer.name] = {**up.facts, "points": up.points}
    section["load_after"] = round(os.getloadavg()[0], 2)
    return section


def started(stack, peer, model, plan):
    """Install, prepare, start, check, warm up, weigh; then it stands still.

    Raises:
        MissingError: with the reason.
    """
    if lacking := peer.lacking():
        raise MissingError(f"not installed: {', '.join(lacking)}")
    found = environments.environment(peer.service) if peer.folder else None
    name = f"peer-{peer.folder or 'ours'}-"
    folder = Path(
        stack.enter_context(tempfile.TemporaryDirectory(prefix=name, ignore_cleanup_errors=True))
    )
    python = found.python if found else ours()
    place = Place(python, folder, model, free_port(), peer.service)
    peer.prepare(place)
    tree = Tree(peer.command(place), peer.variables(place), folder, SERVER_CORE)
    stack.callback(tree.end)
    tree.start()
    wires = {wire: peer.wires[wire](model) for wire in plan.wires(peer)}
    try:
        ready = asking.until_ready(tree, place.port, next(iter(wires.values())), model)
        up = Running(peer, tree, place.port, wires, {}, {"ready_s": round(ready, 2)})
        for wire, how in wires.items():
            asking.check(place.port, how, model)
            up.requests[wire] = folder / f"{wire}.requests"
            asking.write_requests(up.requests[wire], how, model)
    except MissingError:
        tree.end()
        raise
    weigh(up, found)
    return up


def weigh(up, installed):
    """Facts that need no load; afterwards it stands still."""
    facts = up.facts
    facts["setting"] = up.peer.setting
    facts["versions"] = versions(installed)
    if installed:
        facts["megabytes"], facts["packages"] = installed.megabytes, installed.packages
    facts["rss_mb"], facts["pss_mb"] = up.tree.memory_mb()
    facts["processes"] = len(up.tree.pids())
    before = up.tree.cpu_seconds()
    time.sleep(IDLE_S)
    facts["idle_cpu_percent"] = round((up.tree.cpu_seconds() - before) / IDLE_S * 100, 1)
    for wire, how in up.wires.items():
        told = asking.wrk(up.port, how, up.requests[wire], 8, WARM_S, LOAD_CORE)
        up.rates[wire] = told["requests"] / told["seconds"]
    up.tree.drain()
    if up.peer.freezes:
        up.tree.signal(signal.SIGSTOP)


def versions(installed):
    """The versions that decide the figures; of ours those of the environment that runs this."""
    if installed is None:
        return {name: version(name) for name in ("modelworks", "onnxruntime", "numpy")}
    named = (*installed.roots, "numpy", "onnxruntime")
    return {name: installed.versions[name] for name in named if name in installed.versions}


def turns(model, running, plan, failed):
    """The rounds; a server that fails in one is taken out of `running`."""
    order = random.Random(0)  # the same turns in every run
    for number in range(plan.rounds):
        say(f"{model.key} round {number + 1} of {plan.rounds}")
        for count in plan.connections:
            for up in order.sample(running, len(running)):
                try:
                    with up.awake():
                        for wire in up.wires:
                            up.measure(wire, count, plan.seconds)
                except MissingError as error:
                    failed[up.peer.name] = f"at {count} connections: {error}"
                    say(f"{model.key} {up.peer.name}: {error}")
                    running.remove(up)
                    up.tree.end()
