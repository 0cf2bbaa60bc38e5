"""A batcher behind the table of sequences: a request gets the states of its sequence as inputs.

So states are gathered into a batch, and taken apart again, by what does that for all inputs, and
requests of different sequences share calls. Those of one sequence go one after another, in the
order in which they came. What a request would have changed is changed when it was computed, and not
otherwise; whoever waits behind one that was not computed is refused, for it was meant to come after
that. All of it runs on the loop's thread, but for `taken`. See docs/decisions/0056-sequences.md.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter_ns
from typing import Any, Final

from modelworks.core.errors import (
    ConflictError,
    DeadlineError,
    InvalidError,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.stateful import Sequences, Step
from modelworks.core.tensor import Tensors
from modelworks.serving.batcher import Ahead, Batcher, Member, deliver, refuse
from modelworks.serving.sequences import table
from modelworks.serving.sequences.numbers import ENDED, EXPIRED, LOST, STARTED, SequenceCounts
from modelworks.serving.sequences.states import States
from modelworks.serving.shapes import shape_of

_ID: Final = "parameters.sequence_id"
_LATE: Final = "the request's time-out was over before those of its sequence that came first"
_LEAST_S: Final = 0.01
_ENDING_S: Final = 5.0  # of a drain, for those who wait when their sequences may not go on
_UNLOADED: Final = "the model was unloaded, and its sequences with it: begin again"


class Turn(Member):
    """A request with the states of its sequence.

    Attributes:
        member: the request.
        step: what it is in its sequence.
        sequence: which one.
    """

    __slots__ = ("_owner", "member", "sequence_", "step")

    def __init__(
        self,
        owner: "Remembering",
        sequence: table.Sequence,
        member: Member,
        step: Step,
        inputs: Tensors,
    ) -> None:
        super().__init__(
            inputs, member.rows, shape_of(inputs), member.received_ns, member.deadline_ns
        )
        self.queued_ns = member.queued_ns
        self.member = member
        self.step = step
        self.sequence_ = sequence
        self._owner = owner

    @property
    def priority(self) -> int:
        """The request's own."""
        return self.member.priority

    @property
    def exchange(self) -> Any:
        """The request's, for whoever follows traces; None where it came by none."""
        return getattr(self.member, "exchange", None)

    def succeed(self, outputs: Sequence[Any]) -> None:
        """See `Member.succeed`."""
        self._owner.done(self, outputs)

    def fail(self, error: ModelworksError) -> None:
        """See `Member.fail`."""
        self._owner.broke(self, error)


