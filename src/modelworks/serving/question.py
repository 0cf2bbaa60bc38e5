"""What an explanation asks a model: rows that run when nobody else wants it."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from threading import Event
from time import monotonic, perf_counter_ns
from typing import Any, Final

from modelworks.core.errors import (
    DeadlineError,
    ModelworksError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.tensor import Tensors
from modelworks.serving.batcher import Member
from modelworks.serving.live import Live

CALL_NS: Final = 2_000_000
"""What one call may take: a prediction that comes meanwhile waits no longer."""
_AGAIN_S: Final = 0.001
_GRACE_S: Final = 1.0


class Question(Member):
    """Rows of an explanation. Nobody asks with the same ones again: its answers are not kept."""

    __slots__ = ("_future",)
    keeps = False

    def __init__(self, live: Live, inputs: Tensors, rows: int, future: "Future[list[Any]]") -> None:
        super().__init__(
            inputs,
            rows if live.batched else 1,
            None if live.one_shape else live.shape_of(inputs),
            perf_counter_ns(),
        )
        self._future = future

    def succeed(self, outputs: Sequence[Any]) -> None:
        """See `Member.succeed`; the engine may use its own arrays again."""
        self._future.set_result([array.copy() for array in outputs])

    def fail(self, error: ModelworksError) -> None:
        """See `Member.fail`."""
        self._future.set_exception(error)


class Asking:
    """Asks a model from another thread, behind everybody else.

    Args:
        live: the model.
        loop: that it runs on.
        seconds: for all questions together.
    """

    def __init__(self, live: Live, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._live = live
        self._loop = loop
        self._end = monotonic() + seconds
        self._left = Event()

    def leave(self) -> None:
        """Nobody wants the answer any more."""
        self._left.set()

    def ask(self, inputs: Tensors, rows: int) -> Mapping[str, Any]:
        """Outputs by name; called from any thread but the loop's.

        Raises:
            DeadlineError: the time was over.
            ModelworksError: the model refuses or fails.
        """
        names = [spec.name for spec in self._live.signature.outputs]
        step = self._rows()
        parts = []
        for at in range(0, rows, step):
            part = {name: array[at : at + step] for name, array in inputs.items()}
            parts.append(self._one(part, min(step, rows - at)))
        return {name: _joined([part[i] for part in parts]) for i, name in enumerate(names)}

    def _rows(self) -> int:
        """As many rows as one short call takes."""
        live = self._live
        if not live.batched:
            return 1
        most, rows = live.batching.max_batch_size, 1
        while 2 * rows <= most and live.loaded.cost.predict(2 * rows) <= CALL_NS:
            rows *= 2
        return rows

    def _one(self, inputs: Tensors, rows: int) -> list[Any]:
        future: Future[list[Any]] = Future()
        question = Question(self._live, inputs, rows, future)
        try:
            self._loop.call_soon_threadsafe(self._offer, question, future)
        except RuntimeError as error:
            raise UnavailableError("the server is ending") from error
        try:
            return future.result(max(0.0, self._end - monotonic()) + _GRACE_S)
        except FutureTimeoutError as error:
            raise DeadlineError("the explanation took longer than its time-out") from error

    def _offer(self, question: Question, future: "Future[list[Any]]") -> None:
        """On the loop: now, if the model is idle, else a little later."""
        if self._left.is_set() or monotonic() >= self._end:
            why = "the explanation took longer than its time-out; the model may be busy"
            future.set_exception(DeadlineError(why))
        elif self._live.waited_for:
            self._loop.call_later(_AGAIN_S, self._offer, question, future)
        else:
            try:
                self._live.batcher.submit(question)
            except ModelworksError as error:
                future.set_exception(error)


def _joined(parts: Sequence[Any]) -> Any:
    import numpy as np  # noqa: PLC0415 - loaded long ago, where there is a model

    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise UnsupportedError("the model's outputs have no shape of their own")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
