"""The load generator's loop: one thread, one poller, requests that were made before it began.

A closed loop sends the next request on a connection when the answer to the last one is there. An
open loop sends at times fixed beforehand, whatever the server does; a request that is due while
every connection is busy waits, and its latency runs from the time it was due. Latencies therefore
hold the server's stalls in full (no coordinated omission: Tene, "How NOT to measure latency").
"""

import ctypes
import gc
import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.measure.link import RECEIVE, Link
from modelworks.measure.poller import READ, WRITE, poller
from modelworks.measure.schedule import Due
from modelworks.measure.sockets import Sockets
from modelworks.measure.tally import Failure, Tally

clock: Final = time.perf_counter_ns
_SWEEP_NS: Final = 100_000_000
_AGAIN_NS: Final = 50_000_000  # before a refused connection is tried again
_TIMERSLACK: Final = (29, 30)  # prctl's set and get


class Generator:
    """Connections to one server, and what is sent over them.

    Args:
        sockets: makes connections.
        requests: whole requests, sent in turn.
        connections: how many.
        timeout: ns that an answer may take from its request's true send time.
        sample: keep the body of every so manieth answer; 0 = none.

    Raises:
        UnavailableError: nothing listens there.
    """

    def __init__(
        self,
        sockets: Sockets,
        requests: Sequence[bytes],
        connections: int,
        timeout: int,
        sample: int = 0,
    ) -> None:
        self.tally = Tally(0, 0)
        self.left = 2**62  # requests that may still be sent
        self.sending = True
        self._sockets = sockets
        self._requests = requests
        self._timeout = timeout
        self._sample = sample
        self._until_sample = sample
        self._turn = 0
        self._links: dict[int, Link] = {}
        self._retry: deque[int] = deque()  # times at which to connect again
        self._poller = poller()
        self._swept = 0
        self.free: deque[Link] = deque()
        self.ready: Callable[[Link, int], None] = self.hold
        try:
            for _ in range(connections):
                self.free.append(self._add(Link(sockets.open())))
        except BaseException:
            self.close()
            raise

    @property
    def under_way(self) -> int:
        """Requests without an answer."""
        return sum(link.busy for link in self._links.values())

    def turn(self, wait_ns: int) -> None:
        """Wait until something can be read, at most `wait_ns`, and read it."""
        events = self._poller.poll(0)
        if not events and wait_ns > 0:
            self._sleep(wait_ns)
            events = self._poller.poll(0)
        now = clock()
        links = self._links
        for fd, mask in events:
            link = links.get(fd)
            if link is None:
                continue
            if mask & WRITE:
                self._writable(link, now)
            elif link.busy:
                self._read(link, now)
            else:
                self._lost(link, now)  # the server closes an idle connection
        if now - self._swept > _SWEEP_NS or self._retry:
            self._sweep(now)

    def send(self, link: Link, intended: int) -> None:
        """Send the next request on a free connection."""
        self.left -= 1
        turn = self._turn
        self._turn = turn + 1 if turn + 1 < len(self._requests) else 0
        link.begin()
        link.turn = turn
        link.intended = intended
        link.kept = None
        if self._until_sample:
            self._until_sample -= 1
            if not self._until_sample:
                self._until_sample = self._sample
                link.kept = []
        data = self._requests[turn]
        link.sent = clock()
        try:
            count = link.send(data)
        except OSError as error:
            if not self._sockets.would_block(error):
                self._failed(link, Failure.CLOSED)
                return
            count = 0
        if count < len(data):
            link.unsent = memoryview(data)[count:]
            self._poller.modify(link.fd, READ | WRITE)

    def close(self) -> None:
        """End every connection."""
        for link in self._links.values():
            link.sock.close()
        self._links.clear()
        self.free.clear()
        self._poller.close()

    def abandon(self) -> None:
        """What is still under way counts as unfinished."""
        for link in self._links.values():
            if link.busy:
                self.tally.failure(link, Failure.UNFINISHED)

    def hold(self, link: Link, _now: int) -> None:
        """Keep a connection until it is wanted."""
        self.free.append(link)

    def _sleep(self, wait_ns: int) -> None:
        # epoll's own time-out counts milliseconds; select's counts microseconds.
        descriptor = self._poller.fileno()
        if wait_ns >= 20_000_000 or not 0 <= descriptor < 1024:
            self._poller.poll(max(wait_ns // 1_000_000 - 1, 0) / 1000)
        else:
            select.select([descriptor], [], [], wait_ns / 1e9)

    def _add(self, link: Link) -> Link:
        self._links[link.fd] = link
        self._poller.register(link.fd, WRITE if link.connecting else READ)
        return link

    def _read(self, link: Link, now: int) -> None:
        try:
            data = link.recv(RECEIVE)
            if not data:
                self._ended(link, now)
                return
            whole = link.feed(data)
            while link.tls and not whole and link.sock.pending():  # type: ignore[attr-defined] # an SSL socket has it
                whole = link.feed(link.recv(RECEIVE))
        except OSError as error:
            if not self._sockets.would_block(error):
                self._failed(link, Failure.CLOSED)
            return
        except InvalidError:
            self._failed(link, Failure.PROTOCOL)
            return
        if not whole:
            return
        self._answered(link, now)

    def _answered(self, link: Link, now: int) -> None:
        link.busy = False
        self.tally.answer(link, now)
        link.freed = now
        if link.unsent is not None or (link.head is not None and link.head.closes):
            self._lost(link, now)
        else:
            self.ready(link, now)

    def _ended(self, link: Link, now: int) -> None:
        """The server has closed the connection of a request under way."""
        if link.finished_by_closing():
            self._answered(link, now)
        else:
            self._failed(link, Failure.CLOSED)

    def _failed(self, link: Link, kind: Failure) -> None:
        self.tally.failure(link, kind)
        link.busy = False
        self._drop(link)
        self._retry.append(clock() + _AGAIN_NS)

    def _lost(self, link: Link, now: int) -> None:
        """A connection ended between two requests: open another at once."""
        self._drop(link)
        self.tally.reconnects += 1
        self._connect(now, link.freed)

    def _drop(self, link: Link) -> None:
        if self._links.pop(link.fd, None) is None:
            return
        link.connecting = True  # so that a free list that still holds it passes it over
        self._poller.unregister(link.fd)
        link.sock.close()

    def _connect(self, now: int, freed: int) -> None:
        if not self.sending:
            return
        try:
            link = Link(self._sockets.begin(), connecting=True)
        except OSError:
            self.tally.failures[Failure.CONNECT] += 1
            self._retry.append(now + _AGAIN_NS)
            return
        link.freed = freed
        self._add(link)

    def _writable(self, link: Link, now: int) -> None:
        if link.connecting:
            if not self._sockets.connected(link.sock):
                self._drop(link)
                self.tally.failures[Failure.CONNECT] += 1
                self._retry.append(now + _AGAIN_NS)
                return
            link.connecting = False
            self._poller.modify(link.fd, READ)
            self.ready(link, link.freed or now)
            return
        rest = link.unsent
        if rest is None:
            return
        try:
            rest = rest[link.send(rest) :]
        except OSError as error:
            if not self._sockets.would_block(error):
                self._failed(link, Failure.CLOSED)
                return
        link.unsent = rest if len(rest) else None
        if link.unsent is None:
            self._poller.modify(link.fd, READ)

    def _sweep(self, now: int) -> None:
        while self._retry and self._retry[0] <= now:
            self._retry.popleft()
            self._connect(now, 0)
        if now - self._swept <= _SWEEP_NS:
            return
        self._swept = now
        oldest = now - self._timeout
        for link in [one for one in self._links.values() if one.busy and one.sent < oldest]:
            self._failed(link, Failure.TIMEOUT)


def closed(generator: Generator, until: int, tick: Callable[[int], None]) -> None:
    """Keep every connection busy until `until` (ns) or until no request is left.

    Args:
        generator: whose connections are free or already under way.
        until: end of sending.
        tick: called about ten times a second, with the time.
    """

    def ready(link: Link, now: int) -> None:
        if now < until and generator.left > 0:
            generator.send(link, now)
        else:
            generator.free.append(link)

    generator.ready = ready
    for link in _taken(generator):
        ready(link, clock())
    ticked = clock()
    while (now := clock()) < until and (generator.left > 0 or generator.under_way):
        generator.turn(min(until - now, _SWEEP_NS))
        if now - ticked > _SWEEP_NS:
            ticked = now
            tick(now)
    generator.ready = generator.hold


def _taken(generator: Generator) -> Iterator[Link]:
    """The free connections, each once; those that were lost meanwhile are passed over."""
    for _ in range(len(generator.free)):
        link = generator.free.popleft()
        if not link.connecting:
            yield link


def opened(generator: Generator, schedule: Due, until: int, tick: Callable[[int], None]) -> int:
    """Send at the times of a schedule.

    What is due at the very end still leaves, if only a little late.

    Args:
        generator: whose connections are free.
        schedule: that begins now.
        until: its end, ns.
        tick: called about ten times a second, with the time.

    Returns:
        Requests that were due before `until` and could not be sent: no connection was free.
    """
    free = generator.free
    ticked = clock()
    last = until + _SWEEP_NS
    while generator.left > 0 and (
        (now := clock()) < until or (schedule.due < until and now < last)
    ):
        while free and schedule.due <= now and generator.left > 0:
            link = free.popleft()
            if not link.connecting:
                generator.send(link, schedule.due)
                schedule.advance()
        wait = min(schedule.due, until if now < until else last) - clock() if free else _SWEEP_NS
        generator.turn(min(wait, _SWEEP_NS))
        if now - ticked > _SWEEP_NS:
            ticked = now
            tick(now)
    return schedule.remaining() if generator.left > 0 else 0


def drain(generator: Generator, until: int) -> None:
    """Wait for the answers that are under way, at most until `until`."""
    generator.sending = False
    while generator.under_way and (now := clock()) < until:
        generator.turn(min(until - now, _SWEEP_NS))
    generator.abandon()


@contextmanager
def exact_timing() -> Iterator[None]:
    """Waits end within a microsecond instead of fifty, and no garbage collection stands between."""
    collecting = gc.isenabled()
    gc.disable()
    slack = _prctl(_TIMERSLACK[1], 0)
    _prctl(_TIMERSLACK[0], 1)
    try:
        yield
    finally:
        if slack > 0:
            _prctl(_TIMERSLACK[0], slack)
        if collecting:
            gc.enable()


def _prctl(what: int, value: int) -> int:
    try:
        return int(ctypes.CDLL(None, use_errno=True).prctl(what, value, 0, 0, 0))
    except (OSError, AttributeError):
        return -1
