"""Models of the soak that have no room beside each other: evicted, and loaded again by who asks."""

import asyncio
import http.client
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from modelworks.core.served import Batching, Isolation, ServedModel
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server
from soak_client import Asked, Score, keep_asking, post

MIB = 1 << 20
SIZE = 4_000_000  # entries of a table
TABLE = 8 * SIZE  # bytes
PROCESS = 45 * MIB  # of a model's own process, beside its table
BASE = 100 * MIB  # of a worker, without these models
FACTORS = {"p0": 11, "t0": 12, "p1": 13, "t1": 14, "t2": 15}  # t: in a thread, p: in a process
LIMIT = BASE + PROCESS + 3 * TABLE + TABLE // 2  # three tables, or one process and one table
CLIENTS = 4
COUNT_S = 1.0
AWAKE_S = 12.0  # between two rests: a model that was loaded stays for three seconds at least
LONGEST_S = 90.0  # until who waits for a model has an answer, and a model is back
ROOM = "are free in this worker"


def movers(folder: Path) -> list[ServedModel]:
    """The lines of the list; what each takes is written beside it, as a server would have."""
    lines, sizes = [], {}
    for name, factor in FACTORS.items():
        path = onnx_models.look_up(folder / f"{name}.onnx", SIZE, factor)
        isolation = Isolation.PROCESS if name[0] == "p" else Isolation.THREAD
        lines.append(
            ServedModel(
                name,
                "1.0.0",
                str(path),
                f"sha256:{name}",
                isolation=isolation,
                batching=Batching(max_batch_size=16),
            )
        )
        sizes[f"sha256:{name} {isolation}"] = TABLE + (PROCESS if name[0] == "p" else 0)
    (folder / "footprints.json").write_text(json.dumps(sizes))
    return lines


