"""Greedy batching on the event loop: an idle engine runs at once with everything that waits.

No coroutine, task or future a request: a `Member` is put into a queue, and answered by a call. All
of this runs on the loop's thread; only `execute` may run on the model's engine thread.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from time import perf_counter_ns
from typing import Any, TypeAlias

from modelworks.core.errors import CrashedError, DeadlineError, ModelworksError, UnavailableError
from modelworks.core.seams import Session
from modelworks.core.served import Batching
from modelworks.core.tensor import Tensors
from modelworks.serving.cost import Cost
from modelworks.serving.engine_thread import EngineThread
from modelworks.serving.execute import Ran, execute, joined
from modelworks.serving.outlook import Outlook

_log = logging.getLogger("modelworks.serving")
_LATE = "the request's time-out was over before the model was free; nothing was computed"


class Member(ABC):
    """One request on its way through a batcher.

    Attributes:
        inputs: input name -> array.
        rows: items it counts for; 1 where requests are not batched.
        shape: members of equal shapes may share a batch.
        received_ns: when its bytes were complete, on `perf_counter_ns`'s clock.
        queued_ns: when it was decoded, same clock.
        deadline_ns: same clock; 0 = none.
        expected_ns: the wait that was foretold to it; set where it has a deadline.
        waiting: in the queue, not yet taken.
    """

    __slots__ = (
        *("deadline_ns", "expected_ns", "inputs", "queued_ns", "received_ns", "rows", "shape"),
        *("timer", "waiting"),
    )

    expected_ns: float

    def __init__(
        self, inputs: Tensors, rows: int, shape: Hashable, received_ns: int, deadline_ns: int = 0
    ) -> None:
        self.inputs = inputs
        self.rows = rows
        self.shape = shape
        self.received_ns = received_ns
        self.queued_ns = perf_counter_ns()
        self.deadline_ns = deadline_ns
        self.waiting = False
        self.timer: asyncio.TimerHandle | None = None

    @abstractmethod
    def succeed(self, outputs: Sequence[Any]) -> None:
        """Take the outputs: this member's rows only."""

    @abstractmethod
    def fail(self, error: ModelworksError) -> None:
        """Take the error instead of an answer."""


Call: TypeAlias = Ran[Member]


