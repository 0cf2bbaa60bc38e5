"""The generations of one live model that are open: bounded, counted, ended with the model."""

import asyncio
from collections.abc import Callable, Coroutine
from time import perf_counter_ns
from typing import Any, Final, TypeAlias

from modelworks.core.errors import UnavailableError
from modelworks.core.seams import Generating
from modelworks.core.served import Batching
from modelworks.protocol.routes.limits import Meter
from modelworks.serving.generating.generation import Generation
from modelworks.serving.generating.handover import Handover
from modelworks.serving.generating.numbers import Counts, End
from modelworks.serving.generating.tokens import admission_of
from modelworks.serving.statistics import Outcome, Recorder

_OUTCOMES: Final = {
    End.LEFT: Outcome.CANCELLED,
    End.SLOW: Outcome.CANCELLED,
    End.LATE: Outcome.EXPIRED,
    End.INVALID: Outcome.INVALID,
    End.REFUSED: Outcome.REJECTED,
    End.FAILED: Outcome.FAILED,
    End.UNLOADED: Outcome.REJECTED,
}
MeterOf: TypeAlias = Callable[[dict[bytes, bytes]], Meter | None]
_LOOK_S: Final = 0.02
_STOP_S: Final = 5.0  # that an engine has for ending what it was told to stop


class Generations:
    """On the loop that made it.

    Args:
        label: of the model, for errors.
        session: that generates.
        recorder: of the model.
        limits: `max_queue_size` may be open at once, more are refused; `timeout_ms` may one wait
            for its first piece, 0 = for ever.

    Attributes:
        session: see above.
        handover: where the engine tells its pieces.
        counts: of the model.
        loop: that everything happens on.
        timeout_ms: see `limits`.
        meter_of: headers -> what counts their sender's tokens; None = nobody counts.
        admit: lets generations in by their tokens; None = the model says nothing of tokens.
    """

    def __init__(
        self, label: str, session: Generating, recorder: Recorder, limits: Batching
    ) -> None:
        self.session = session
        self.loop = asyncio.get_running_loop()
        self.handover = Handover(self.loop)
        self.counts = Counts(recorder.cells)
        self._label = label
        self._recorder = recorder
        self._most = limits.max_queue_size
        self.timeout_ms = limits.timeout_ms
        self.admit = admission_of(session)
        self.meter_of: MeterOf | None = None
        self._open: set[Generation] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def __len__(self) -> int:
        """How many the engine is not done with."""
        return len(self._open)

    def enter(self, generation: Generation) -> None:
        """One more.

        Raises:
            UnavailableError: there are as many as may be, or the model goes away.
        """
        if self._closing:
            raise UnavailableError(f"{self._label} is being unloaded; try again")
        if len(self._open) >= self._most:
            raise UnavailableError(
                f"{self._label} has {self._most} generations under way, and takes no more "
                "(max_queue_size)"
            )
        self._open.add(generation)
        self.counts.begun()

    def leave(self, generation: Generation, end: End, received_ns: int) -> None:
        """The engine is done with one, and so is its reader."""
        if generation not in self._open:
            return
        self._open.discard(generation)
        self.counts.closed(end)
        outcome = _OUTCOMES.get(end)
        taken_ns = perf_counter_ns() - received_ns
        if outcome is None:
            self._recorder.answered(taken_ns)
        else:
            self._recorder.ended(outcome, taken_ns)

    def aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done by a task of ours."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, within: float) -> bool:
        """Let those that are open end, `within` seconds at most; then stop them.

        Returns:
            Whether the engine is done with all of them.
        """
        self._closing = True
        await self._emptied(within)
        for generation in list(self._open):
            generation.unload()
        await self._emptied(_STOP_S)
        return not self._open

    async def _emptied(self, within: float) -> None:
        end = self.loop.time() + within
        while self._open and self.loop.time() < end:  # noqa: ASYNC110 - it is seldom, and bounded
            await asyncio.sleep(_LOOK_S)
