"""One model inside somebody else's program: callers' threads in front, a serving loop behind.

The loop runs on a thread of its own and is the model server's: its model table loads and swaps,
its batcher joins what the callers ask at the same time. Callers only put members into the queue.
"""

import asyncio
import copy
import logging
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Coroutine, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from time import monotonic, perf_counter_ns
from typing import Any, Final, TypeVar

from modelworks.core.errors import CrashedError, DeadlineError, ModelworksError, UnavailableError
from modelworks.core.served import ServedList, ServedModel
from modelworks.core.tensor import Tensors
from modelworks.serving import statistics
from modelworks.serving.batcher import Member
from modelworks.serving.block import Block
from modelworks.serving.infer import outcome_of
from modelworks.serving.live import Live
from modelworks.serving.models import ModelTable
from modelworks.serving.statistics import Numbers

_log = logging.getLogger("modelworks.serving")
R = TypeVar("R")
_START_S: Final = 30.0
_APPLY_S: Final = 600.0  # longer than the table's own limits of loading and draining
_LOOK_S: Final = 1.0  # how often a waiting caller looks whether the loop is still there


class MovedError(UnavailableError):
    """The model was replaced between reading the input and queueing it: read it again."""


class _Called(Member):
    """A member whose caller waits outside the loop."""

    __slots__ = ("live",)

    def __init__(self, live: Live, inputs: Tensors, rows: int) -> None:
        super().__init__(
            inputs,
            rows if live.batched else 1,
            None if live.one_shape else live.shape_of(inputs),
            perf_counter_ns(),
        )
        self.live = live

    def fail(self, error: ModelworksError) -> None:
        """See `Member.fail`. Members of one batch share the error, callers must not."""
        if not isinstance(error, MovedError):
            taken = perf_counter_ns() - self.received_ns
            self.live.recorder.ended(outcome_of(error), taken)
        self._hand(None, copy.copy(error))

    def succeed(self, outputs: Sequence[Any]) -> None:
        """See `Member.succeed`. The caller keeps them; the engine may use its own again."""
        self._hand([array.copy() for array in outputs], None)

    @abstractmethod
    def _hand(self, outputs: Sequence[Any] | None, error: ModelworksError | None) -> None:
        """Wake the caller."""


class _Waiting(_Called):
    """Of a thread: a lock is the cheapest thing to wait on."""

    __slots__ = ("_done", "error", "outputs")

    def __init__(self, live: Live, inputs: Tensors, rows: int) -> None:
        super().__init__(live, inputs, rows)
        self.outputs: Sequence[Any] = ()
        self.error: ModelworksError | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def _hand(self, outputs: Sequence[Any] | None, error: ModelworksError | None) -> None:
        self.outputs, self.error = outputs or (), error
        self._done.release()

    def wait(self, seconds: float) -> bool:
        """Whether the answer came within `seconds`."""
        return self._done.acquire(timeout=max(0.0, seconds))


