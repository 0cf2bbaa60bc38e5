"""Batching on the event loop: an idle engine runs at once with everything that waits.

No coroutine, task or future a request: a `Member` is put into a line, and answered by a call. All
of this runs on the loop's thread; only `execute` may run on the model's engine thread. What a model
did not ask for (a delay, levels, a time-out of its own) is decided when limits are set: the usual
request passes no question about it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter_ns
from typing import Final, NoReturn

from modelworks.core.errors import DeadlineError, InvalidError, ModelworksError, UnavailableError
from modelworks.core.seams import Session
from modelworks.core.served import Batching
from modelworks.core.tensor import Tensors
from modelworks.serving.batcher.line import LevelLine, Line, OneLine, ShapeLine
from modelworks.serving.batcher.lull import Lull
from modelworks.serving.batcher.member import Call, Member, answer_each, refuse
from modelworks.serving.batcher.patience import Go, Patience
from modelworks.serving.cost import Cost
from modelworks.serving.engine_thread import EngineThread
from modelworks.serving.execute import Cut, execute, joined
from modelworks.serving.outlook import Outlook

_LATE: Final = "the request's time-out was over before the model was free; nothing was computed"
_IDLE: Final = Cut.IDLE
_CLOSED: Final = -1


class Batcher:
    """The queue in front of one session.

    Args:
        name: of the model, for messages and the thread.
        session: called from one thread at a time.
        limits: how requests share calls.
        cost: what warm-up has measured; kept up to date here.
        answer: gives every member of a call its outputs.
        gather: makes one set of inputs of a batch's members; runs where the engine runs.
        on_call: told of every engine call, after its members were answered.
        one_shape: all members fit together, whatever their `shape`.

    Attributes:
        items: rows that wait.
        submit: queues a member; it is answered later, exactly once, unless it is cancelled. Raises
            UnavailableError: the queue is full, so long that the answer would be late, or the model
            is being unloaded. DeadlineError: its time is already up. InvalidError: it has a
            priority that the model has not.
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
    ) -> None:
        loop = asyncio.get_running_loop()
        self.items = 0
        self._name = name
        self._session = session
        self._cost = cost
        self._outlook = Outlook(cost)
        self._since = 0  # when the engine thread got its present call
        self._aboard = 0  # rows of that call; 0 = the engine is free
        self._cut = _IDLE  # of that call
        self._on_call = on_call
        self._answer = answer or answer_each
        self._gather = gather
        self._call_soon = loop.call_soon
        self._loop = loop
        self._beside = EngineThread(name, loop)
        self._one_shape = one_shape
        self._timed = 0  # members with a timer
        self._asleep = True  # no turn is due, and no call runs
        self._last = 0  # rows that waited at the last greedy turn
        self._lull: Lull | None = None  # once a call has run on the engine's thread
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._idle = asyncio.Event()
        self._closed = False
        self._line: Line = OneLine()
        self._limit(limits)

    # -- limits

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
        changed = replace(self._limits, max_batch_size=max_batch_size, max_delay_ms=max_delay_ms)
        if changed != self._limits:
            self._limit(changed)
            self._wake()

    def follow(self, told: Callable[[Call], None]) -> None:
        """Tell somebody else of every engine call too, after whoever is told already."""
        first = self._on_call

        def both(call: Call) -> None:
            first(call)
            told(call)

        self._on_call = both

    def _limit(self, limits: Batching) -> None:
        """Choose what these limits need, and nothing more."""
        self._silence()
        self._limits = limits
        self._size = limits.max_batch_size
        self._most = _CLOSED if self._closed else limits.max_queue_size
        delay_ns = round(limits.max_delay_ms * 1e6)
        # A batch of one has nobody to wait for.
        waits = delay_ns > 0 and limits.max_batch_size > 1
        self._patience = Patience(delay_ns, self._size, self._cost.predict) if waits else None
        self._turn = self._patient_turn if waits else self._greedy_turn
        particular = limits.priority_levels > 1 or limits.timeout_ms > 0
        self.submit = self._submit_particular if particular else self._submit
        self._timeout_ns = round(limits.timeout_ms * 1e6)
        kind = self._kind(waits=waits)
        if not isinstance(self._line, kind):
            line: Line = (
                LevelLine(limits.priority_levels, self._cost.beside)
                if kind is LevelLine
                else kind()
            )
            for member in self._line:
                line.put(member)
            self._line = line
        self._put = self._line.put

    def _kind(self, *, waits: bool) -> type[Line]:
        if self._limits.priority_levels > 1:
            return LevelLine
        return OneLine if self._one_shape and not waits else ShapeLine

    # -- in and out

    def _submit(self, member: Member) -> None:
        items = self.items + member.rows
        if items > self._most:
            self._check_room()
        if member.deadline_ns:
            self._watch(member)
        self.items = items
        member.waiting = True
        self._put(member)
        if self._asleep:
            self._asleep = False
            self._call_soon(self._turn)

    def _submit_particular(self, member: Member) -> None:
        """With levels, or a time-out for those who bring none."""
        levels = self._limits.priority_levels
        if member.priority > levels > 1:
            raise InvalidError(
                f"model '{self._name}' has priorities 1 (first) to {levels}, not {member.priority}",
                field="parameters.priority",
            )
        if self._timeout_ns and not member.deadline_ns:
            member.deadline_ns = member.received_ns + self._timeout_ns
        self._submit(member)

    def _check_room(self) -> None:
        """Refuse; only an empty queue takes a member that is larger than the queue."""
        if self._closed:
            _refuse_all_comers(self._name)
        if self.items:
            raise UnavailableError(
                f"model '{self._name}' has {self.items} items waiting and takes at most "
                f"{self._limits.max_queue_size}; try again later"
            )

    @property
    def busy(self) -> bool:
        """Whether somebody waits, or is being computed."""
        return bool(self.items or self._aboard)

    def cancel(self, member: Member) -> None:
        """Take a member out of the queue: nobody reads its answer. Quiet once it was taken."""
        if not member.waiting:
            return
        self._line.remove(member)
        member.waiting = False
        self.items -= member.rows
        if member.timer is not None:
            self._unwatch(member)
        if not self.items:
            self._silence()
            if self._closed:
                self._settle()

    async def drain(self, within: float) -> bool:
        """Refuse new members, answer those that wait, end the thread.

        Returns:
            False when `within` seconds were not enough: whoever still waited was refused, and
            the engine may still be in a call.
        """
        self._closed = True
        self._most = _CLOSED
        self._lull = None
        self._silence()  # nobody comes any more
        began = self._loop.time()
        if self.items or self._aboard:
            self._wake()
            try:
                await asyncio.wait_for(self._idle.wait(), within)
            except TimeoutError:
                self._refuse_all()
        ended = await self._beside.stop(max(0.1, within - (self._loop.time() - began)))
        if ended:
            self._let_go()
        return ended

    def _let_go(self) -> None:
        """Lie in no circle of references any more: what was unloaded is freed at once."""
        self._on_call = self._answer = self._turn = _nobody
        self.submit = partial(_refuse_all_comers, self._name)

    def _settle(self) -> None:
        if not self.items and not self._aboard:
            self._idle.set()

    def _refuse_all(self) -> None:
        for member in list(self._line):
            self.cancel(member)
            refuse(member, UnavailableError(f"model '{self._name}' was unloaded; try again"))

    # -- deadlines

    def _watch(self, member: Member) -> None:
        now = perf_counter_ns()
        left = member.deadline_ns - now
        if left <= 0:
            raise DeadlineError("the request's time-out was over before it could be queued")
        member.expected_ns = 0.0
        if self.items or self._aboard:  # an idle engine always tries: so it goes on learning
            self._foretell(member, now, left)
        member.timer = self._loop.call_later(left / 1e9, self._expire, member)
        self._timed += 1

    def _unwatch(self, member: Member) -> None:
        if member.timer is not None:
            member.timer.cancel()
            member.timer = None
            self._timed -= 1

    def _foretell(self, member: Member, now: int, left: int) -> None:
        """Refuse whoever would be answered too late, while there is time to go elsewhere."""
        items, rows, largest = self._line.ahead(member, self.items), member.rows, self._size
        outlook = self._outlook
        late = outlook.late(items, rows, largest, member.deadline_ns)
        if late is None:
            wait = outlook.wait(items, largest, self._aboard, now - self._since)
            together = max(rows, min(largest, items % largest + rows))
            if outlook.fits(wait, together, left):
                member.expected_ns = wait
                return
            late = outlook.refusal(self._name, items, rows, largest, member.deadline_ns, wait)
        raise late.with_traceback(None)  # else it would grow by every raise

    def _expire(self, member: Member) -> None:
        if member.waiting:
            self._outlook.saw(member.expected_ns, perf_counter_ns() - member.queued_ns)
            self.cancel(member)
            refuse(member, DeadlineError(_LATE))

    def _in_time(self, batch: list[Member]) -> list[Member]:
        """Refuse whose time ran out while the loop was too busy to say so; the others."""
        now = perf_counter_ns()
        kept = []
        first = next((member for member in batch if member.timer is not None), None)
        if first is not None:
            self._outlook.saw(first.expected_ns, now - first.queued_ns)
        for member in batch:
            self._unwatch(member)
            if 0 < member.deadline_ns <= now:
                refuse(member, DeadlineError(_LATE))
            else:
                kept.append(member)
        return kept

    # -- turns: one batch each; the rest waits for the next, so that the loop can read and write

    def _wake(self) -> None:
        if self._asleep:
            self._asleep = False
            self._call_soon(self._turn)

    def _greedy_turn(self) -> None:
        """Everything that waits goes; where it is less than last time, after one look more."""
        items = self.items
        if items < self._last:
            # Clients that were answered together ask again together, and not all have yet. Before
            # the next turn the loop reads what has come meanwhile, which takes microseconds.
            self._last = 0
            self._call_soon(self._turn)
        elif items:
            lull = self._lull
            if lull is not None and lull.lasts(items, self._size, perf_counter_ns()):
                self._call_soon(self._turn)
                return
            self._last = items
            batch, rows, cut = self._line.take(self._size, items)
            self._go(batch, rows, cut)
        else:
            self._asleep = True

    def _patient_turn(self) -> None:
        """Wait for company, as long as that is asked for and pays."""
        if self._patience is None or self._closed or not self.items:
            self._greedy_turn()
            return
        now = perf_counter_ns()
        decided = self._patience.decide(self._line, timed=self._timed > 0, now=now)
        if isinstance(decided, Go):
            self._silence()
            batch, rows, cut = self._line.take(self._size, self.items, decided.group)
            self._go(batch, rows, decided.cut if cut in decided.above else cut)
        else:
            self._asleep = True  # whoever comes wakes it to look again
            self._set_alarm(decided / 1e9)

    def _set_alarm(self, seconds: float) -> None:
        at = self._loop.time() + seconds
        if self._alarm is None or abs(at - self._alarm_at) > 1e-4:
            self._silence()
            self._alarm = self._loop.call_at(at, self._rung)
            self._alarm_at = at

    def _rung(self) -> None:
        self._alarm = None
        self._wake()

    def hold(self) -> bool:
        """Whether the queue slept; then nobody who comes wakes it, until `release` does.

        For who puts in several members that belong together, and lets them go in this very turn.
        """
        slept = self._asleep
        self._asleep = False
        return slept

    def release(self) -> None:
        """Take the turn of those who came since `hold`."""
        self._turn()

    def _silence(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _go(self, batch: list[Member], rows: int, cut: Cut) -> None:
        self.items -= rows
        for member in batch:
            member.waiting = False
        if self._timed:
            batch = self._in_time(batch)
            rows = sum([member.rows for member in batch])
        self._cut = cut
        if not batch:
            self._finish([])
        elif self._cost.inline(rows):
            self._finish(execute(self._session, batch, self._gather))
        else:
            self._since, self._aboard = perf_counter_ns(), rows
            self._beside.run(partial(execute, self._session, batch, self._gather), self._finish)

    def _finish(self, calls: list[Call]) -> None:
        cut = self._cut
        for call in calls:
            if cut is not _IDLE and call.cut is _IDLE:
                call.cut = cut
            if call.error is None:
                self._cost.learn(call.rows, call.inferred - call.started)
                self._answer(call)
            else:
                self._fail(call, call.error)
            self._on_call(call)
        if self._aboard:
            if self._lull is None and not self._closed:
                self._lull = Lull(self._cost.predict)
            if self._lull is not None:
                self._lull.ended(self._aboard, self.items)
            self._aboard = 0
        if self._patience is not None and calls:
            self._patience.seen(sum([len(call.members) for call in calls]), self._line)
        if self.items:
            self._call_soon(self._turn)
        else:
            self._asleep = True
            if self._closed:
                self._settle()

    def _fail(self, call: Call, error: ModelworksError) -> None:
        for member in call.members:
            refuse(member, error)


def _refuse_all_comers(name: str, _: Member | None = None) -> NoReturn:
    raise UnavailableError(f"model '{name}' is being unloaded; try again")


def _nobody(*_: object) -> None:
    """Called in the place of whoever was told of a model that is unloaded now."""
