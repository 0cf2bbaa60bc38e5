"""Traced requests on their way out of the server: noted on the loop, packed and sent by a thread.

Only where an exporter is asked for. A request without a trace costs nothing but a look at the
members of its engine call; one with a trace is a tuple in a bounded queue.
"""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from time import perf_counter_ns
from typing import Any, Final, Protocol

from modelworks.core.spans import Call, Traced
from modelworks.edge.trace import request_id_of, trace_of
from modelworks.serving.batcher import Call as EngineCall

BOUND: Final = 4096
_SETTLED_NS: Final = 50_000_000  # a request is answered before its call is noted
_LONGEST: Final = 1024  # of a path


class Kept(Protocol):
    """A request whose trace is kept.

    Attributes:
        noted: what is kept of it.
    """

    headers: dict[bytes, bytes]
    method: bytes
    path: bytes
    body: bytes
    received_ns: int
    noted: Any


class Noted:
    """What is kept of one request: never its body.

    Attributes:
        call: rows of its batch, and when it was decoded, its batch begun, its inputs made and its
            engine done, on `perf_counter_ns`'s clock; () = no engine answered it.
        laps: steps around the model, and the model: name, begin and end on the same clock.
    """

    __slots__ = (
        *("begin", "call", "end", "headers", "laps", "method", "model", "path", "size", "status"),
        "version",
    )

    def __init__(self, request: Kept, status: int, model: str, version: str) -> None:
        self.headers = request.headers
        self.method = request.method
        self.path = request.path[:_LONGEST]
        self.begin = request.received_ns
        self.end = perf_counter_ns()
        self.size = len(request.body)
        self.status = status
        self.model = model
        self.version = version
        self.call: tuple[int, int, int, int, int] | None = None
        self.laps: tuple[tuple[str, int, int], ...] = ()


class Traces:
    """Filled by the loop's thread, emptied by another one.

    Args:
        scheme: `http` or `https`.
        bound: requests that are kept until they are taken.

    Attributes:
        dropped: requests that found no room.
    """

    def __init__(self, scheme: str = "http", bound: int = BOUND) -> None:
        self._scheme = scheme
        self._bound = bound
        self._entries: deque[Noted] = deque()
        self.dropped = 0

    def note(self, request: Kept, status: int, model: str, version: str) -> None:
        """It was just answered."""
        if len(self._entries) >= self._bound:
            self.dropped += 1
            return
        request.noted = noted = Noted(request, status, model, version)
        self._entries.append(noted)

    def follow(self, session: Any, call: EngineCall) -> None:
        """An engine call whose members were just answered, by a session that may note laps.

        Where a batch failed, several calls are told of when all have run: each has its own laps.
        """
        laps: tuple[tuple[str, int, int], ...] | None = None
        for member in call.members:
            noted: Noted | None = getattr(getattr(member, "exchange", None), "noted", None)
            if noted is not None:
                times = (member.queued_ns, call.started, call.joined, call.inferred)
                noted.call = (call.rows, *times)
                if laps is None:
                    laps = _of(call, getattr(session, "laps", None) or ())
                noted.laps = laps

    def take(self, most: int, *, last: bool = False) -> list[Traced]:
        """The oldest that are settled, at most so many; `last` = all are."""
        entries = self._entries
        until = perf_counter_ns() - (0 if last else _SETTLED_NS)
        offset = time.time_ns() - perf_counter_ns()
        found: list[Traced] = []
        while entries and len(found) < most and entries[0].end <= until:
            told = _told(entries.popleft(), offset)
            if told is not None:
                found.append(replace(told, scheme=self._scheme))
        return found


def _of(call: EngineCall, laps: Iterable[tuple[str, int, int]]) -> tuple[tuple[str, int, int], ...]:
    """The laps that lie in a call."""
    first, last = call.joined, call.inferred
    return tuple(lap for lap in list(laps) if first <= lap[1] and lap[2] <= last)


def _told(noted: Noted, offset: int) -> Traced | None:
    """What is said of it; None where its context was broken."""
    trace = trace_of(noted.headers)
    if trace is None:
        return None
    call = None
    if noted.call is not None:
        rows, queued, started, joined, inferred = noted.call
        laps = tuple((name, begin + offset, end + offset) for name, begin, end in noted.laps)
        times = (queued + offset, started + offset, joined + offset, inferred + offset)
        call = Call(rows, *times, laps=laps)
    return Traced(
        trace=trace.trace_id,
        parent=trace.parent_id,
        state=trace.state,
        method=noted.method.decode("ascii", "replace"),
        path=noted.path.decode("ascii", "replace"),
        status=noted.status,
        begin=noted.begin + offset,
        end=noted.end + offset,
        size=noted.size,
        model=noted.model,
        version=noted.version,
        request_id=request_id_of(noted.headers),
        call=call,
    )
