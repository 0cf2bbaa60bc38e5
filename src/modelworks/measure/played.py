"""Requests that were recorded are sent again at the times at which they came, and all is kept.

An open loop like that of `load`: a request is due when it came, whatever the server does, and its
latency runs from then (no coordinated omission). Answers are kept to be looked at afterwards.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.measure.generator import Generator, clock, closed, drain, exact_timing, opened
from modelworks.measure.histogram import Histogram
from modelworks.measure.link import Link
from modelworks.measure.schedule import Times
from modelworks.measure.sockets import Sockets
from modelworks.measure.tally import Failure, Tally
from modelworks.measure.target import Target

MOST_BYTES: Final = 256 * 1024 * 1024
"""Of answers that are kept."""
_NS: Final = 1_000_000_000
_EVER: Final = 2**62
_GONE_NS: Final = 10 * _NS
"""So long nothing can be sent for want of a connection: then nobody is there any more."""


@dataclass(frozen=True, slots=True)
class Play:
    """What is sent, and when.

    Attributes:
        target: where to.
        requests: whole requests, in the order of time.
        at_ns: when each came, ns, ascending, any clock.
        speed: gaps are divided by it; 0 = there are none: each goes as soon as a connection is
            free.
        in_flight: requests under way at most; what is due beyond it waits, and its latency runs.
        timeout_s: after which a request without an answer has failed.
    """

    target: Target
    requests: Sequence[bytes] = field(repr=False)
    at_ns: Sequence[int] = field(repr=False)
    speed: float = 1.0
    in_flight: int = 32
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what cannot be played."""
        if not self.requests or len(self.requests) != len(self.at_ns):
            words = f"{len(self.requests)} requests at {len(self.at_ns)} times"
            raise InvalidError(words, field="requests")
        for name, low, high in (("speed", 0, 1e6), ("in_flight", 1, 4096), ("timeout_s", 0, 3600)):
            if not low <= getattr(self, name) <= high:
                raise InvalidError(f"{name}: from {low:g} to {high:g}", field=name)

    @property
    def seconds(self) -> float:
        """How long the sending takes, where the server keeps up; 0 = as long as it takes."""
        return (self.at_ns[-1] - self.at_ns[0]) / _NS / self.speed if self.speed else 0.0


@dataclass(frozen=True, slots=True)
class Got:
    """An answer.

    Attributes:
        status: HTTP.
        json_length: of its head; -1 = not said.
        body: its bytes; None = there was no more room for it.
    """

    status: int
    json_length: int
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it.

    Attributes:
        answers: place of a request -> its answer.
        failures: place of a request -> why it has none.
        sent: requests that left.
        seconds: from the first to the end.
        latency: of good answers, ns, from the time that their request was due.
        service: the same, from the time it was truly sent.
        lag: how late requests left although a connection was free.
        interrupted: Ctrl-C ended it early.
        gone: the server went away and did not come back: the rest was not sent.
    """

    answers: dict[int, Got]
    failures: dict[int, Failure]
    sent: int
    seconds: float
    latency: Histogram
    service: Histogram
    lag: Histogram
    interrupted: bool = False
    gone: bool = False


class _GoneError(Exception):
    """Nobody listens there any more."""


class _Kept(Tally):
    """Counts, and what each request got."""

    def __init__(self) -> None:
        super().__init__(0, _EVER)
        self.got: dict[int, Got] = {}
        self.lost: dict[int, Failure] = {}
        self._room = MOST_BYTES

    def answer(self, link: Link, now: int) -> None:
        pieces, link.kept = link.kept, None
        super().answer(link, now)
        if link.head is None:
            return
        body = b"".join(pieces or ())
        kept = body if len(body) <= self._room else None
        self._room -= len(kept or b"")
        self.got[link.turn] = Got(link.head.status, link.head.json_length, kept)

    def failure(self, link: Link, kind: Failure) -> None:
        super().failure(link, kind)
        self.lost[link.turn] = kind


def play(wanted: Play, progress: Callable[[float, int, int], None] | None = None) -> Played:
    """Send all of it and wait for the answers; Ctrl-C ends it with what came until then.

    Args:
        wanted: what, where and when.
        progress: called about ten times a second: seconds so far, answers, failures.

    Raises:
        UnavailableError: nothing listens there.
        InvalidError: certificates that cannot be read.
    """
    say = progress or (lambda _seconds, _answers, _failures: None)
    patience = int(wanted.timeout_s * _NS)
    count, interrupted, gone = len(wanted.requests), False, False
    with contextlib.ExitStack() as stack:
        many = min(wanted.in_flight, count)
        generator = Generator(Sockets(wanted.target), wanted.requests, many, patience, sample=1)
        stack.callback(generator.close)
        stack.enter_context(exact_timing())
        kept = _Kept()
        generator.tally, generator.left = kept, count
        began = clock()

        alive = began

        def tick(now: int) -> None:
            nonlocal alive
            if generator.free or generator.under_way:
                alive = now
            elif now - alive > _GONE_NS:
                raise _GoneError
            failed = len(kept.lost) + sum(one.status >= 400 for one in kept.got.values())
            say((now - began) / _NS, len(kept.got), failed)

        try:
            if wanted.speed:
                times = _due(wanted, began)
                opened(generator, Times(times), times[-1] + _EVER // 4, tick)
            else:
                closed(generator, _EVER // 2, tick)
            drain(generator, clock() + patience)
        except _GoneError:
            gone = True
        except KeyboardInterrupt:
            interrupted = True
            generator.abandon()
        kept.flush()
        seconds = (clock() - began) / _NS
    return Played(
        answers=kept.got,
        failures=kept.lost,
        sent=count - generator.left,
        seconds=seconds,
        latency=kept.latency,
        service=kept.service,
        lag=kept.lag,
        interrupted=interrupted,
        gone=gone,
    )


def _due(wanted: Play, began: int) -> list[int]:
    """When each is due on the generator's clock."""
    first = wanted.at_ns[0]
    return [began + int((at - first) / wanted.speed) for at in wanted.at_ns]
