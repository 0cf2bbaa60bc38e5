"""The queue in front of a session that takes several calls at a time: a call a lane.

A greedy turn as in front of every engine: a lane that is free takes everything that waits. So calls
grow as lanes become fewer, and callers who keep a pipeline full are in all of its stages.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import NamedTuple

from modelworks.core.seams import Session
from modelworks.core.served import Batching
from modelworks.core.tensor import Tensors
from modelworks.serving.batcher.batcher import Batcher
from modelworks.serving.batcher.member import Call, Member
from modelworks.serving.cost import Cost
from modelworks.serving.engine_thread import EngineThreads
from modelworks.serving.execute import Cut, execute, joined


class _Flight(NamedTuple):
    """A call that runs: when it began, and its rows."""

    since: int
    rows: int


class Lanes(Batcher):
    """See `Batcher`; `session` is called from as many threads as it has lanes.

    Args:
        lanes: of the session, 1 or more; the other arguments are a batcher's.
    """

    def __init__(  # noqa: PLR0913 - each part once
        self,
        name: str,
        session: Session,
        limits: Batching,
        cost: Cost,
        on_call: Callable[[Call], None],
        answer: Callable[[Call], None] | None = None,
        gather: Callable[[list[Member]], Tensors] = joined,
        *,
        one_shape: bool = False,
        lanes: int = 1,
    ) -> None:
        self._lanes = lanes
        self._flights: list[_Flight] = []  # the oldest first
        super().__init__(name, session, limits, cost, on_call, answer, gather, one_shape=one_shape)
        self._beside = EngineThreads(name, asyncio.get_running_loop(), lanes)

    @property
    def busy(self) -> bool:
        """See `Batcher.busy`."""
        return bool(self.items or self._flights)

    def _greedy_turn(self) -> None:
        if self._open():
            super()._greedy_turn()

    def _patient_turn(self) -> None:
        if self._open():
            super()._patient_turn()

    def _open(self) -> bool:
        """Whether a lane is free; where none is, the end of a call takes the next turn."""
        free = len(self._flights) < self._lanes
        if not free:
            self._asleep = False
        return free

    def _foretell(self, member: Member, now: int, left: int) -> None:
        """With a lane free nobody waits; else as long as for the call that began first."""
        if len(self._flights) == self._lanes:
            super()._foretell(member, now, left)

    def _go(self, batch: list[Member], rows: int, cut: Cut) -> None:
        self.items -= rows
        for member in batch:
            member.waiting = False
        if self._timed:
            batch = self._in_time(batch)
            rows = sum([member.rows for member in batch])
        if not batch or self._cost.inline(rows):
            self._cut = cut
            self._finish(execute(self._session, batch, self._gather) if batch else [])
            return
        flight = _Flight(perf_counter_ns(), rows)
        self._flights.append(flight)
        self._count()
        work = partial(execute, self._session, batch, self._gather)
        self._beside.run(work, partial(self._landed, flight, cut))
        free = len(self._flights) < self._lanes
        if free and self.items:
            self._call_soon(self._turn)
        else:
            self._asleep = free

    def _landed(self, flight: _Flight, cut: Cut, calls: list[Call]) -> None:
        self._flights.remove(flight)
        self._cut = cut
        self._finish(calls)

    def _finish(self, calls: list[Call]) -> None:
        self._aboard = 0  # no lull: what a batcher with one lane waits for is there already
        super()._finish(calls)
        self._count()

    def _count(self) -> None:
        """What waiting is foretold from."""
        oldest = self._flights[0] if self._flights else None
        self._since, self._aboard = (oldest.since, oldest.rows) if oldest is not None else (0, 0)

    def _settle(self) -> None:
        if not self.items and not self._flights:
            self._idle.set()
