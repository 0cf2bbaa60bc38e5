"""A batcher behind a cache: kept answers are given, equal questions at once are computed once.

All of it runs on the loop's thread, but for `aboard`. A question that is not kept becomes a
`Flight`, the one member that the batcher sees; whoever asks the same meanwhile rides along. Each
rider keeps its own time-out, and may leave: the others get their answer all the same.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from time import perf_counter_ns
from typing import Any, Final, TypeAlias

from modelworks.core.caching import AnswerCache
from modelworks.core.errors import (
    DeadlineError,
    InvalidError,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.tensor import Tensors
from modelworks.serving.batcher import Ahead, Batcher, Member, deliver, refuse
from modelworks.serving.cache import keys
from modelworks.serving.cache.numbers import CacheCounts
from modelworks.serving.cache.shared import Shared
from modelworks.serving.cache.store import Store, kept_arrays, size_of_arrays

Place: TypeAlias = tuple[bytes, int]
Reply: TypeAlias = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]
"""Body, content type, headers of an answer that went well."""
_LATE: Final = "the request's time-out was over before the answer to an equal one was there"
_GONE: Final = "the model was unloaded; try again"
_REPLY: Final = 120  # bytes of a reply's tuples


class Flight(Member):
    """A question on its way through the batcher, for all who ask it.

    Attributes:
        exchange: of the rider who was answered first, for whoever follows traces; None before.
        key: of the question.
        riders: who wait for the answer; the first brought it.
        looking: Redis is asked first; the batcher does not know of it yet.
    """

    __slots__ = ("_cached", "_priority", "exchange", "key", "looking", "riders")

    def __init__(self, cached: "Cached", key: bytes, first: Member) -> None:
        super().__init__(
            first.inputs, first.rows, first.shape, first.received_ns, first.deadline_ns
        )
        self.queued_ns = first.queued_ns
        self.exchange: Any = None
        self.key = key
        self.riders = [first]
        self.looking = False
        self._priority = first.priority
        self._cached = cached

    @property
    def priority(self) -> int:
        """Of all of its riders."""
        return self._priority

    @property
    def place(self) -> Place:
        """Where it is found by those who ask the same: nobody rides behind less hurried ones."""
        return self.key, self._priority

    def succeed(self, outputs: Sequence[Any]) -> None:
        """See `Member.succeed`."""
        self._cached.landed(self, outputs)

    def fail(self, error: ModelworksError) -> None:
        """See `Member.fail`."""
        self._cached.failed(self, error)


class Cached(Ahead):
    """The cache in front of one loaded model's batcher.

    Args:
        inner: the batcher.
        policy: of the cache.
        names: of the model's inputs.
        counts: what is counted.
        answered: told the nanoseconds of a request that no call of the engine answered.
        within: has a kept answer given so that records tell it from others.
        shared: what is kept outside of this process; None = nothing is.
    """

    def __init__(
        self,
        inner: Batcher | Ahead,
        policy: AnswerCache,
        names: Sequence[str],
        counts: CacheCounts,
        answered: Callable[[int], None],
        within: Callable[[Callable[[Any], None]], None],
        shared: Shared | None = None,
    ) -> None:
        super().__init__(inner)
        self._loop = asyncio.get_running_loop()
        self._names = tuple(names)
        self._ttl = policy.ttl_s or inf
        self._store = Store(policy.max_bytes)
        self._counts = counts
        self._answered = answered
        self._within = within
        self._shared = shared
        self._flights: dict[Place, Flight] = {}
        self._riding: dict[Member, Flight] = {}
        self._closed = False
        self._until = 0.0  # of the answer that is being given now; 0 = none is

    # -- what came before as the same bytes

    def reply(self, key: bytes) -> Reply | None:
        """The answer that these bytes were given, in the bytes that were sent."""
        found = self._store.get(key, self._loop.time())
        return None if found is None else found[0]

    def replied(self, received_ns: int, began: int) -> None:
        """Count a request that `reply` answered; times of `perf_counter_ns`."""
        now = perf_counter_ns()
        self._counts.hit(now - began)
        self._answered(now - received_ns)

    def note(self, key: bytes, reply: Reply) -> None:
        """Keep a reply for whoever sends the same bytes; no longer than the answer in it."""
        if self._closed:
            return
        began = perf_counter_ns()
        body, kind, headers = reply
        size = _REPLY + len(body) + len(kind)
        size += sum(_REPLY + len(name) + len(value) for name, value in headers)
        until = self._until or self._loop.time() + self._ttl
        self._store.put(key, reply, size, until)
        self._counts.kept(perf_counter_ns() - began, self._store)

    # -- a batcher's face

    @property
    def busy(self) -> bool:
        """Whether somebody waits, or is being computed."""
        return bool(self._riding) or self.inner.busy

    def submit(self, member: Member) -> None:
        """See `Batcher`."""
        began = perf_counter_ns()
        key = self._key(member)
        if key is None:
            self.inner.submit(member)
            return
        self._check(member)
        found = self._store.get(key, self._loop.time())
        if found is not None:
            self._loop.call_soon(self._give, member, found[0], found[1])
            self._counts.hit(perf_counter_ns() - began)
            return
        place = (key, member.priority)
        flight = self._flights.get(place)
        if flight is not None:
            self._join(flight, member)
            return
        flight = Flight(self, key, member)
        if self._shared is None:
            self.inner.submit(flight)
        else:
            flight.looking = True
            self._time(flight, member)
        member.waiting = True
        self._flights[place] = flight
        self._riding[member] = flight
        if self._shared is None:
            self._counts.miss(perf_counter_ns() - began)
        else:
            self._shared.get(key, partial(self._looked, flight))

    def cancel(self, member: Member) -> None:
        """See `Batcher.cancel`."""
        flight = self._riding.get(member)
        if flight is None:
            self.inner.cancel(member)
        elif member.waiting:
            self._leave(flight, member)

    async def drain(self, within: float) -> bool:
        """See `Batcher.drain`; what was kept is forgotten."""
        self._closed = True
        for flight in [flight for flight in self._flights.values() if flight.looking]:
            self.failed(flight, UnavailableError(_GONE))
        try:
            return await self.inner.drain(within)
        finally:
            if self._shared is not None:
                self._shared.close()
            self._store.clear()
            self._counts.holds(self._store)

    # -- what a flight tells

    def landed(self, flight: Flight, outputs: Sequence[Any]) -> None:
        """The answer is there: who brought the question gets it first."""
        riders = self._off(flight)
        flight.exchange = getattr(riders[0], "exchange", None) if riders else None
        began = perf_counter_ns()
        kept = kept_arrays(outputs)
        until = self._keep(flight.key, kept, self._loop.time() + self._ttl)
        if self._shared is not None:
            self._shared.put(flight.key, kept)
        self._counts.kept(perf_counter_ns() - began, self._store)
        self._until = until
        for place, member in enumerate(riders):
            if place:
                self._counts.hit(0)
                self._given(member, kept)
            else:
                deliver(member, outputs)
        self._until = 0.0

    def failed(self, flight: Flight, error: ModelworksError) -> None:
        """No answer: of those who still have time after one had none, somebody asks again."""
        # Without a time-out it is the engine that says so, and would say it again and again.
        late = isinstance(error, DeadlineError) and flight.deadline_ns > 0 and not self._closed
        if not late:
            for member in self._off(flight):
                refuse(member, error)
            return
        now = perf_counter_ns()
        for member in list(flight.riders):
            if 0 < member.deadline_ns <= now or member.deadline_ns == flight.deadline_ns > 0:
                self._drop(flight, member)
                refuse(member, error)
        self._launch(flight)

    # -- within

    def _key(self, member: Member) -> bytes | None:
        """Of its question; None where no answer to it is kept."""
        if self._closed or not member.keeps:
            return None
        member.decode()
        if keys.size_of(member.inputs) > keys.LARGEST:
            return None
        return keys.of_tensors(member.inputs, self._names)

    def _check(self, member: Member) -> None:
        """What the batcher would refuse is refused whether or not the answer is known."""
        levels = self.inner.limits.priority_levels
        if member.priority > levels > 1:
            raise InvalidError(
                f"the model has priorities 1 (first) to {levels}, not {member.priority}",
                field="parameters.priority",
            )

    def _give(self, member: Member, kept: Sequence[Any], until: float) -> None:
        self._until = until
        self._given(member, kept)
        self._until = 0.0

    def _given(self, member: Member, kept: Sequence[Any]) -> None:
        self._within(lambda _: deliver(member, kept))
        self._answered(perf_counter_ns() - member.received_ns)

    def _keep(self, key: bytes, kept: tuple[Any, ...], until: float) -> float:
        self._store.put(key, kept, size_of_arrays(kept), until)
        return until

    def _looked(self, flight: Flight, found: tuple[tuple[Any, ...], float] | None) -> None:
        """Redis answered, or did not.

        Args:
            flight: that waited for it.
            found: the outputs and for how many seconds they are good; None = nothing.
        """
        if not flight.looking:
            return  # everybody left, or the model was unloaded
        flight.looking = False
        if found is None:
            self._counts.miss(0)
            self._launch(flight)
            return
        kept, seconds = found
        until = self._keep(flight.key, kept, self._loop.time() + min(seconds, self._ttl))
        self._counts.holds(self._store)
        for member in self._off(flight):
            self._counts.hit(0)
            self._give(member, kept, until)

    def _launch(self, flight: Flight) -> None:
        """Hand the question to the batcher, as of the first rider for whom it takes it."""
        while flight.riders:
            first = flight.riders[0]
            _silence(first)
            flight.received_ns, flight.queued_ns = first.received_ns, first.queued_ns
            flight.deadline_ns = first.deadline_ns
            try:
                self.inner.submit(flight)
            except ModelworksError as error:
                self._drop(flight, first)
                refuse(first, error)
            else:
                return
        self._flights.pop(flight.place, None)

    def _join(self, flight: Flight, member: Member) -> None:
        """Wait for an answer that is on its way.

        Raises:
            UnavailableError: too many wait.
            DeadlineError: its time is already up.
        """
        most = self.inner.limits.max_queue_size
        if len(self._riding) >= most:
            raise UnavailableError(f"{most} requests wait for the model; try again later")
        if flight.waiting or flight.looking:
            self._time(flight, member)
            member.waiting = True
        flight.riders.append(member)
        self._riding[member] = flight

    def _time(self, flight: Flight, member: Member) -> None:
        """Hold it to its time-out while it waits."""
        timeout_ms = self.inner.limits.timeout_ms
        if timeout_ms and not member.deadline_ns:
            member.deadline_ns = member.received_ns + round(timeout_ms * 1e6)
        if not member.deadline_ns:
            return
        left = member.deadline_ns - perf_counter_ns()
        if left <= 0:
            raise DeadlineError("the request's time-out was over before it could be queued")
        member.timer = self._loop.call_later(left / 1e9, self._expire, flight, member)

    def _expire(self, flight: Flight, member: Member) -> None:
        member.timer = None
        if self._riding.get(member) is flight and (flight.waiting or flight.looking):
            self._leave(flight, member)
            refuse(member, DeadlineError(_LATE))

    def _leave(self, flight: Flight, member: Member) -> None:
        """One does not want the answer any more; the last one takes the question along."""
        self._drop(flight, member)
        if not flight.riders:
            flight.looking = False
            self.inner.cancel(flight)
            self._forget(flight)

    def _drop(self, flight: Flight, member: Member) -> None:
        flight.riders.remove(member)
        del self._riding[member]
        member.waiting = False
        _silence(member)

    def _off(self, flight: Flight) -> list[Member]:
        """All leave."""
        riders, flight.riders = flight.riders, []
        flight.looking = False
        for member in riders:
            del self._riding[member]
            member.waiting = False
            _silence(member)
        self._forget(flight)
        return riders

    def _forget(self, flight: Flight) -> None:
        if self._flights.get(flight.place) is flight:
            del self._flights[flight.place]


def aboard(gather: Callable[[list[Member]], Tensors], members: list[Member]) -> Tensors:
    """Gather a batch, after which its riders cannot leave: as members without a cache.

    May run on the engine's thread.
    """
    for flight in members:
        if type(flight) is Flight:
            for rider in tuple(flight.riders):
                rider.waiting = False
    return gather(members)


def _silence(member: Member) -> None:
    if member.timer is not None:
        member.timer.cancel()
        member.timer = None
