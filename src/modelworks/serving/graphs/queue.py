"""The queue of a graph: it has the face of a model's, and holds requests until they are answered.

It batches nothing itself: every step waits in the queue of its model, with everybody else who asks
that model.
"""

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any, Final

from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError
from modelworks.protocol.graphs.plans import Plan
from modelworks.serving.batcher import Ahead, Batcher, Call, Member, refuse
from modelworks.serving.execute import Ran
from modelworks.serving.graphs.bound import Bound, Steps
from modelworks.serving.graphs.drive import Drive
from modelworks.serving.graphs.journey import Journey
from modelworks.serving.traces import Traces

_CLOSED: Final = -1


class _Laps:
    """What a request's steps took, in the form that traces ask a session for."""

    __slots__ = ("laps",)

    def __init__(self, laps: Sequence[tuple[str, int, int]]) -> None:
        self.laps = laps


class GraphQueue(Ahead):
    """Of one graph; on the loop's thread only. See `Batcher` for what its face means.

    Args:
        inner: has the limits: how many rows may be under way, a time-out, priorities; no member
            ever comes to it.
        name: of the graph, for messages.
        plan: how it is run.
        names: of its inputs, in the order of the plan's first places.
        bound: its models; the list changes where one is replaced.
        steps: counts.
        drive: hands members on.
        answer: gives a request its outputs.
        on_call: told of every request that was answered.

    Attributes:
        traces: told of requests whose caller keeps a trace; None = nobody asks.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each part once
        self,
        inner: Batcher,
        name: str,
        plan: Plan,
        names: Sequence[str],
        bound: Sequence[Bound | None],
        steps: Steps,
        drive: Drive,
        answer: Callable[[Call], None],
        on_call: Callable[[Call], None],
    ) -> None:
        super().__init__(inner)
        limits = inner.limits
        self._items = 0
        self._levels = limits.priority_levels
        self.traces: Traces | None = None
        self._name = name
        self._plan = plan
        self._names = tuple(names)
        self._bound = bound
        self._steps = steps
        self._drive = drive
        self._answer = answer
        self._on_call = on_call
        self._most = limits.max_queue_size
        self._timeout_ns = round(limits.timeout_ms * 1e6)
        self._journeys: dict[Member, Journey] = {}
        self._idle = asyncio.Event()

    def go_by(self, plan: Plan, bound: Sequence[Bound | None]) -> None:
        """Run who comes from now on by this plan, with these models."""
        self._plan = plan
        self._bound = bound

    @property
    def items(self) -> int:
        """Rows that are under way."""
        return self._items

    def submit(self, member: Member) -> None:
        """Let a request set out; it is answered later or at once, exactly once.

        Raises:
            UnavailableError: too many are under way, or the graph is being unloaded.
            InvalidError: its inputs are not what the graph takes, or it has a priority that the
                graph has not.
        """
        items = self._items + member.rows
        if items > self._most:
            self._check_room()
        if self._timeout_ns and not member.deadline_ns:
            member.deadline_ns = member.received_ns + self._timeout_ns
        levels = self._levels
        if levels > 1 and member.priority > levels:
            raise InvalidError(
                f"model '{self._name}' has priorities 1 (first) to {levels}, not {member.priority}",
                field="parameters.priority",
            )
        member.decode()
        given = member.inputs
        values = [given[name] for name in self._names]
        member.waiting = True
        self._items = items
        journey = Journey(member, self._bound, self._steps, self._drive, self._ended)
        if self.traces is not None and _traced(getattr(member, "exchange", None)):
            journey.laps = []
        self._journeys[member] = journey
        journey.begin(self._plan, values, member.rows)

    def _check_room(self) -> None:
        if self._most == _CLOSED:
            raise UnavailableError(f"model '{self._name}' is being unloaded; try again")
        if self._items:
            raise UnavailableError(
                f"model '{self._name}' has {self._items} items under way and takes at most "
                f"{self.limits.max_queue_size}; try again later"
            )

    def cancel(self, member: Member) -> None:
        """Nobody reads its answer: its steps leave their queues. Quiet once it was answered."""
        journey = self._journeys.get(member)
        if journey is not None:
            self._forget(member)
            journey.leave()

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._journeys)

    def follow(self, told: Callable[[Call], None]) -> None:
        """Tell somebody else of every answered request too."""
        first = self._on_call

        def both(call: Call) -> None:
            first(call)
            told(call)

        self._on_call = both

    async def drain(self, within: float) -> bool:
        """Refuse new requests, answer those that are under way.

        Returns:
            True; whoever was not answered within `within` seconds was refused.
        """
        self._most = _CLOSED
        await self.inner.drain(within)
        if self._journeys:
            try:
                await asyncio.wait_for(self._idle.wait(), within)
            except TimeoutError:
                for member in list(self._journeys):
                    self.cancel(member)
                    refuse(
                        member, UnavailableError(f"model '{self._name}' was unloaded; try again")
                    )
        self._answer = self._on_call = _nobody
        return True

    def _forget(self, member: Member) -> None:
        del self._journeys[member]
        member.waiting = False
        self._items -= member.rows
        if not self._journeys and self._most == _CLOSED:
            self._idle.set()

    def _ended(
        self, journey: Journey, outputs: Sequence[Any], error: ModelworksError | None
    ) -> None:
        member = journey.member
        self._forget(member)
        if error is not None:
            refuse(member, error)
            return
        now = perf_counter_ns()
        began = journey.began
        call: Call = Ran([member], outputs, None, member.rows, began, began, now)
        self._answer(call)
        self._on_call(call)
        if journey.laps is not None and self.traces is not None:
            self.traces.follow(_Laps(journey.laps), call)


def _traced(exchange: Any) -> bool:
    """Whether its caller keeps a trace; one that came by gRPC has nobody to tell where not."""
    return hasattr(exchange, "noted") and getattr(exchange, "tell", exchange) is not None


def _nobody(*_: object) -> None:
    """Called in the place of whoever was told of a graph that is unloaded now."""