class Remembering(Ahead):
    """The sequences of one loaded model.

    Args:
        inner: the batcher of the model, states included.
        limits: as declared.
        states: which tensors they are.
        counts: what is counted.
        name: of the model, for messages.
        batched: whether axis 0 is the batch.
    """

    def __init__(
        self,
        inner: Batcher | Ahead,
        limits: Sequences,
        states: States,
        counts: SequenceCounts,
        name: str,
        *,
        batched: bool,
    ) -> None:
        super().__init__(inner)
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._states = states
        self._counts = counts
        self._name = name
        self._batched = batched
        first = sum(array.nbytes for array in states.initial.values())
        self._table = table.Table(limits, first)
        self._turns: dict[Member, table.Sequence] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._elders: list[tuple[Remembering, Callable[[Member], None]]] = []
        self._heirs: list[Remembering] = []
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        """How many sequences are open."""
        return len(self._table)

    @property
    def busy(self) -> bool:
        """Whether somebody waits, or may ask again for what only this one knows."""
        return bool(len(self._table)) or self.inner.busy

    # -- versions that follow each other

    def follow_on(self, elder: "Remembering", adopt: Callable[[Member], None]) -> None:
        """Hand requests of sequences that `elder` has to it, until it has none.

        Args:
            elder: of the version that this one takes the place of; it is unloaded soon.
            adopt: makes a request the elder's.
        """
        if elder._states.public == self._states.public:  # noqa: SLF001 - of the same class
            elder._heirs.append(self)  # noqa: SLF001 - the same
            self._elders.append((elder, adopt))

    def let_go(self, key: int | str) -> None:
        """Forget a sequence that was begun anew where another version has the name."""
        sequence = self._table.get(key)
        if sequence is not None:
            sequence.anew = True
            self._next(sequence)

    # -- a batcher's face

    def submit(self, member: Member) -> None:
        """See `Batcher`."""
        step = member.sequence
        if step is None:
            raise InvalidError(
                f"model '{self._name}' remembers: say sequence_id (from 1) among the parameters of "
                "/v2/models/.../infer, and sequence_start with the first request of each sequence",
                field=_ID,
            )
        sequence = self._table.get(step.id)
        if sequence is None and not step.start:
            self._elsewhere(step, member)
            return
        member.decode()
        rows = max(map(len, member.inputs.values())) if self._batched else 1
        if rows != 1:
            raise InvalidError(
                f"a request of a sequence has one row, not {rows}: each row would be a "
                "sequence of its own",
                field="inputs[0].shape",
            )
        if sequence is None:
            if self._closed:
                raise UnavailableError(f"model '{self._name}' is being unloaded; try again")
            sequence = self._table.open(step.id, self._loop.time())
            try:
                self._compute(sequence, member, step)
            except ModelworksError:
                self._table.forget(sequence)
                raise
            for elder, _ in self._elders:
                elder.let_go(step.id)
            self._counts.add(STARTED)
            self._changed()
        elif sequence.busy:
            self._queue(sequence, member)
        else:
            self._compute(sequence, member, step)
            if step.start:
                self._counts.add(STARTED)
        self._turns[member] = sequence

    def cancel(self, member: Member) -> None:
        """See `Batcher.cancel`."""
        sequence = self._turns.get(member)
        if sequence is None or not member.waiting:
            return
        self._give_up(sequence, member)

    async def drain(self, within: float) -> bool:
        """See `Batcher.drain`; where another version takes over, sequences may end first."""
        self._closed = True
        began = self._loop.time()
        if self._heirs and len(self._table):
            most = max(within / 2, within - _ENDING_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), min(self._limits.drain_s, most))
        for sequence in self._table.all():
            self._refuse_line(sequence, UnavailableError(_UNLOADED), everybody=True)
        ended = await self.inner.drain(max(0.1, within - (self._loop.time() - began)))
        for sequence in self._table.all():
            self._forget(sequence, LOST)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for heir in self._heirs:  # what is unloaded is freed at once
            heir._elders = [pair for pair in heir._elders if pair[0] is not self]  # noqa: SLF001 - of the same class
        self._heirs = []
        return ended

    # -- what a turn tells

    def done(self, turn: Turn, outputs: Sequence[Any]) -> None:
        """A request was computed: remember what it gave, answer, go on with the next."""
        sequence, member, step = turn.sequence_, turn.member, turn.step
        states, shown = self._states.split(outputs)
        self._over(sequence, member)
        known = self._table.get(sequence.id) is sequence  # not, where the model is gone by now
        fits = step.end or not known or self._table.keep(sequence, states)
        if step.end:
            self._end(sequence, ENDED)
        elif not fits:
            self._end(sequence, LOST)
        elif known:
            self._table.touch(sequence, self._loop.time())  # idle from its answer on
        if fits:
            deliver(member, shown)
        else:
            refuse(
                member,
                UnavailableError(
                    f"the states of all sequences would take more than {self._limits.max_bytes} "
                    f"bytes; sequence {_shown(sequence.id)} was forgotten: begin it again later",
                    field=_ID,
                ),
            )
        self._next(sequence)

    def broke(self, turn: Turn, error: ModelworksError) -> None:
        """A request was not computed: its sequence is as before, or not begun."""
        sequence, member = turn.sequence_, turn.member
        self._over(sequence, member)
        if turn.step.start:
            self._end(sequence, LOST)
        refuse(member, error)
        self._refuse_line(sequence, self._behind(sequence))
        self._next(sequence)

    # -- within

    def _elsewhere(self, step: Step, member: Member) -> None:
        """A sequence that is not open here: the version before may have it.

        Raises:
            InvalidError: nobody has it.
        """
        for elder, adopt in self._elders:
            kept = elder._table.get(step.id)  # noqa: SLF001 - of the same class
            if kept is not None and not kept.anew:
                adopt(member)
                elder.submit(member)
                return
        raise InvalidError(
            f"sequence {_shown(step.id)} of model '{self._name}' is not open here: it was not "
            f"begun, has ended, was idle for over {self._limits.idle_s:g} s, or the server or the "
            "version was replaced; begin again with sequence_start: true",
            field=_ID,
        )

    def _compute(self, sequence: table.Sequence, member: Member, step: Step) -> None:
        """Hand a request to the batcher, with the states as they are now."""
        states = self._states.initial if step.start else sequence.states
        if states is None:
            raise ConflictError(
                f"sequence {_shown(sequence.id)} was not begun: its first request failed; begin "
                "again with sequence_start: true",
                field=_ID,
            )
        turn = Turn(self, sequence, member, step, {**member.inputs, **states})
        self.inner.submit(turn)
        member.waiting = True
        sequence.turn = turn
        self._table.touch(sequence, self._loop.time())

    def _queue(self, sequence: table.Sequence, member: Member) -> None:
        """Wait for those of the same sequence that came first."""
        limits = self.inner.limits
        if len(self._turns) >= limits.max_queue_size:
            raise UnavailableError(
                f"model '{self._name}' has {len(self._turns)} requests of sequences waiting and "
                f"takes at most {limits.max_queue_size}; try again later"
            )
        if limits.timeout_ms and not member.deadline_ns:
            member.deadline_ns = member.received_ns + round(limits.timeout_ms * 1e6)
        if member.deadline_ns:
            left = member.deadline_ns - perf_counter_ns()
            if left <= 0:
                raise DeadlineError("the request's time-out was over before it could be queued")
            member.timer = self._loop.call_later(left / 1e9, self._expire, sequence, member)
        member.waiting = True
        sequence.line.append(member)

    def _expire(self, sequence: table.Sequence, member: Member) -> None:
        member.timer = None
        if self._turns.get(member) is sequence and member in sequence.line:
            self._give_up(sequence, member)
            refuse(member, DeadlineError(_LATE))

    def _give_up(self, sequence: table.Sequence, member: Member) -> None:
        """A request is not wanted any more; neither is what was to come after it."""
        turn = sequence.turn
        if turn is not None and turn.member is member:
            if not turn.waiting:
                return  # it is being computed
            self.inner.cancel(turn)
            self._over(sequence, member)
            if turn.step.start:
                self._end(sequence, LOST)
            self._refuse_line(sequence, self._behind(sequence))
            self._next(sequence)
            return
        place = list(sequence.line).index(member)
        later = list(sequence.line)[place + 1 :]
        while len(sequence.line) > place:
            sequence.line.pop()
        self._over(sequence, member, ours=False)
        sequence.line.extend(self._until_start(later, self._behind(sequence)))

    def _behind(self, sequence: table.Sequence) -> ConflictError:
        return ConflictError(
            f"a request of sequence {_shown(sequence.id)} before this one was not computed, so "
            "this one was not either: send both again",
            field=_ID,
        )

    def _refuse_line(
        self, sequence: table.Sequence, error: ModelworksError, *, everybody: bool = False
    ) -> None:
        """Refuse who waits for a sequence, up to a request that begins it anew."""
        line = list(sequence.line)
        sequence.line.clear()
        sequence.line.extend(self._until_start(line, error, everybody=everybody))

    def _until_start(
        self, line: list[Member], error: ModelworksError, *, everybody: bool = False
    ) -> list[Member]:
        """Refuse those before the first that begins the sequence anew; it and those behind it."""
        for place, member in enumerate(line):
            step = member.sequence
            if step is not None and step.start and not everybody:
                return line[place:]
            self._over(None, member, ours=False)
            refuse(member, error)
        return []

    def _over(self, sequence: table.Sequence | None, member: Member, *, ours: bool = True) -> None:
        """A request waits no more."""
        self._turns.pop(member, None)
        member.waiting = False
        if member.timer is not None:
            member.timer.cancel()
            member.timer = None
        if ours and sequence is not None:
            sequence.turn = None

    def _next(self, sequence: table.Sequence) -> None:
        """Compute the next request of a sequence, if there is one that can be."""
        while sequence.line and sequence.turn is None:
            member = sequence.line.popleft()
            step = member.sequence
            if step is None:
                continue
            try:
                sequence = self._again(sequence, step)
                if member.timer is not None:
                    member.timer.cancel()
                    member.timer = None
                self._compute(sequence, member, step)
                self._turns[member] = sequence
                if step.start:
                    self._counts.add(STARTED)
            except ModelworksError as error:
                self._over(sequence, member)
                if step.start:
                    self._end(sequence, LOST)
                refuse(member, error)
                self._refuse_line(sequence, self._behind(sequence))
        if sequence.anew and not sequence.busy:
            self._end(sequence, ENDED)
        self._changed()

    def _again(self, sequence: table.Sequence, step: Step) -> table.Sequence:
        """The sequence, opened anew where the request before was its last."""
        if self._table.get(sequence.id) is not None:
            return sequence
        if not step.start:
            raise InvalidError(
                f"sequence {_shown(sequence.id)} had ended before this request: begin again with "
                "sequence_start: true",
                field=_ID,
            )
        fresh = self._table.open(sequence.id, self._loop.time())
        fresh.line, fresh.anew = sequence.line, sequence.anew
        return fresh

    def _end(self, sequence: table.Sequence, why: int) -> None:
        """Nothing is remembered of it any more."""
        if self._table.get(sequence.id) is sequence:
            self._table.forget(sequence)
            self._counts.add(why)

    def _forget(self, sequence: table.Sequence, why: int) -> None:
        self._end(sequence, why)
        self._changed()

    def _changed(self) -> None:
        """Tell the gauges, and look again when the oldest may be idle."""
        self._counts.holds(len(self._table), self._table.bytes)
        if not len(self._table):
            self._empty.set()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return
        self._empty.clear()
        if self._timer is None:
            left = self._table.next_look(self._loop.time()) or 0.0
            self._timer = self._loop.call_later(max(_LEAST_S, left), self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for sequence in self._table.idle(now):
            self._end(sequence, EXPIRED)
        for sequence in self._table.all():
            if sequence.used + self._limits.idle_s > now:
                break
            self._table.touch(sequence, now)  # somebody waits for it
        self._changed()


def taken(gather: Callable[[list[Member]], Tensors], members: list[Member]) -> Tensors:
    """Gather a batch, after which its requests cannot leave. May run on the engine's thread."""
    for turn in members:
        if type(turn) is Turn:
            turn.member.waiting = False
    return gather(members)


def _shown(key: int | str) -> str:
    return str(key) if isinstance(key, int) else repr(key[:40])