def called(address: str, method: str, path: str, seconds: float) -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=seconds)
    try:
        connection.request(method, path, b"{}" if method == "POST" else None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def by_isolation(counts: Counter[str]) -> dict[Isolation, int]:
    """Counts of these models, summed over those in threads and those in processes."""
    kinds = {Isolation.THREAD: "t", Isolation.PROCESS: "p"}
    return {
        isolation: sum(counts[name] for name in FACTORS if name[0] == letter)
        for isolation, letter in kinds.items()
    }


class MoverAsker:
    """Asks one of these models for a while, then the next one: who was unused longest is next.

    Args:
        generator: of this run.
        score: where statuses are counted.
    """

    def __init__(self, generator: random.Random, score: Score) -> None:
        self._random = generator
        self._score = score
        self._turn = generator.randrange(len(FACTORS))
        self._number = self._left = 0
        self._name = ""

    def make(self) -> Asked:
        """The next request."""
        if self._left == 0:
            self._turn += 1
            self._name = list(FACTORS)[self._turn % len(FACTORS)]
            self._left = self._random.randrange(5, 50)
        self._left -= 1
        self._number += 1
        name, number = self._name, f"{self._name}-{self._number}"
        value = self._random.randrange(SIZE)
        entry = {"name": "x", "shape": [1, 1], "datatype": "INT64", "data": [value]}

        def check(status: int, body: bytes) -> str:
            self._score.statuses[name, status] += 1
            if status == 503:  # no room for a while, a process that was killed, a rest
                return ""
            found = json.loads(body)
            right = status == 200 and found["model_name"] == name and found["id"] == number
            if right and found["outputs"][0]["data"] == [FACTORS[name] * value]:
                return ""
            return f"{number}: {value} gave {status} {body[:300]!r}"

        return Asked(post(f"/v2/models/{name}/infer", {"id": number, "inputs": [entry]}), check)


class Movers:
    """Their clients, and rests in which none of them is loaded.

    Args:
        server: that serves `movers`, lazily, with `LIMIT` bytes a worker.
        score: of the run.
        seed: of everything random.

    Attributes:
        loads: so far, by model, as the statistics say.
        evictions: the same.
    """

    def __init__(self, server: Server, score: Score, seed: int) -> None:
        self._server = server
        self._score = score
        self._seed = seed
        self._going = asyncio.Event()
        self._going.set()
        self._asking = 0  # clients
        self._quiet = asyncio.Event()
        self._woken = 0.0
        self.loads: Counter[str] = Counter()
        self.evictions: Counter[str] = Counter()

    async def ask(self, more: Callable[[], bool]) -> None:
        """All clients, until no more is wanted."""
        clients = [self._client(number, more) for number in range(CLIENTS)]
        await asyncio.gather(self._count(more), *clients)

    async def _client(self, number: int, more: Callable[[], bool]) -> None:
        host, port = self._server.address.split(":")
        generator = random.Random(self._seed + number)
        asker = MoverAsker(generator, self._score)
        while more():
            await self._going.wait()
            self._asking += 1
            self._quiet.clear()
            await keep_asking(
                (host, int(port)),
                asker,
                self._score,
                generator,
                lambda: more() and self._going.is_set(),
                lost=False,  # in a rest nobody asks for these models
            )
            self._asking -= 1
            if self._asking == 0:
                self._quiet.set()

    async def rest(self) -> None:
        """Until nobody asks and none is loaded; not before they were asked for a while.

        Requests pass at the machine's pace and models move as time goes: where the time between
        two rests is hardly one model's turn, all that wait for theirs would be told of the rest.
        """
        await asyncio.sleep(max(0.0, self._woken + AWAKE_S - time.monotonic()))
        self._going.clear()
        await asyncio.to_thread(self.unload)  # who waits for a load is told so
        try:
            await asyncio.wait_for(self._quiet.wait(), LONGEST_S)
        except TimeoutError:
            self._score.note(f"clients of evicted models waited longer than {LONGEST_S:g} s")

    async def go_on(self) -> None:
        """Let them be loaded again when they are asked for."""
        await asyncio.to_thread(self._each, "load")
        self._woken = time.monotonic()
        self._going.set()

    def unload(self) -> None:
        """All of them, in every worker."""
        self._each("unload")

    async def _count(self, more: Callable[[], bool]) -> None:
        """Follow what the statistics say; a count never falls, whichever worker is killed."""
        while more():
            await asyncio.sleep(COUNT_S)
            try:
                await asyncio.to_thread(self._read)
            except (OSError, http.client.HTTPException) as error:
                if not self._score.excused:
                    self._score.note(f"statistics: {error!r}")

    def _read(self) -> None:
        for name in FACTORS:
            status, body = self._call("GET", f"/v2/models/{name}/stats")
            found = json.loads(body)
            if status != 200:  # a worker that has not read its list yet
                continue
            [one] = found["model_stats"]
            counts = one["load_stats"]
            for kept, count in (
                (self.loads, counts["load"]["count"]),
                (self.evictions, counts["eviction_count"]),
            ):
                if count < kept[name]:
                    self._score.note(f"a count of {name} fell from {kept[name]} to {count}")
                kept[name] = count

    def _each(self, verb: str) -> None:
        for name in FACTORS:
            self._act(f"/v2/repository/models/{name}/{verb}")

    def _act(self, path: str) -> None:
        """Until it is done, or there is no room: then the next request loads it."""
        end = time.monotonic() + LONGEST_S
        answer = ""
        while time.monotonic() < end:
            try:
                status, body = self._call("POST", path)
            except (OSError, http.client.HTTPException) as error:  # a worker was killed
                answer = repr(error)
            else:
                answer = f"{status} {body[:300]!r}"
                if status == 200 or (status == 503 and ROOM.encode() in body):
                    return
            time.sleep(0.1)
        self._score.note(f"{path}: {answer}")

    def _call(self, method: str, path: str) -> tuple[int, bytes]:
        return called(self._server.address, method, path, LONGEST_S)
