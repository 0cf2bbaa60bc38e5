"""Clients of the soak: raw pipelined connections whose every answer is held against the model.

A model's answer is a function of the request and of the version that says it answered, so that an
answer mixed up between requests, rows or versions is seen.
"""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import orjson

JUST_KILLED_S = 6.0  # connections may break for so long after a process was killed
SILENT_S = 80.0  # a request without an answer for so long will never have one; models take 60


@dataclass(slots=True)
class Asked:
    """One request: how it is sent, what may come back."""

    wire: bytes
    check: Callable[[int, bytes], str]  # status and body -> what is wrong, or ""
    sent: int = 0


@dataclass
class Score:
    """What all clients saw."""

    answered: int = 0
    lost: int = 0  # on connections that broke; asked again
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    killed_at: float = 0.0
    again: deque[Asked] = field(default_factory=deque)

    def note(self, text: str) -> None:
        """Something that must not be; the first twenty are enough."""
        if len(self.wrong) < 20:
            self.wrong.append(text)

    @property
    def excused(self) -> bool:
        """Whether connections may break just now."""
        return time.monotonic() < self.killed_at + JUST_KILLED_S


def post(path: str, document: object, extra: bytes = b"") -> bytes:
    """A request as bytes."""
    body = orjson.dumps(document)
    head = b"POST %s HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\n%s" % (
        path.encode(),
        extra,
    )
    return b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body)


