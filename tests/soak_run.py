"""The soak: a server of several workers, clients that check every answer, and constant trouble."""

import asyncio
import http.client
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from modelworks.core.served import Batching, Isolation, ServedModel
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server, serve_list
from soak_client import Asker, Score, keep_asking
from soak_movers import LIMIT, ROOM, Movers, by_isolation, called, movers
from soak_trouble import BadClients, Watch, children_of, descendants_of, held_by, kill

CONNECTIONS = 64
QUIET_S = 10.0
LAZY = 12  # threads that begin with their first job: one a model, and the loop's executor
BACK_S = 60.0
WORKERS = 2
LOOKS, LOOK_S = 4, 0.25  # at memory, in a rest


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        requests: answered ones.
        every: requests between two acts of trouble.
        bad: requests between two bad clients.
        seconds: the run must end within.
        acts: of trouble, at least; every six are one of each kind.
        evictions: at least, in threads and in processes of their own each.
        seed: of everything that is random.
    """

    requests: int
    every: int
    bad: int
    seconds: float
    acts: int = 6
    evictions: int = 1
    seed: int = 4


@dataclass
class Report:
    """What came of it."""

    score: Score
    watch: Watch
    seconds: float = 0.0
    acts: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    loads: Counter[str] = field(default_factory=Counter)  # of models that are evicted
    evictions: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        grown = {
            pid: "{:+.1f} MB on {:.0f}".format(*(value / 1e6 for value in self.watch.growth(pid)))
            for pid in self.watch.samples
        }
        statuses = {
            f"{kind} {status}": n for (kind, status), n in sorted(self.score.statuses.items())
        }
        return (
            f"{self.score.answered} answers in {self.seconds:.0f} s, {self.score.lost} sent again; "
            f"acts {dict(self.acts)}; bad clients {sum(self.bad.values())}; "
            f"loads on demand {dict(self.loads)}; evictions {dict(self.evictions)}; "
            f"memory {grown}; "
            f"answers {statuses}"
        )


@dataclass(frozen=True)
class Scene:
    """What trouble is made for.

    Attributes:
        server: of the run.
        steady: its worker that is never killed.
        watch: samples of both.
        moving: the models that are evicted.
    """

    server: Server
    steady: int
    watch: Watch
    moving: Movers


class Soak:
    """One run on one server."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder = folder
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._factors = {f"{n + 1}.0.0": float(2 + n % 9) for n in range(2000)}
        self._version = 0
        self._fixed = self._others()
        self._movers = movers(folder)
        self._list = folder / "served.json"
        self.score = Score()
        self.acts: Counter[str] = Counter()

    def _others(self) -> list[ServedModel]:
        files = {
            "b": onnx_models.double(self._folder / "b.onnx", factor=5.0),
            "c": onnx_models.look_up(self._folder / "c.onnx"),
            "d": onnx_models.counting(self._folder / "d.onnx", Asker.STEPS),
            "n": onnx_models.double(self._folder / "n.onnx", factor=7.0),
        }
        own = {"n": Isolation.PROCESS}
        return [
            ServedModel(
                name,
                "1.0.0",
                str(path),
                "",
                isolation=own.get(name, Isolation.THREAD),
                pinned=True,
                batching=Batching(max_batch_size=16),
            )
            for name, path in files.items()
        ]

    def swap(self) -> None:
        """The next version of `a`, which every name of it moves to."""
        self._version += 1
        version = f"{self._version}.0.0"
        factor = self._factors[version]
        path = self._folder / f"a{factor:g}.onnx"
        if not path.exists():
            onnx_models.double(path, factor=factor)
        a = ServedModel("a", version, str(path), version, aliases=("champion",), pinned=True)
        serve_list(self._list, [a, *self._fixed, *self._movers], generation=self._version)

    def run(self) -> Report:
        """All of it.

        Raises:
            AssertionError: the server did not come up, or did not end.
        """
        self.swap()
        memory = ["--lazy", "--memory-limit", str(WORKERS * LIMIT)]
        with Server(["--served", str(self._list), "--workers", str(WORKERS), *memory]) as server:
            everyone = descendants_of(server.pid)
            report = uvloop.run(self._all(server))
            everyone += descendants_of(server.pid)
            server.terminate()
            code = server.wait()
            if code != 0:
                report.left.append(f"exit code {code}: {server.log[-2000:]}")
            if "Traceback" in server.log:
                report.left.append(server.log[server.log.index("Traceback") - 500 :][:4000])
        end = time.monotonic() + QUIET_S
        while [p for p in everyone if held_by(p)] and time.monotonic() < end:
            time.sleep(0.05)
        report.left += [f"process {pid}" for pid in everyone if held_by(pid)]
        return report

    async def _all(self, server: Server) -> Report:
        host, port = server.address.split(":")
        address = (host, int(port))
        steady, *_ = children_of(server.pid)
        watch = Watch([server.pid, steady])
        bad = BadClients(address, self.score, random.Random(self._plan.seed + 1))
        began = time.monotonic()
        moving = Movers(server, self.score, self._plan.seed + 3)
        more = self._more(began, moving)
        scene = Scene(server, steady, watch, moving)
        await self._settled(scene)
        base = {pid: held_by(pid) for pid in watch.pids}
        await moving.go_on()
        asker = Asker(random.Random(self._plan.seed + 2), self._factors, self.score)
        asking = [
            asyncio.ensure_future(
                keep_asking(address, asker, self.score, random.Random(1000 + n), more)
            )
            for n in range(CONNECTIONS)
        ]
        stirring = [
            asyncio.ensure_future(self._trouble(scene, more)),
            asyncio.ensure_future(self._bad(bad, more)),
            asyncio.ensure_future(moving.ask(more)),
        ]
        await asyncio.gather(*asking, *stirring)
        report = Report(
            self.score,
            watch,
            time.monotonic() - began,
            self.acts,
            bad.done,
            moving.loads,
            moving.evictions,
        )
        await self._settled(scene)
        for pid in watch.pids:
            report.left += await self._leaks(pid, base[pid])
        if self.score.answered < self._plan.requests:
            report.left.append(f"only {self.score.answered} answers in {report.seconds:.0f} s")
        return report

    def _more(self, began: float, moving: Movers):
        def more() -> bool:
            if self.score.wrong or time.monotonic() > began + self._plan.seconds:
                return False
            missing = sum(self.acts.values()) < self._plan.acts
            missing |= min(by_isolation(moving.evictions).values()) < self._plan.evictions
            return missing or self.score.answered < self._plan.requests

        return more

    # -- trouble

    async def _trouble(self, scene: Scene, more) -> None:
        """One act every so many requests; each is over before the next one begins."""
        acts = [self._swap, self._unload, self._load, self._kill_worker, self._kill_model]
        acts.append(self._rest)
        due, round_ = self._plan.every, []
        while more():
            if self.score.answered < due:
                await asyncio.sleep(0.01)
                continue
            round_ = round_ or self._random.sample(acts, len(acts))
            act = round_.pop()
            self.acts[act.__name__.strip("_")] += 1
            await act(scene)
            due = self.score.answered + self._plan.every

    async def _swap(self, scene: Scene) -> None:
        del scene
        await asyncio.to_thread(self.swap)

    async def _load(self, scene: Scene) -> None:
        await asyncio.to_thread(self._ask, scene.server, "load")

    async def _unload(self, scene: Scene) -> None:
        await asyncio.to_thread(self._ask, scene.server, "unload")

    def _ask(self, server: Server, verb: str) -> None:
        """Load or unload `b`: again while a worker is away, or others have the room."""
        end = time.monotonic() + BACK_S
        answer = ""
        while time.monotonic() < end:
            path = f"/v2/repository/models/b/{verb}"
            try:
                status, body = called(server.address, "POST", path, BACK_S)
            except (OSError, http.client.HTTPException) as error:
                answer = repr(error)
            else:
                if status == 200:
                    return
                answer = f"{status} {body[:300]!r}"
            if not (self.score.excused or ROOM in answer):
                break
            time.sleep(0.1)
        self.score.note(f"{verb} of b: {answer}")

    async def _kill_worker(self, scene: Scene) -> None:
        server, steady = scene.server, scene.steady
        victims = [pid for pid in children_of(server.pid) if pid != steady]
        below = [child for pid in victims for child in descendants_of(pid)]
        self._kill(self._random.choice(victims))
        end = time.monotonic() + BACK_S
        while time.monotonic() < end:
            await asyncio.sleep(0.05)
            self.score.killed_at = time.monotonic()
            others = [pid for pid in children_of(server.pid) if pid != steady]
            if (
                others
                and others != victims
                and server.log.count("d 1.0.0 is ready") >= self._started
            ):
                break
        else:
            self.score.note("a killed worker did not come back")
        if left := [pid for pid in below if held_by(pid)]:
            await asyncio.sleep(QUIET_S / 2)
            if left := [pid for pid in left if held_by(pid)]:
                self.score.note(f"processes of a killed worker's models live on: {left}")

    @property
    def _started(self) -> int:
        """Workers that have been started so far."""
        return 2 + self.acts["kill_worker"]

    async def _kill_model(self, scene: Scene) -> None:
        """A process of an isolated model, in any worker."""
        victims = [
            pid for worker in children_of(scene.server.pid) for pid in descendants_of(worker)
        ]
        if victims:
            self._kill(self._random.choice(victims), breaks=False)
        await asyncio.sleep(0)

    async def _rest(self, scene: Scene) -> None:
        """No model that is evicted is loaded: only now is memory to be compared."""
        await scene.moving.rest()
        for _ in range(LOOKS):
            await asyncio.sleep(LOOK_S)
            scene.watch.look(self.score.answered)
        await scene.moving.go_on()

    def _kill(self, pid: int, *, breaks: bool = True) -> None:
        if breaks:
            self.score.killed_at = time.monotonic()
        kill(pid)

    async def _bad(self, clients: BadClients, more) -> None:
        due, running = 0, set()
        while more():
            if self.score.answered >= due and len(running) < 16:
                due += self._plan.bad
                task = asyncio.ensure_future(clients.one())
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(0.003)
        await asyncio.gather(*running)

    # -- what is held

    async def _settled(self, scene: Scene) -> None:
        """Until nobody is connected and all models are as they were."""
        await self._load(scene)
        await asyncio.to_thread(scene.moving.unload)
        await asyncio.sleep(1.0)

    async def _leaks(self, pid: int, base) -> list[str]:
        """Files (shared memory among them, which has no name) and threads beyond the first ones."""
        end = time.monotonic() + QUIET_S
        while (held := held_by(pid)) is not None and time.monotonic() < end:
            if held.files <= base.files + 3 and held.threads <= base.threads + LAZY:
                return []
            await asyncio.sleep(0.1)
        return [f"process {pid} held {base} and holds {held}"]
