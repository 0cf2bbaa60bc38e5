"""One model that answers: its session, its queue, its counters."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from modelworks.core.seams import Concurrent, Elsewhere, Generating, Reusable, Session, Watchable
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Signature, Tensors
from modelworks.plugins.opening import SteppedSession
from modelworks.protocol.checks import checks_of
from modelworks.protocol.oip.answers import AnswerWriter
from modelworks.protocol.oip.templates import RequestReader
from modelworks.protocol.rows import PlainRows, decode_rows
from modelworks.serving.admission import (
    CheckedReader,
    CheckedRows,
    EagerReader,
    PlainReader,
    Reader,
)
from modelworks.serving.batcher import Ahead, Batcher, Call, Lanes, Member
from modelworks.serving.cache.flights import Cached, aboard
from modelworks.serving.cache.numbers import CacheCounts
from modelworks.serving.cache.redis import Redis
from modelworks.serving.cache.shared import Shared
from modelworks.serving.counting import Counting
from modelworks.serving.forecast import Setting
from modelworks.serving.generating import Generations
from modelworks.serving.growing import Growing, Growth
from modelworks.serving.learning import Learning
from modelworks.serving.loading import Loaded
from modelworks.serving.sequences.numbers import SequenceCounts
from modelworks.serving.sequences.remembering import Remembering, taken
from modelworks.serving.sequences.states import States
from modelworks.serving.shapes import ShapeOf, TextLengths, shape_of, text_inputs
from modelworks.serving.statistics import Cell, Recorder
from modelworks.serving.tap import KEPT, Tap
from modelworks.serving.traces import Traces

_log = logging.getLogger("modelworks.serving")
_LAPS: Final = 4096
"""That are kept: those of a batch that failed and whose members all ran alone."""


class Live:
    """A loaded model on the loop that made it.

    Attributes:
        name: of the model.
        version: of this member.
        signature: what it takes and gives.
        served: the line of the served list it was loaded from.
        batched: requests share engine calls.
        unbatched: why they do not; empty where they do.
        loaded: its session, and what was measured at load.
        growing: tries larger batches than were measured at load; None = there is no need.
        learning: tunes its batches to a latency goal; None = it has none.
        outputs: how many there are.
        one_shape: no input has a dynamic axis beside the batch: all requests fit together.
        shape_of: where that is not so: inputs -> what is equal for those who fit together.
        in_graph: a graph asks it.
        unpadded: why requests of different lengths do not, where they were meant to.
        batcher: the queue in front of the session, behind its cache or its sequences.
        generations: that are open; None = it does not generate.
        recorder: its counters in this worker's slot.
        checks: the rules of its steps; None = it has none.
        reader: decodes its requests, and holds them against the rules.
        rows: the same for plain rows.
        writer: writes the plain answers of a batch.
        tap: notes its requests for the records; None = it has none.
        traces: is told of its engine calls; None = nobody exports them.
        messages: reads and writes what comes by gRPC; None = nothing has come yet.
    """

    __slots__ = (
        *(
            "_counting",
            "_session",
            "batched",
            "batcher",
            "recorder",
            "served",
            "signature",
            "unbatched",
        ),
        *(
            "batching",
            "checks",
            "generations",
            "growing",
            "in_graph",
            "learning",
            "loaded",
            "messages",
            "name",
            "one_shape",
            "reader",
            "outputs",
            "rows",
            "shape_of",
            "tap",
            "traces",
            "unpadded",
            "version",
            "writer",
        ),
    )

    def __init__(
        self,
        served: ServedModel,
        loaded: Loaded,
        recorder: Recorder,
        answer: Callable[["Live", Call], None],
        gather: Callable[[list[Member]], Tensors],
    ) -> None:
        self.name = served.name
        self.tap: Tap | None = None
        self.traces: Traces | None = None
        self.messages: object = None
        self.in_graph = False
        self.version = served.version
        self.served = served
        states = loaded.states
        self.signature: Signature = states.public if states else loaded.session.signature
        self.unbatched = loaded.unbatched
        self.batched = not loaded.unbatched
        texts = text_inputs(self.signature) if self.batched else ()
        free = any(None in spec.shape[1:] for spec in self.signature.inputs)
        self.one_shape = not free and not texts and states is None
        self.shape_of: ShapeOf = TextLengths(texts).shape_of if texts else shape_of
        self.unpadded = loaded.unpadded
        answering = partial(answer, self)
        if loaded.padder is not None:
            self.shape_of = loaded.padder.shape_of
            gather = loaded.padder.gather
            answering = partial(loaded.padder.answer, plain=answering)
            answering = partial(self._answer_padded, answering)
        self.outputs = len(self.signature.outputs)
        self.batching = loaded.batching
        self.loaded = loaded
        self.recorder = recorder
        session = loaded.session
        # A batch is answered before the next one runs.
        reusing = session.reusing() if isinstance(session, Reusable) else session
        self._session: Session = reusing
        self._counting = Counting(recorder)
        label = f"{served.name}:{served.version}"
        self.checks = checks_of(self.signature)
        self._read_by(loaded)
        self.writer = AnswerWriter(served.name, served.version, self.signature)
        self.batcher = self._front(label, answering, gather)
        self.generations = (
            Generations(label, session, recorder, served.batching)
            if isinstance(session, Generating)
            else None
        )
        self._limit(Setting(loaded.batching.max_batch_size, loaded.batching.max_delay_ms))
        self.learning = self._learn(label) if served.batching.latency_goal_ms else None
        grows = self.learning is None and self.batched and loaded.curve.late
        self.growing = self._grow(label) if grows else None

    def _read_by(self, loaded: Loaded) -> None:
        """Choose what decodes its requests."""
        reader = RequestReader(self.signature)
        # Only where all requests fit together can they be decoded as late as in their batch.
        late = self.one_shape and self.checks is None
        self.reader: Reader = reader if late else EagerReader(reader)
        if loaded.states is not None:
            self.reader = PlainReader(self.signature)
        self.rows: Callable[[bytes], PlainRows] = partial(decode_rows, signature=self.signature)
        if self.checks is not None:
            self.reader = CheckedReader(self.reader, self.checks)
            self.rows = CheckedRows(self.rows, self.checks)

    def _front(
        self,
        label: str,
        answer: Callable[[Call], None],
        gather: Callable[[list[Member]], Tensors],
    ) -> Batcher | Ahead:
        """What requests wait in, behind its cache or its sequences."""
        states = self.loaded.states
        if states is not None:
            inner = self._queue(label, answer, partial(taken, gather))
            return self._remembering(inner, states)
        if self.served.cache is None or self.loaded.uncached:
            return self._queue(label, answer, gather)
        return self._cached(self._queue(label, answer, partial(aboard, gather)))

    def _queue(
        self,
        label: str,
        answer: Callable[[Call], None],
        gather: Callable[[list[Member]], Tensors],
    ) -> Batcher | Ahead:
        """What requests wait in."""
        session = self._session
        lanes = session.lanes if isinstance(session, Concurrent) else 1
        kind = Batcher if lanes == 1 else partial(Lanes, lanes=lanes)
        return kind(
            label,
            session,
            self.loaded.batching,
            self.loaded.cost,
            self._called,
            answer,
            gather,
            one_shape=self.one_shape or not self.batched,
        )

    def _cached(self, inner: Batcher | Ahead) -> Cached:
        """The cache that the list asks for."""
        policy = self.served.cache
        assert policy is not None  # noqa: S101 - the caller looked
        counts = CacheCounts(self.recorder.cells)
        shared = None
        if policy.shared:
            redis = Redis(policy.backend, policy.timeout_ms / 1000, counts.failed)
            shared = Shared(redis, self.served, self.signature, policy.ttl_s, counts)
        names = [spec.name for spec in self.signature.inputs]
        return Cached(inner, policy, names, counts, self.recorder.answered, self._as_kept, shared)

    def _remembering(self, inner: Batcher | Ahead, states: States) -> Remembering:
        """The sequences that the list asks for."""
        limits = self.served.sequences
        assert limits is not None  # noqa: S101 - the caller looked
        counts = SequenceCounts(self.recorder.cells)
        rowed = self.loaded.session.signature.batch_axis  # even where requests share no call
        return Remembering(inner, limits, states, counts, self.name, batched=rowed)

    @property
    def sequences(self) -> int:
        """How many are open."""
        return len(self.batcher) if isinstance(self.batcher, Remembering) else 0

    def lead(self, heir: "Live | None") -> None:
        """Go on for the sequences that are open here, while another version has the name."""
        if heir is not None and heir.generations is not None and self.generations is not None:
            same = (heir.name, heir.version) == (self.name, self.version)  # and the same cells
            heir.generations.counts.inherit(len(self.generations) if same else 0)
        mine = self.batcher
        if heir is not None and self.sequences and isinstance(mine, Remembering):
            theirs = heir.batcher
            if isinstance(theirs, Remembering):
                theirs.follow_on(mine, self._adopt)

    def _adopt(self, member: Member) -> None:
        """Answer a request in this version's name."""
        if hasattr(member, "live"):
            member.live = self

    def _as_kept(self, answer: Callable[[Any], None]) -> None:
        """Have an answer given that no call of the engine was made for."""
        if self.tap is not None:
            self.tap.within(answer, KEPT)
        else:
            answer(None)

    def _grow(self, label: str) -> Growing:
        size, delay = self.batching.max_batch_size, self.batching.max_delay_ms
        growth = Growth(size, self.served.batching.max_batch_size)
        return Growing(label, growth, delay, self.recorder.read, self._limit)

    def _learn(self, label: str) -> Learning | None:
        limits = self.served.batching if self.batched else self.batching
        loaded = self.loaded
        return Learning(
            name=label,
            limits=limits,
            curve=loaded.curve,
            sized=loaded.batching.max_batch_size,
            read=self.recorder.read,
            apply=self._limit,
        )

    def _limit(self, setting: Setting) -> None:
        self.batcher.adjust(setting.max_batch_size, setting.max_delay_ms)
        self.recorder.limits(setting.max_batch_size, setting.max_delay_ms)

    def watch(self, changed: Callable[[str], None]) -> None:
        """Be told on the loop why the model cannot answer for now, or "" when it can again."""
        loop = asyncio.get_running_loop()

        def stirred(why: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop closed: nobody is left to tell
                loop.call_soon_threadsafe(changed, why)

        if isinstance(self._session, Watchable):
            self._session.watch(stirred)

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer, or may come back to a sequence that is open."""
        return self.batcher.busy or bool(self.generations)

    @property
    def waited_for(self) -> bool:
        """Whether somebody waits for an answer now."""
        queue = self.batcher
        if isinstance(queue, Remembering):
            queue = queue.inner
        return queue.busy or bool(self.generations)

    @property
    def used(self) -> float:
        """When it, or the version's last copy here, answered last; Unix seconds."""
        return self.recorder.cells[Cell.LAST_MS] / 1000

    def processes(self) -> tuple[int, ...]:
        """Ids of the processes that the model lives in, beside this one."""
        return self._session.processes() if isinstance(self._session, Elsewhere) else ()

    async def close(self, within: float) -> None:
        """Answer who waits, then give the memory back; `within` seconds are the limit."""
        for tuning in (self.learning, self.growing):
            if tuning is not None:
                tuning.stop()
        self.learning = self.growing = None
        try:
            await self._end(within)
        finally:
            self.recorder.settle()

    async def _end(self, within: float) -> None:
        if self.generations is not None and not await self.generations.drain(within):
            _log.warning("%s %s: a generation cannot be stopped", self.name, self.version)
        if await self.batcher.drain(within):
            await asyncio.to_thread(self._session.close)
            return
        _log.warning("%s %s: a call outlived its deadline", self.name, self.version)
        if isinstance(self._session, Watchable):  # it runs elsewhere, and is ended with its process
            await asyncio.to_thread(self._session.close)

    def follow(self, traces: Traces) -> None:
        """Tell it of every engine call from now on; twice is quiet."""
        if self.traces is not None:
            return
        self.traces = traces
        if isinstance(self._session, SteppedSession):
            self._session.laps = deque(maxlen=_LAPS)
        self.batcher.follow(partial(traces.follow, self._session))

    def flush_to(self, told: Callable[[Call], None]) -> None:
        """Tell a graph's drive when a call's members were all answered; twice is quiet."""
        if not self.in_graph:
            self.in_graph = True
            self.batcher.follow(told)

    def _answer_padded(self, answer: Callable[[Call], None], call: Call) -> None:
        if self.tap is not None:
            self.tap.within(answer, call)
        else:
            answer(call)

    def _called(self, call: Call) -> None:
        self.recorder.call(call)
        if not self._counting.due:
            self._counting.begin()
        self.recorder.waiting(self.batcher.items)
