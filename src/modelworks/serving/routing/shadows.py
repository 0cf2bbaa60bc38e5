"""Copies for shadows inside one server: made in idle moments only, so that no caller waits for one.

A copy waits in a bounded line until no model has a request to answer. Then one runs; after it the
line rests four times as long as it took, so that copies take a fifth of a worker at most, and a
caller who comes meanwhile waits for one copy, never for the line. What finds no room, or no idle
moment within a second, is dropped and counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter, perf_counter_ns
from typing import Final, TypeAlias

from modelworks.core.errors import ModelworksError
from modelworks.edge.exchange import Exchange, Headers
from modelworks.edge.trace import TraceContext
from modelworks.serving.entries import Entry
from modelworks.serving.routing.numbers import COPIED, COPIES_DROPPED, COPIES_FAILED
from modelworks.serving.waiting import Act

MOST: Final = 256
BYTES: Final = 16 << 20
AGE_S: Final = 1.0
Offer: TypeAlias = Callable[[Exchange, dict[bytes, bytes], Entry, Act, memoryview], None]
"""Keeps a copy for a shadow, where there is room: see `Shadows.offer`."""
_LOOK_S: Final = 0.002
_REST: Final = 4.0  # times as long as the copy took
_LONGEST_S: Final = 30.0  # a copy that is not answered by then is given up


class Copy:
    """A request of nobody's: fulfils `edge.exchange.Exchange`, and lets the answer go."""

    def __init__(self, line: "Shadows", exchange: Exchange, headers: dict[bytes, bytes]) -> None:
        self.method = exchange.method
        self.path = exchange.path
        self.query = exchange.query
        self.headers = headers
        self.body = exchange.body
        self.received_ns = exchange.received_ns
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self._line = line

    @property
    def trace(self) -> TraceContext | None:
        """None: what the caller traces is his own request."""
        return None

    @property
    def request_id(self) -> str:
        """That of the request it was copied from; empty where there was none."""
        return self.headers.get(b"x-request-id", b"").decode("latin-1")

    def reply(self, status: int, body: bytes, content_type: bytes, headers: Headers = ()) -> None:
        """Count it."""
        del body, content_type, headers
        self.on_gone = None
        self._line.answered(self, status)

    def stream(self, status: int, content_type: bytes, headers: Headers = ()) -> "Nowhere":
        """Let the pieces go; it is answered when they end."""
        del content_type, headers
        self.on_gone = None
        return Nowhere(self._line, self, status)


class Nowhere:
    """Where a copy's pieces go: fulfils `edge.exchange.Stream`."""

    waiting = 0

    def __init__(self, line: "Shadows", copy: Copy, status: int) -> None:
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None
        self._line = line
        self._copy = copy
        self._status = status

    def write(self, data: bytes) -> None:
        """Let it go."""

    def end(self) -> None:
        """It is answered."""
        self._line.answered(self._copy, self._status)

    def cut(self) -> None:
        """It failed."""
        self._line.answered(self._copy, 500)


class Shadows:
    """The line of one worker; on its loop.

    Args:
        busy: whether any model has a request to answer.
    """

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._line: deque[tuple[Copy, Entry, Act, memoryview, float]] = deque()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._running: tuple[Copy, memoryview, float] | None = None

    def offer(
        self,
        exchange: Exchange,
        headers: dict[bytes, bytes],
        entry: Entry,
        act: Act,
        cells: memoryview,
    ) -> None:
        """Keep a copy for later, where there is room.

        Args:
            exchange: that is copied.
            headers: of the copy.
            entry: whose model gets it.
            act: what is asked of the model.
            cells: counters of the arm.
        """
        size = len(exchange.body)
        if len(self._line) >= MOST or self._bytes + size > BYTES:
            cells[COPIES_DROPPED] += 1
            return
        copy = Copy(self, exchange, headers)
        self._line.append((copy, entry, act, cells, perf_counter()))
        self._bytes += size
        if self._timer is None:
            self._look_in(_LOOK_S)

    def answered(self, copy: Copy, status: int) -> None:
        """The copy that ran is answered."""
        running = self._running
        if running is None or running[0] is not copy:
            return
        _, cells, began = running
        self._running = None
        cells[COPIED if status == 200 else COPIES_FAILED] += 1
        self._look_in(max(_LOOK_S, _REST * (perf_counter() - began)))  # also where none waits yet

    def close(self) -> None:
        """Drop what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._line:
            self._drop()

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._running is not None:  # it outlived its time
            self._running[1][COPIES_FAILED] += 1
            self._running = None
        now = perf_counter()
        while self._line and now - self._line[0][4] > AGE_S:
            self._drop()
        if self._line:
            if self._busy():
                self._look_in(_LOOK_S)
            else:
                self._run()

    def _run(self) -> None:
        copy, entry, act, cells, _ = self._line.popleft()
        self._bytes -= len(copy.body)
        live = entry.live
        self._running = (copy, cells, perf_counter())
        self._look_in(_LONGEST_S)
        copy.received_ns = perf_counter_ns()
        if live is None:
            self.answered(copy, 503)
            return
        try:
            act(live, copy)
        except ModelworksError:
            self.answered(copy, 500)

    def _drop(self) -> None:
        copy, _, _, cells, _ = self._line.popleft()
        self._bytes -= len(copy.body)
        cells[COPIES_DROPPED] += 1