class Asker:
    """Makes requests at random, seeded; knows what each must be answered.

    Models: `a` multiplies by its version's factor, `b` (loaded and unloaded) by 5, `n` (in a
    process of its own) by 7, `c` looks up and refuses some rows, `d` counts for a millisecond.

    Args:
        generator: of this run.
        factors: of model `a`, by version.
        score: where statuses are counted.
    """

    WIDTH = 3
    STEPS = 400  # what `d` adds, one by one

    def __init__(self, generator: random.Random, factors: dict[str, float], score: Score) -> None:
        self._random = generator
        self._factors = factors
        self._score = score
        self._number = 0
        self._kinds = ["a"] * 60 + ["b"] * 14 + ["c"] * 10 + ["n"] * 8 + ["rows"] * 4
        self._kinds += ["d"] * 2 + ["missing", "ready"]

    def make(self) -> Asked:
        """The next request."""
        self._number += 1
        kind = self._random.choice(self._kinds)
        return getattr(self, f"_{kind}")(str(self._number))

    def _values(self, rows: int, top: int = 999) -> list[float]:
        return [float(self._random.randrange(top)) for _ in range(rows * self.WIDTH)]

    def _infer(self, name: str, number: str, values: list[float], **parameters: int) -> bytes:
        shape = [len(values) // self.WIDTH, self.WIDTH]
        entry = {"name": "x", "shape": shape, "datatype": "FP32", "data": values}
        document = {"id": number, "inputs": [entry]}
        if parameters:
            document["parameters"] = parameters
        return post(f"/v2/models/{name}/infer", document)

    def _a(self, number: str) -> Asked:
        values = self._values(self._random.choice((1, 1, 1, 2, 5)))
        name = self._random.choice(("a", "a", "a", "a@champion", "a%40champion"))

        def wanted(version: str) -> list[float]:
            return [value * self._factors[version] for value in values]

        return Asked(self._infer(name, number, values), self._expects("a", number, wanted, {200}))

    def _b(self, number: str) -> Asked:
        values = self._values(1)
        check = self._expects("b", number, lambda _: [5 * value for value in values], {200, 503})
        return Asked(self._infer("b", number, values), check)

    def _n(self, number: str) -> Asked:
        values = self._values(1)
        check = self._expects("n", number, lambda _: [7 * value for value in values], {200, 503})
        return Asked(self._infer("n", number, values), check)

    def _d(self, number: str) -> Asked:
        values = self._values(1)
        timeout = self._random.choice((0, 0, 500, 20_000, 5_000_000))
        parameters = {"timeout": timeout} if timeout else {}
        check = self._expects(
            "d",
            number,
            lambda _: [value + self.STEPS for value in values],
            {200, 503, 504} if timeout else {200},
        )
        return Asked(self._infer("d", number, values, **parameters), check)

    def _c(self, number: str) -> Asked:
        """A row that the engine refuses fails alone; its neighbours in the batch do not."""
        bad = self._random.random() < 0.1
        values = [self._random.randrange(100, 200) if bad else self._random.randrange(100)]
        entry = {"name": "x", "shape": [1, 1], "datatype": "INT64", "data": values}
        wire = post("/v2/models/c/infer", {"id": number, "inputs": [entry]})
        check = self._expects("c", number, lambda _: [10 * values[0]], {400} if bad else {200})
        return Asked(wire, check)

    def _rows(self, number: str) -> Asked:
        del number
        values = self._values(2)
        rows = [values[:3], values[3:]]

        def check(status: int, body: bytes) -> str:
            self._score.statuses["rows", status] += 1
            if status != 200:
                return f"rows: {status} {body[:200]!r}"
            found = orjson.loads(body)
            factor = self._factors[found["version"]]
            given = [value for row in found["predictions"] for value in row["outputs"]["y"]]
            if given == [value * factor for value in values]:
                return ""
            return f"rows: {values} gave {body[:300]!r}"

        return Asked(post("/predict/a", {"rows": rows}), check)

    def _missing(self, number: str) -> Asked:
        del number
        return Asked(post("/v2/models/nobody/infer", {}), self._status("missing", {404}))

    def _ready(self, number: str) -> Asked:
        del number
        wire = b"GET /v2/health/ready HTTP/1.1\r\nHost: soak\r\n\r\n"
        return Asked(wire, self._status("ready", {200}))

    def _status(self, kind: str, allowed: set[int]) -> Callable[[int, bytes], str]:
        def check(status: int, body: bytes) -> str:
            self._score.statuses[kind, status] += 1
            return "" if status in allowed else f"{kind}: {status} {body[:200]!r}"

        return check

    def _expects(
        self,
        kind: str,
        number: str,
        wanted: Callable[[str], list[float]],
        allowed: set[int],
    ) -> Callable[[int, bytes], str]:
        def check(status: int, body: bytes) -> str:
            self._score.statuses[kind, status] += 1
            if status not in allowed:
                return f"{kind}: {status} {body[:300]!r}"
            if status != 200:
                return ""
            found = orjson.loads(body)
            right = found["model_name"] == kind and found["id"] == number
            if right and found["outputs"][0]["data"] == wanted(found["model_version"]):
                return ""
            return f"{kind} {number}: wanted {wanted(found['model_version'])}, got {body[:300]!r}"

        return check


class Client(asyncio.Protocol):
    """One connection that keeps a few requests in flight until it is told to stop."""

    def __init__(self, asker: Asker, score: Score, depth: int, more: Callable[[], bool]) -> None:
        self._asker = asker
        self._score = score
        self._depth = depth
        self._more = more
        self._sent: deque[Asked] = deque()
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self.heard = time.monotonic()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._fill()

    def _fill(self) -> None:
        wires = []
        while len(self._sent) < self._depth and self._more():
            again = self._score.again
            asked = again.popleft() if again else self._asker.make()
            self._sent.append(asked)
            wires.append(asked.wire)
        if wires:
            self._transport.write(b"".join(wires))
        elif not self._sent:
            self._transport.close()

    @property
    def first(self) -> bytes:
        """The oldest request without an answer."""
        return self._sent[0].wire[:300] if self._sent else b""

    def data_received(self, data: bytes) -> None:
        self.heard = time.monotonic()
        rest = self._rest + data
        while True:
            end = rest.find(b"\r\n\r\n")
            if end < 0:
                break
            head = rest[:end].lower()
            place = head.find(b"content-length: ")
            length = int(head[place + 16 :].split(b"\r\n", 1)[0])
            if len(rest) < end + 4 + length:
                break
            body = rest[end + 4 : end + 4 + length]
            rest = rest[end + 4 + length :]
            self._take(int(head[9:12]), body)
        self._rest = rest
        self._fill()

    def _take(self, status: int, body: bytes) -> None:
        score = self._score
        if not self._sent:
            score.note(f"an answer that nobody asked for: {status} {body[:200]!r}")
            return
        score.answered += 1
        if problem := self._sent.popleft().check(status, body):
            score.note(problem)

    def connection_lost(self, exc: Exception | None) -> None:
        score = self._score
        if self._sent:
            if not score.excused:
                score.note(f"a connection broke with {len(self._sent)} requests: {exc!r}")
            score.lost += len(self._sent)
            score.again.extend(self._sent)
            self._sent.clear()
        if not self.over.done():
            self.over.set_result(None)


async def until_over(client: Client, score: Score) -> None:
    """Wait for a client's end, however many requests it has; without any answer it is hung."""
    while not client.over.done():
        await asyncio.wait({client.over}, timeout=SILENT_S / 4)
        if time.monotonic() > client.heard + SILENT_S and not client.over.done():
            score.note(f"no answer within {SILENT_S:g} s: {client.first!r}")
            client.over.set_result(None)


async def keep_asking(
    address: tuple[str, int],
    asker: Asker,
    score: Score,
    generator: random.Random,
    more: Callable[[], bool],
    *,
    lost: bool = True,
) -> None:
    """One client after the other, each for a while, until no more is wanted.

    With `lost`, what broken connections lost is asked again first.
    """
    loop = asyncio.get_running_loop()

    def going() -> bool:
        return more() or (lost and bool(score.again))

    while going():
        budget = generator.randrange(200, 4000)

        def wanted(budget: list[int] = [budget]) -> bool:  # noqa: B006 - its own counter
            budget[0] -= 1
            return budget[0] > 0 and going()

        make = partial(Client, asker, score, generator.choice((1, 1, 2, 4, 8)), wanted)
        try:
            _, client = await asyncio.wait_for(loop.create_connection(make, *address), 20)
        except (OSError, TimeoutError) as error:
            if not score.excused:
                score.note(f"a connection was refused: {error!r}")
            await asyncio.sleep(0.05)
            continue
        await until_over(client, score)
