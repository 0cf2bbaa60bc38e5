"""Asks the running servers every two seconds how they do, and remembers two minutes of it."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from modelworks.client.data import DataPlane
from modelworks.client.endpoints import Endpoint
from modelworks.console.exposition import Counts, Key, read
from modelworks.core.errors import ModelworksError

PERIOD_SECONDS = 2.0
KEPT = 61
WINDOW = 15
"""Periods over which a latency quantile is taken: half a minute."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests of one model, one version, or one server.

    Attributes:
        rate: requests a second over the last period.
        failed: of them, those that failed, a second.
        p50: seconds, over the last half minute; None without requests.
        p99: the same.
        past: rate a period, oldest first.
    """

    rate: float = 0.0
    failed: float = 0.0
    p50: float | None = None
    p99: float | None = None
    past: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Watched:
    """A server and what it does.

    Attributes:
        endpoint: as it is listed.
        answers: whether it answered the last time it was asked.
        traffic: by (model, version).
        total: all of them together.
    """

    endpoint: Endpoint
    answers: bool
    traffic: dict[Key, Traffic]
    total: Traffic


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    counts: dict[Key, Counts]


class Observer:
    """One thread that scrapes `/metrics`; readers take what it last saw.

    Args:
        endpoints: lists the servers.
        period: seconds between two rounds.
    """

    def __init__(
        self, endpoints: Callable[[], Sequence[Endpoint]], period: float = PERIOD_SECONDS
    ) -> None:
        self._endpoints = endpoints
        self._period = period
        self._stop = threading.Event()
        self._samples: dict[str, deque[_Sample]] = {}
        self._view: tuple[Watched, ...] = ()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; twice is quiet."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread. Twice is quiet."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=30)

    def view(self) -> tuple[Watched, ...]:
        """Every listed server, as last seen."""
        return self._view

    def model(self, name: str) -> Traffic:
        """A model's traffic over all servers and versions."""
        keys = {(w.endpoint.url, key) for w in self._view for key in w.traffic if key[0] == name}
        return self._traffic(keys)

    def version(self, name: str, version: str) -> Traffic:
        """One version's traffic over all servers."""
        return self._traffic({(w.endpoint.url, (name, version)) for w in self._view})

    def look(self) -> None:
        """One round: ask every server. Never raises for a server's sake."""
        view = []
        listed = list(self._endpoints())
        for url in self._samples.keys() - {endpoint.url for endpoint in listed}:
            del self._samples[url]
        for endpoint in listed:
            samples = self._samples.setdefault(endpoint.url, deque(maxlen=KEPT))
            counts = _ask(endpoint.url)
            if counts is not None:
                samples.append(_Sample(time.monotonic(), counts))
            keys = samples[-1].counts.keys() if samples else ()
            traffic = {key: self._traffic({(endpoint.url, key)}) for key in keys}
            total = self._traffic({(endpoint.url, key) for key in keys})
            view.append(Watched(endpoint, counts is not None, traffic, total))
        self._view = tuple(view)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self._period)

    def _traffic(self, keys: set[tuple[str, Key]]) -> Traffic:
        past: list[float] = []
        window = last = Counts()
        seconds = 0.0
        for url in {url for url, _ in keys}:
            wanted = [key for other, key in keys if other == url]
            samples = list(self._samples.get(url, ()))
            steps = [_step(a, b, wanted) for a, b in pairwise(samples)]
            rates = [counts.requests / span for span, counts in steps]
            past = _sum_from_the_end(past, rates)
            for _, counts in steps[-WINDOW:]:
                window = window.plus(counts)
            if steps:
                seconds, last = steps[-1][0], last.plus(steps[-1][1])
        return Traffic(
            rate=past[-1] if past else 0.0,
            failed=last.failures / seconds if seconds else 0.0,
            p50=window.quantile(0.5),
            p99=window.quantile(0.99),
            past=tuple(past),
        )


def _ask(url: str) -> dict[Key, Counts] | None:
    plane = DataPlane(url)
    try:
        return read(plane.metrics())
    except (ModelworksError, ValueError):
        return None
    finally:
        plane.close()


def _step(older: _Sample, newer: _Sample, keys: list[Key]) -> tuple[float, Counts]:
    """Seconds between two samples, and what was counted meanwhile."""
    total = Counts()
    for key in keys:
        if key in newer.counts:
            total = total.plus(newer.counts[key].since(older.counts.get(key, Counts())))
    return max(newer.at - older.at, 1e-3), total


def _sum_from_the_end(left: list[float], right: list[float]) -> list[float]:
    """Element-wise sum, the newest (last) elements side by side."""
    size = max(len(left), len(right))
    padded = [[0.0] * (size - len(side)) + side for side in (left, right)]
    return [a + b for a, b in zip(*padded, strict=True)]
