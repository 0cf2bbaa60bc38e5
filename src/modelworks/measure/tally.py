"""What a run has seen so far: durations into histograms, answers and failures into counts."""

from collections import Counter
from enum import StrEnum
from typing import Final

from modelworks.measure.histogram import Histogram
from modelworks.measure.link import Link

_CHUNK: Final = 4096
_SAMPLES: Final = 256
_SAMPLE_BYTES: Final = 32 * 1024 * 1024


class Failure(StrEnum):
    """How a request failed without an answer."""

    CONNECT = "connect"  # no connection
    CLOSED = "closed"  # the connection ended before its answer
    TIMEOUT = "timeout"  # no answer in time
    PROTOCOL = "protocol"  # what came is no HTTP answer
    UNFINISHED = "unfinished"  # under way when the run ended


class Tally:
    """Counts of one run; durations are kept for a moment and counted in chunks.

    Args:
        begin: of the measured window; ns on the generator's clock.
        end: of it.
        deadline: ns from the intended send time that an answer may take to count as good; 0 = any.
    """

    def __init__(self, begin: int, end: int, deadline: int = 0) -> None:
        self.begin = begin
        self.end = end
        self.latency = Histogram()  # from the intended send time
        self.service = Histogram()  # from the true one
        self.lag = Histogram()  # how late the generator was
        self.refused = Histogram()  # service time of answers other than 2xx
        self.answered = 0  # 2xx inside the window
        self.every = 0  # 2xx, at any time
        self.in_time = 0  # of those sent in the window, within the deadline
        self.waited = 0  # requests that found no free connection when they were due
        self.reconnects = 0
        self.statuses: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self.samples: list[tuple[int, int, int, bytes]] = []  # turn, status, JSON length, body
        self._sample_bytes = 0
        self._deadline = deadline
        self._latency: list[int] = []
        self._service: list[int] = []
        self._lag: list[int] = []
        self._refused: list[int] = []

    def answer(self, link: Link, now: int) -> None:
        """An answer is whole; `now` is when its last bytes could be read."""
        head = link.head
        if head is None:
            return
        good = 200 <= head.status < 300
        if good:
            self.every += 1
            if self.begin <= now < self.end:
                self.answered += 1
        intended = link.intended
        if intended < self.begin:
            return
        self.statuses[head.status] += 1
        if link.kept is not None:
            self._sample(link, head.status, head.json_length)
        if not good:
            self._refused.append(now - link.sent)
            if len(self._refused) >= _CHUNK:
                self.flush()
            return
        freed = link.freed
        self._latency.append(now - intended)
        self._service.append(now - link.sent)
        if freed > intended:
            self.waited += 1
            self._lag.append(link.sent - freed)
        else:
            self._lag.append(link.sent - intended)
        if len(self._lag) >= _CHUNK:
            self.flush()

    def failure(self, link: Link, kind: Failure) -> None:
        """A request will have no answer."""
        if link.intended >= self.begin:
            self.failures[kind] += 1

    def flush(self) -> None:
        """Count what was kept."""
        if self._deadline:
            self.in_time += sum(value <= self._deadline for value in self._latency)
        else:
            self.in_time += len(self._latency)
        for into, values in (
            (self.latency, self._latency),
            (self.service, self._service),
            (self.lag, self._lag),
            (self.refused, self._refused),
        ):
            into.record(values)
            values.clear()

    def _sample(self, link: Link, status: int, json_length: int) -> None:
        body = b"".join(link.kept or ())
        if len(self.samples) < _SAMPLES and self._sample_bytes + len(body) <= _SAMPLE_BYTES:
            self.samples.append((link.turn, status, json_length, body))
            self._sample_bytes += len(body)
