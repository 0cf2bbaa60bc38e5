"""One run of load against one endpoint: what is wanted, and what was seen."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.measure.generator import (
    Generator,
    clock,
    closed,
    drain,
    exact_timing,
    opened,
)
from modelworks.measure.histogram import Histogram
from modelworks.measure.schedule import Arrivals, Schedule
from modelworks.measure.sockets import Sockets
from modelworks.measure.tally import Tally
from modelworks.measure.target import Target

Progress = Callable[[float, int, int], None]
"""(seconds of the run so far, answers, failures)."""
LONGEST_S: Final = 86_400.0
MOST_CONNECTIONS: Final = 4096
_NS: Final = 1e9
_BUSY: Final = 0.9
_LATE_NS: Final = 500_000


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent, how, and for how long.

    Attributes:
        target: where to.
        requests: whole requests (`message.request_bytes`), sent in turn.
        connections: kept alive; in an open loop the most requests under way.
        rate: requests a second of an open loop; None = closed loop.
        arrivals: how the requests of an open loop are spread.
        seconds: measured.
        warm_s: before that, under the same load.
        most: requests at most, after the warm-up; None = as many as fit.
        timeout_s: after which a request without an answer has failed.
        deadline_s: within which an answer counts as good put; 0 = any time.
        rows: predictions a request.
        sample: keep every so manieth answer's body; 0 = none.
        pin: core that the generator runs on; None = any.
        seed: of random arrivals.
    """

    target: Target
    requests: Sequence[bytes] = field(repr=False)
    connections: int = 1
    rate: float | None = None
    arrivals: Arrivals = Arrivals.CONSTANT
    seconds: float = 10.0
    warm_s: float = 0.5
    most: int | None = None
    timeout_s: float = 30.0
    deadline_s: float = 0.0
    rows: int = 1
    sample: int = 0
    pin: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        checks = (
            (bool(self.requests), "requests", "at least one request is wanted"),
            (1 <= self.connections <= MOST_CONNECTIONS, "connections", "1 to 4096 connections"),
            (0 < self.seconds <= LONGEST_S, "seconds", "more than 0 and at most 86400 seconds"),
            (0 <= self.warm_s <= LONGEST_S, "warm_s", "at most 86400 seconds of warm-up"),
            (0 < self.timeout_s <= LONGEST_S, "timeout_s", "more than 0 seconds of patience"),
            (self.rate is None or 0 < self.rate <= 1e7, "rate", "more than 0 requests a second"),
            (self.most is None or self.most > 0, "most", "at least one request"),
            (0 <= self.deadline_s <= LONGEST_S, "deadline_s", "a deadline of 0 seconds or more"),
        )
        for good, name, words in checks:
            if not good:
                raise InvalidError(f"{name}: {words}", field=name)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a run saw.

    Attributes:
        connections: as asked for.
        rate: asked for, requests a second; None = closed loop.
        seconds: the measured window, as it came out.
        answered: answers with a 2xx status inside the window.
        rows: predictions a request.
        in_time: requests of the window answered with 2xx within the deadline, or at all where
            there is none.
        latency: of good answers, from the time their request was due.
        service: the same, from the time it was truly sent.
        lag: how late requests left, counted from when they were due and a connection was free: the
            generator's own delay.
        refused: service time of answers other than 2xx.
        statuses: status -> answers to requests of the window.
        failures: kind -> requests of the window without an answer.
        unsent: due in the window, and no connection became free for them.
        waited: requests that found no free connection when they were due.
        reconnects: connections that the server ended between two requests.
        cpu: share of its core that the generator used, 0 to 1.
        starved: share of the time that it could run and its core was taken by others, 0 to 1.
        series: (seconds since the window began, answers so far).
        every: 2xx answers in all, those of the warm-up and after the window too: what the
            server's CPU time is divided by.
        samples: (turn, status, JSON length, body) of sampled answers.
        interrupted: Ctrl-C ended it early.
        generator: `own` or `wrk`.
    """

    connections: int
    rate: float | None
    seconds: float
    answered: int
    rows: int
    in_time: int
    latency: Histogram
    service: Histogram
    lag: Histogram
    refused: Histogram
    statuses: dict[int, int]
    failures: dict[str, int]
    unsent: int = 0
    waited: int = 0
    reconnects: int = 0
    cpu: float = 0.0
    starved: float = 0.0
    series: tuple[tuple[float, int], ...] = ()
    every: int = 0
    samples: tuple[tuple[int, int, int, bytes], ...] = field(default=(), repr=False)
    interrupted: bool = False
    generator: str = "own"

    @property
    def throughput(self) -> float:
        """Good answers a second."""
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def predictions(self) -> float:
        """Rows predicted a second."""
        return self.throughput * self.rows

    @property
    def goodput(self) -> float:
        """Requests answered within the deadline, a second."""
        return self.in_time / self.seconds if self.seconds else 0.0

    @property
    def late(self) -> int:
        """Good answers beyond the deadline."""
        return self.latency.count - self.in_time

    @property
    def failed(self) -> int:
        """Requests of the window without a good answer."""
        bad = sum(count for status, count in self.statuses.items() if not 200 <= status < 300)
        return bad + sum(self.failures.values()) + self.unsent

    @property
    def bottleneck(self) -> str:
        """Why the generator, not the server, may have set the figures; empty = it did not."""
        if self.cpu >= _BUSY:
            return f"the generator used {self.cpu:.0%} of its core"
        if self.cpu + self.starved >= _BUSY:
            return (
                f"the generator used {self.cpu:.0%} of its core and others kept it waiting for "
                f"{self.starved:.0%} of the time"
            )
        late = self.lag.percentile(99)
        if late > max(_LATE_NS, self.latency.percentile(99) // 10) and self.rate is not None:
            return f"1 % of the requests left more than {late / 1e6:.1f} ms late"
        return ""


def run(load: Load, progress: Progress | None = None) -> Loaded:
    """Send the load and wait for its answers; Ctrl-C ends it with what was measured.

    Args:
        load: what to send.
        progress: called about ten times a second.

    Raises:
        UnavailableError: nothing listens there.
        InvalidError: certificates that cannot be read, or no such core.
    """
    with pinned(load.pin), contextlib.ExitStack() as stack:
        generator = Generator(
            Sockets(load.target),
            load.requests,
            load.connections,
            int(load.timeout_s * _NS),
            load.sample,
        )
        stack.callback(generator.close)
        stack.enter_context(exact_timing())
        return _Run(load, generator, progress).go()


class _Run:
    """The phases of one run: warm-up, window, drain."""

    def __init__(self, load: Load, generator: Generator, progress: Progress | None) -> None:
        self._load = load
        self._generator = generator
        self._progress = progress or (lambda _seconds, _answers, _failures: None)
        start = clock()
        self._begin = start + int(load.warm_s * _NS)
        self._end = self._begin + int(load.seconds * _NS)
        self._tally = generator.tally = Tally(self._begin, self._end, int(load.deadline_s * _NS))
        self._series: list[tuple[float, int]] = []
        self._every = max(_NS / 5, load.seconds * _NS / 500)
        self._bounded = False
        self._warmed = 0  # answers of a warm-up that was a run of its own

    def go(self) -> Loaded:
        """All of it."""
        interrupted = False
        unsent = 0
        used, starved, at = time.thread_time_ns(), waited_ns(), clock()
        try:
            unsent = self._send()
        except KeyboardInterrupt:
            interrupted = True
        stopped = clock()
        span = max(1, stopped - at)
        own = ((time.thread_time_ns() - used) / span, (waited_ns() - starved) / span)
        if interrupted:
            self._generator.abandon()
        else:
            patience = min(self._load.timeout_s, max(2.0, self._load.seconds))
            try:
                drain(self._generator, clock() + int(patience * _NS))
            except KeyboardInterrupt:
                interrupted = True
        ended = clock() if self._bounded else stopped
        self._tally.flush()
        window = max(0, min(ended, self._end) - self._begin)
        return self._loaded(window / _NS, own, unsent, interrupted=interrupted)

    def _send(self) -> int:
        load, generator = self._load, self._generator
        if load.most is not None:
            self._warm()
            generator.left = load.most
            self._bounded = True
        if load.rate is None:
            closed(generator, self._end, self._tick)
            return 0
        return self._opened(load.rate, self._end)

    def _opened(self, rate: float, until: int) -> int:
        schedule = Schedule(rate, self._load.arrivals, clock(), until, self._load.seed)
        return opened(self._generator, schedule, until, self._tick)

    def _warm(self) -> None:
        """A warm-up of its own, where requests are counted: the window begins when it has ended."""
        load = self._load
        if load.warm_s:
            if load.rate is None:
                closed(self._generator, self._begin, self._tick)
            else:
                self._opened(load.rate, self._begin)
            while self._generator.under_way and clock() < self._begin + int(5 * _NS):
                self._generator.turn(1_000_000)
        self._warmed = self._tally.every
        self._begin = clock()
        self._end = self._begin + int(self._load.seconds * _NS)
        self._tally = self._generator.tally = Tally(
            self._begin, self._end, int(self._load.deadline_s * _NS)
        )

    def _tick(self, now: int) -> None:
        tally = self._tally
        since = (now - self._begin) / _NS
        last = self._series[-1][0] if self._series else 0.0
        if since > 0 and (since - last) * _NS >= self._every:
            self._series.append((since, tally.answered))
        failures = sum(tally.failures.values())
        self._progress(max(0.0, since), tally.answered, failures)

    def _loaded(
        self, seconds: float, own: tuple[float, float], unsent: int, *, interrupted: bool
    ) -> Loaded:
        tally = self._tally
        return Loaded(
            connections=self._load.connections,
            rate=self._load.rate,
            seconds=seconds,
            answered=tally.answered,
            rows=self._load.rows,
            in_time=tally.in_time,
            latency=tally.latency,
            service=tally.service,
            lag=tally.lag,
            refused=tally.refused,
            statuses=dict(sorted(tally.statuses.items())),
            failures=dict(sorted(tally.failures.items())),
            unsent=unsent,
            waited=tally.waited,
            reconnects=tally.reconnects,
            cpu=min(1.0, own[0]),
            starved=min(1.0, own[1]),
            series=tuple(self._series),
            every=tally.every + self._warmed,
            samples=tuple(tally.samples),
            interrupted=interrupted,
        )


def waited_ns() -> int:
    """How long this thread was runnable and did not run; 0 where the kernel does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """This thread on one core for a while.

    Raises:
        InvalidError: no such core, or not for us.
    """
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {core})
    except (OSError, ValueError) as error:
        cores = ", ".join(str(one) for one in sorted(before))
        raise InvalidError(
            f"core {core} cannot be used: this process has {cores}", field="pin"
        ) from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
