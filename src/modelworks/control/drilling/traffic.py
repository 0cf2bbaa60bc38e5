"""Callers of a drill: they ask at a rate, and note who answered what."""

import random
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import urllib3

from modelworks.control.drilling.pool import Row
from modelworks.protocol.oip.caller import InferAnswer, read_response

_EACH: Final = 20.0
"""Requests a second of one caller: they wait for their answers."""
_MOST: Final = 32
_TIMEOUT_S: Final = 20.0
_NOTES: Final = 200_000
"""Answers whose truth was not told yet; more are not noted."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked.

    Attributes:
        url: where: `http://127.0.0.1:8000/v2/models/fraud/infer`.
        rows: taken by chance.
        inside: which of them lie in the slice that is looked at.
        spoilt: digests of the rows that the fault fails.
        rate: requests a second of all callers.
        candidate: its version.
    """

    url: str
    rows: Sequence[Row]
    inside: Sequence[bool]
    spoilt: frozenset[str]
    rate: float
    candidate: str


@dataclass(slots=True)
class Seen:
    """What came of it, so far.

    Attributes:
        asked: requests that were answered or failed.
        candidate: that the candidate answered or failed.
        inside: of these, those in the slice.
        failed: that the fault failed.
        lost: that failed for another reason.
        said: of the first that was lost: its status and words.
        began: when the candidate got its first one, on the monotonic clock; 0 = never.
        told: (id, row) of what was answered since somebody looked.
    """

    asked: int = 0
    candidate: int = 0
    inside: int = 0
    failed: int = 0
    lost: int = 0
    said: str = ""
    began: float = 0.0
    told: list[tuple[str, int]] = field(default_factory=list)


class Callers:
    """Threads that ask until they are stopped.

    Args:
        load: what they ask.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._seen = Seen()
        count = max(1, min(_MOST, round(load.rate / _EACH)))
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=count, retries=False)
        self._threads = [
            threading.Thread(target=self._run, args=(number, count), daemon=True)
            for number in range(count)
        ]

    def seen(self) -> Seen:
        """What came of it; what is to be told is handed over once."""
        with self._lock:
            now = self._seen
            told, now.told = now.told, []
            return Seen(
                *(now.asked, now.candidate, now.inside, now.failed, now.lost, now.said),
                *(now.began, told),
            )

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; requests under way are answered first."""
        self._ended.set()
        for thread in self._threads:
            thread.join(_TIMEOUT_S + 1)
        self._pool.clear()

    def _run(self, number: int, count: int) -> None:
        chance = random.Random(number)  # noqa: S311 - which row is asked, no secret
        pause = count / self._load.rate
        due = time.monotonic() + pause * number / count
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due = max(due + pause, time.monotonic())  # what is late is not made up for
            place = chance.randrange(len(self._load.rows))
            ident = str(uuid.uuid4())
            status, found = ask(self._pool, self._load.url, self._load.rows[place], ident)
            with self._lock:
                self._note(place, ident, status, found)

    def _note(self, place: int, ident: str, status: int, found: Any) -> None:
        seen, load = self._seen, self._load
        seen.asked += 1
        good = status == 200
        meant = not good and load.rows[place].digest in load.spoilt
        if good and len(seen.told) < _NOTES:
            seen.told.append((ident, place))
        if good and found["model_version"] != load.candidate:
            return
        if not good and not meant:
            seen.lost += 1
            seen.said = seen.said or f"{status}: {found}"
            return
        seen.failed += meant
        seen.candidate += 1
        seen.inside += load.inside[place]
        seen.began = seen.began or time.monotonic()


@contextmanager
def calling(load: Load) -> Iterator[Callers]:
    """Callers for as long as the block lasts."""
    callers = Callers(load)
    callers.start()
    try:
        yield callers
    finally:
        callers.stop()


def ask(pool: urllib3.PoolManager, url: str, row: Row, ident: str = "") -> tuple[int, Any]:
    """Ask one row: the status and the answer's head; status 0 = nobody answered, and why."""
    headers = {**row.headers, **({"X-Request-Id": ident} if ident else {})}
    try:
        answer = pool.request("POST", url, body=row.body, headers=headers, timeout=_TIMEOUT_S)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        return 0, type(error).__name__
    if answer.status != 200:
        return answer.status, answer.data[:200].decode(errors="replace")
    length = answer.headers.get("Inference-Header-Content-Length")
    return 200, orjson.loads(answer.data[: int(length)] if length else answer.data)


def answered(pool: urllib3.PoolManager, url: str, row: Row) -> InferAnswer | str:
    """Ask one row for its outputs; a text says why there are none."""
    try:
        found = pool.request("POST", url, body=row.body, headers=row.headers, timeout=_TIMEOUT_S)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        return f"nobody answers: {type(error).__name__}"
    if found.status != 200:
        return f"{found.status}: {found.data[:300].decode(errors='replace')}"
    length = found.headers.get("Inference-Header-Content-Length")
    return read_response(found.data, int(length) if length else None)