class _Awaited(_Called):
    """Of a coroutine on the caller's own loop."""

    __slots__ = ("_loop", "future")

    def __init__(self, live: Live, inputs: Tensors, rows: int) -> None:
        super().__init__(live, inputs, rows)
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Sequence[Any]] = self._loop.create_future()

    def _hand(self, outputs: Sequence[Any] | None, error: ModelworksError | None) -> None:
        with suppress(RuntimeError):  # the caller's loop closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, outputs or (), error)

    def _settle(self, outputs: Sequence[Any], error: ModelworksError | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(outputs)
        else:
            self.future.set_exception(error)


class Front:
    """A loop thread that serves versions of one model; every method may be called from any thread.

    Args:
        name: of the model.
        threads: of the engine.
        drain_s: seconds that an end waits for calls under way.
    """

    def __init__(self, name: str, threads: int = 1, drain_s: float = 30.0) -> None:
        self._name = name
        self._drain_s = drain_s
        self._block = Block()
        self._table = ModelTable(self._block, threads, self._changed)
        self._live: Live | None = None
        self._why = ModelworksError(f"model '{name}' is not loaded")
        self._generation = 0
        self._incoming: deque[_Called] = deque()
        self._woken = False
        self._closing = False  # nothing new is taken
        self._ended = False  # nobody will be answered any more
        self._started = threading.Event()
        self._over: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"model-{name}", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_S):
            raise CrashedError(f"the thread of model '{name}' did not start within {_START_S:g} s")

    # -- what changes the model

    def apply(self, model: ServedModel) -> str:
        """Serve this version in the place of the one before it, which finishes what it has.

        Returns:
            Empty, or why the one before it (if any) goes on answering.
        """
        self._generation += 1
        self._on_loop(self._table.apply(ServedList(self._generation, (model,))))
        return self._refusal(model)

    def load_again(self, model: ServedModel) -> None:
        """Try once more to load what could not be loaded.

        Raises:
            ModelworksError: why not.
        """
        self._on_loop(self._table.load(model.name))

    def close(self) -> None:
        """Answer who waits, give the memory back, end the thread. Twice is quiet."""
        loop, over = self._loop, self._over
        self._closing = True
        if loop is None or over is None:
            return
        with suppress(RuntimeError):  # it is closed already
            loop.call_soon_threadsafe(over.set)
        if self._thread is not threading.current_thread():
            self._thread.join(self._drain_s + _LOOK_S)

    # -- what callers ask

    @property
    def live(self) -> Live:
        """The version that answers now.

        Raises:
            UnavailableError: there is none, or its process is being started again.
        """
        live = self._live
        if self._closing:
            raise self._gone()
        if live is None:
            raise UnavailableError(self._why.message)
        return live

    def call(self, live: Live, inputs: Tensors, rows: int, seconds: float) -> Sequence[Any]:
        """Outputs for one caller, in the order of the signature.

        Args:
            live: whose signature the inputs were read by.
            inputs: input name -> array.
            rows: length of the batch axis.
            seconds: how long to wait.

        Raises:
            MovedError: another version serves now.
            DeadlineError: no answer in time.
            UnavailableError: the queue is full, or the model was closed.
        """
        member = _Waiting(live, inputs, rows)
        self._queue(member)
        end = monotonic() + seconds
        while not member.wait(min(_LOOK_S, end - monotonic())):
            if self._ended:
                raise self._gone()
            if monotonic() >= end:
                self._leave(member)
                raise _late(live, seconds)
        if member.error is not None:
            raise member.error
        return member.outputs

    async def acall(self, live: Live, inputs: Tensors, rows: int, seconds: float) -> Sequence[Any]:
        """`call` for a coroutine: its loop is not blocked."""
        member = _Awaited(live, inputs, rows)
        self._queue(member)
        try:
            await self._wait(member, monotonic() + seconds)
        except BaseException:
            self._leave(member)
            raise
        if not member.future.done():
            self._leave(member)
            raise _late(live, seconds)
        return member.future.result()

    async def _wait(self, member: _Awaited, end: float) -> None:
        while not member.future.done() and (left := end - monotonic()) > 0:
            await asyncio.wait((member.future,), timeout=min(_LOOK_S, left))
            if self._ended and not member.future.done():
                raise self._gone()

    def numbers(self) -> list[tuple[str, Numbers]]:
        """Version -> what it has counted, for every version that was ever loaded."""
        found = sorted(self._block.models().items())
        return [(version, statistics.read(self._block, at)) for (_, version), at in found]

    # -- on the loop

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:  # noqa: BLE001 - said in the log, and to whoever calls
            _log.exception("the thread of model '%s' ended", self._name)
        finally:
            self._closing = self._ended = True

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._started.set()
        await self._over.wait()
        await self._table.close(self._drain_s)
        self._live = None
        self._take()  # who came while it closed is told

    def _changed(self) -> None:
        try:
            self._live = self._table.resolve(self._name)
        except ModelworksError as error:
            self._live, self._why = None, error

    def _take(self) -> None:
        """Put what came since the last time into the queue: one waking for many callers."""
        self._woken = False
        while self._incoming:
            self._submit(self._incoming.popleft())

    def _submit(self, member: _Called) -> None:
        if member.live is not self._live:
            member.fail(MovedError(f"model '{self._name}' was replaced; try again"))
            return
        try:
            member.live.batcher.submit(member)
        except ModelworksError as error:
            member.fail(error.with_traceback(None))  # it may be kept, and shall keep nothing

    # -- to the loop

    def _queue(self, member: _Called) -> None:
        if member.live.checks is not None:
            member.live.checks.check(member.inputs)
        if self._closing:
            raise self._gone()
        self._incoming.append(member)
        if self._woken:  # `_take` has not begun yet, and will find this one too
            return
        self._woken = True
        try:
            self._running().call_soon_threadsafe(self._take)
        except RuntimeError as error:
            raise self._gone() from error

    def _leave(self, member: _Called) -> None:
        """Nobody waits for this member any more: it need not be computed."""
        with suppress(RuntimeError):
            self._running().call_soon_threadsafe(member.live.batcher.cancel, member)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise UnavailableError(f"model '{self._name}' is not started")
        return self._loop

    def _gone(self) -> UnavailableError:
        return UnavailableError(f"model '{self._name}' was closed")

    def _on_loop(self, work: Coroutine[Any, Any, R]) -> R:
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._running())
        except RuntimeError as error:
            work.close()
            raise self._gone() from error
        try:
            return future.result(_APPLY_S)
        except CancelledError as error:
            raise self._gone() from error
        except TimeoutError as error:
            future.cancel()
            raise UnavailableError(
                f"model '{self._name}' was not replaced within {_APPLY_S:g} s"
            ) from error

    def _refusal(self, model: ServedModel) -> str:
        entry = self._table.entry(model.name, model.version)
        if entry.live is not None and entry.live.served == model:
            return ""
        return entry.reason or f"it is {entry.state.lower()}"


def _late(live: Live, seconds: float) -> DeadlineError:
    return DeadlineError(
        f"model '{live.name}' did not answer within {seconds:g} s", field="timeout"
    )
