"""Callers that ask for ever, and do what clients do when a connection breaks: ask again.

A gateway worker that is killed takes its callers' connections with it; no program can answer on
them. What a caller then does is to send a request that is safe once more on a new connection, and
that is what is counted here: `broken` connections, and requests that `failed` all the same.
"""

import http.client
import json
import random
import threading
import time
from typing import Self

INFER = "/v2/models/m/infer"
_AGAIN = 8  # tries of one request in all
_PAUSE_S = 0.05
_GAP_S = 0.004  # between two requests of one caller


class Persistent:
    """Threads, each with a connection of its own; every answer is looked into.

    Attributes:
        answered: right answers.
        slowest: seconds that the longest of them took, with all tries.
        broken: connections that ended before an answer.
        failed: what requests were told that got no right answer.
    """

    def __init__(self, port: int, count: int = 6) -> None:
        self.answered = 0
        self.slowest = 0.0
        self.broken = 0
        self.failed: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port, i)) for i in range(count)]

    def _run(self, port: int, number: int) -> None:
        chance = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        while not self._over.wait(_GAP_S):
            data = [round(chance.uniform(-9, 9), 3) for _ in range(2)]
            began, told, broken = time.monotonic(), "", 0
            for _ in range(_AGAIN):
                try:
                    told = _ask(connection, data)
                    break
                except (OSError, http.client.HTTPException) as error:
                    told, broken = repr(error), broken + 1
                    connection.close()
                    time.sleep(_PAUSE_S)
            with self._lock:
                self.broken += broken
                if told:
                    self.failed.append(told)
                else:
                    self.answered += 1
                    self.slowest = max(self.slowest, time.monotonic() - began)
        connection.close()

    def until(self, count: int, seconds: float = 60.0) -> None:
        """Wait for so many further answers."""
        wanted, end = self.answered + count, time.monotonic() + seconds
        while self.answered < wanted and not self.failed:
            assert time.monotonic() < end, f"{wanted - self.answered} answers have not come"
            time.sleep(0.02)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)


def _ask(connection: http.client.HTTPConnection, data: list[float]) -> str:
    """What is wrong with the answer; empty = nothing is."""
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": data}
    body = json.dumps({"inputs": [tensor]})
    connection.request("POST", INFER, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    raw = answer.read()
    if answer.status != 200:
        return f"{answer.status} {raw[:200]!r}"
    told = json.loads(raw)
    [output] = told["outputs"]
    right = all(abs(a - b) < 1e-3 for a, b in zip(output["data"], data, strict=True))
    return "" if right and told["model_name"] in {"m-1", "m-2"} else f"wrong: {raw[:200]!r}"