class Batcher:
    """The queue in front of one session.

    Args:
        name: of the model, for messages and the thread.
        session: called from one thread at a time.
        limits: items a call and items in the queue.
        cost: what warm-up has measured; kept up to date here.
        answer: gives every member of a call its outputs.
        gather: makes one set of inputs of a batch's members; runs where the engine runs.
        on_call: told of every engine call, after its members were answered.
    """

    def __init__(
        self,
        name: str,
        session: Session,
        limits: Batching,
        cost: Cost,
        on_call: Callable[[Call], None],
        answer: Callable[[Call], None] | None = None,
        gather: Callable[[list[Member]], Tensors] = joined,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.items = 0  # rows waiting
        self._name = name
        self._session = session
        self._limits = limits
        self._cost = cost
        self._outlook = Outlook(cost)
        self._since = 0  # when the engine thread got its present call
        self._aboard = 0  # rows of that call
        self._on_call = on_call
        self._answer = answer or answer_each
        self._gather = gather
        self._call_soon = loop.call_soon
        self._loop = loop
        self._thread = EngineThread(name, loop)
        self._queues: dict[Hashable, deque[Member]] = {}
        self._scheduled = False
        self._running = False
        self._closed = False
        self._idle = asyncio.Event()

    def submit(self, member: Member) -> None:
        """Queue a member; it is answered later, exactly once, unless it is cancelled.

        Raises:
            UnavailableError: the queue is full, so long that the answer would be late, or the model
                is being unloaded.
            DeadlineError: its time is already up.
        """
        if self._closed:
            raise UnavailableError(f"model '{self._name}' is being unloaded; try again")
        items = self.items + member.rows
        if items > self._limits.max_queue_size and self.items:
            raise UnavailableError(
                f"model '{self._name}' has {self.items} items waiting and takes at most "
                f"{self._limits.max_queue_size}; try again later"
            )
        if member.deadline_ns:
            self._watch(member)
        self.items = items
        member.waiting = True
        queue = self._queues.get(member.shape)
        if queue is None:
            self._queues[member.shape] = deque((member,))
        else:
            queue.append(member)
        if not (self._scheduled or self._running):
            self._scheduled = True
            self._call_soon(self._turn)

    def cancel(self, member: Member) -> None:
        """Take a member out of the queue: nobody reads its answer. Quiet once it was taken."""
        if not member.waiting:
            return
        queue = self._queues[member.shape]
        queue.remove(member)
        if not queue:
            del self._queues[member.shape]
        self._left(member)

    @property
    def limits(self) -> Batching:
        """What is in force now."""
        return self._limits

    def adjust(self, max_batch_size: int, max_delay_ms: float) -> None:
        """Change the limits while it serves; from the next batch on. On the loop's thread only.

        Args:
            max_batch_size: items a call, 1 or more.
            max_delay_ms: how long an idle engine waits for company; 0 = it never does.
        """
        self._limits = replace(
            self._limits, max_batch_size=max_batch_size, max_delay_ms=max_delay_ms
        )

    async def drain(self, within: float) -> bool:
        """Refuse new members, answer those that wait, end the thread.

        Returns:
            False when `within` seconds were not enough: whoever still waited was refused, and
            the engine may still be in a call.
        """
        self._closed = True
        began = self._loop.time()
        if self._queues or self._running:
            try:
                await asyncio.wait_for(self._idle.wait(), within)
            except TimeoutError:
                self._refuse_all()
        return await self._thread.stop(max(0.1, within - (self._loop.time() - began)))

    def _watch(self, member: Member) -> None:
        now = perf_counter_ns()
        left = member.deadline_ns - now
        if left <= 0:
            raise DeadlineError("the request's time-out was over before it could be queued")
        member.expected_ns = 0.0
        if self.items or self._running:  # an idle engine always tries: so it goes on learning
            self._foretell(member, now, left)
        member.timer = self._loop.call_later(left / 1e9, self._expire, member)

    def _foretell(self, member: Member, now: int, left: int) -> None:
        """Refuse whoever would be answered too late, while there is time to go elsewhere."""
        items, largest = self.items, self._limits.max_batch_size
        running = self._aboard if self._running else 0
        wait = self._outlook.wait(items, largest, running, now - self._since)
        together = max(member.rows, min(largest, items % largest + member.rows))
        if not self._outlook.fits(wait, together, left):
            raise UnavailableError(
                f"model '{self._name}' has {items} items waiting: this request would be answered "
                f"too late for its time-out, {left / 1e6:.0f} ms from now; try again later",
                retry_after=max(1, ceil(wait / 1e9)),
            )
        member.expected_ns = wait

    def _expire(self, member: Member) -> None:
        if member.waiting:
            self._outlook.saw(member.expected_ns, perf_counter_ns() - member.queued_ns)
            self.cancel(member)
            member.fail(DeadlineError(_LATE))

    def _left(self, member: Member) -> None:
        member.waiting = False
        self.items -= member.rows
        if member.timer is not None:
            member.timer.cancel()
            member.timer = None
        if self._closed:
            self._settle()

    def _take(self) -> list[Member]:
        """The next batch: one shape, in order of arrival; shapes take turns."""
        shape, queue = next(iter(self._queues.items()))
        batch = [queue.popleft()]
        room = self._limits.max_batch_size - batch[0].rows
        while queue and queue[0].rows <= room:
            member = queue.popleft()
            room -= member.rows
            batch.append(member)
        del self._queues[shape]
        if queue:
            self._queues[shape] = queue
        return batch

    def _turn(self) -> None:
        """One batch; the rest waits for the next turn, so that the loop can read and write."""
        self._scheduled = False
        if self._running or not self._queues:
            return
        batch = self._take()
        rows = 0
        timed = False
        for member in batch:
            rows += member.rows
            member.waiting = False
            timed = timed or member.timer is not None
        self.items -= rows
        if timed:
            batch = _in_time(batch, self._outlook)
            rows = sum([member.rows for member in batch])
        self._running = True
        if not batch:
            self._finish([])
        elif self._cost.inline(rows):
            self._finish(execute(self._session, batch, self._gather))
        else:
            self._since, self._aboard = perf_counter_ns(), rows
            self._thread.run(partial(execute, self._session, batch, self._gather), self._finish)

    def _finish(self, calls: list[Call]) -> None:
        for call in calls:
            if call.error is None:
                self._cost.learn(call.rows, call.inferred - call.started)
                self._answer(call)
            else:
                for member in call.members:
                    refuse(member, call.error)
            self._on_call(call)
        self._running = False
        if self._queues:
            if not self._scheduled:
                self._scheduled = True
                self._call_soon(self._turn)
        elif self._closed:
            self._settle()

    def _settle(self) -> None:
        if not self._queues and not self._running:
            self._idle.set()

    def _refuse_all(self) -> None:
        for member in [m for queue in self._queues.values() for m in queue]:
            self.cancel(member)
            refuse(member, UnavailableError(f"model '{self._name}' was unloaded; try again"))


def _in_time(batch: list[Member], outlook: Outlook) -> list[Member]:
    """Refuse whose time ran out while the loop was too busy to say so; the others."""
    now = perf_counter_ns()
    kept = []
    first = next(member for member in batch if member.timer is not None)
    outlook.saw(first.expected_ns, now - first.queued_ns)
    for member in batch:
        if member.timer is not None:
            member.timer.cancel()
            member.timer = None
        if 0 < member.deadline_ns <= now:
            refuse(member, DeadlineError(_LATE))
        else:
            kept.append(member)
    return kept


def answer_each(call: Call) -> None:
    """Give every member its rows."""
    for member, outputs in call.each():
        deliver(member, outputs)


def deliver(member: Member, outputs: Sequence[Any]) -> None:
    """Give a member its rows; what goes wrong there stays there."""
    try:
        member.succeed(outputs)
    except Exception as error:  # noqa: BLE001 - one answer's trouble is not its neighbours'
        if not isinstance(error, ModelworksError):
            _log.exception("an answer could not be written")
            error = CrashedError("the answer could not be written; the server's log says why")
        refuse(member, error)


def refuse(member: Member, error: ModelworksError) -> None:
    """Give a member the error."""
    try:
        member.fail(error)
    except Exception:  # noqa: BLE001 - the same
        _log.exception("a refusal could not be written")
