"""A model in stages: several calls are on their way at once, each in another stage."""

import threading
import weakref
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from modelworks.core.errors import (
    UNLOADED,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.tensor import Signature, Tensors
from modelworks.ext.engines.agreement import conform
from modelworks.ext.engines.stages.local import Running
from modelworks.sandbox.relay import Buffer, Pool

_PATIENCE_S: Final = 60.0  # that a call waits for a way through; the batcher's never do


class _Way(NamedTuple):
    """What one call needs on its way: a stage reads one buffer and writes the other."""

    one: Buffer
    other: Buffer

    def rest(self) -> None:
        self.one.rest()
        self.other.rest()

    def close(self) -> None:
        self.one.close()
        self.other.close()


class StagesSession:
    """The stages of one model; see `core.seams.Session`, `Concurrent`, `Watchable`, `Elsewhere`.

    Args:
        running: the stages, in their order.
        signature: what callers send and get.
        lanes: calls on their way at once.
        pool: what their tensors may take.

    Attributes:
        lanes: `infer` may be called from so many threads at once.
    """

    apart = True

    def __init__(
        self, running: Sequence[Running], signature: Signature, lanes: int, pool: Pool
    ) -> None:
        self.signature = signature
        self.lanes = lanes
        self._running = tuple(running)
        self._own = Signature(running[0].signature.inputs, running[-1].signature.outputs)
        places = {spec.name: place for place, spec in enumerate(self._own.outputs)}
        self._order = [places[spec.name] for spec in signature.outputs]
        self._ways = _Ways(lanes, pool)
        self._news = _News(self._running)
        # A session that nobody holds any more must not leave processes behind.
        self._finish = weakref.finalize(self, _close, self._ways, self._running)

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run every stage; see `core.seams.Session.infer`. Other threads' calls run beside."""
        given = conform(inputs, self._own)
        way = self._ways.take()
        try:
            source, into = way
            source.put([given[spec.name] for spec in self._own.inputs])
            for number, stage in enumerate(self._running):
                try:
                    stage.run(source, into)
                except ModelworksError as error:
                    if isinstance(error, UnavailableError):
                        way.close()  # what was ended may write for a moment more: nobody reads it
                    raise _of_stage(error, number, len(self._running)) from error
                source, into = into, source
            outputs = source.read(self._own.outputs, own=True)
        finally:
            self._ways.give(way)
        return [outputs[place] for place in self._order]

    def watch(self, changed: Callable[[str], None]) -> None:
        """See `core.seams.Watchable.watch`."""
        self._news.watch(changed)

    def processes(self) -> tuple[int, ...]:
        """See `core.seams.Elsewhere.processes`; stages on other machines have none here."""
        return tuple(pid for stage in self._running for pid in stage.processes())

    def close(self) -> None:
        """End every stage; the memory goes with them."""
        self._news.stop()
        self._finish()


class _Ways:
    """The ways through, of which one call has one.

    Args:
        count: of them.
        pool: that their buffers are counted in.
    """

    def __init__(self, count: int, pool: Pool) -> None:
        self._free: SimpleQueue[_Way] = SimpleQueue()
        self._closed = threading.Event()
        for number in range(count):
            self._free.put(_Way(Buffer(2 * number, pool), Buffer(2 * number + 1, pool)))

    def take(self) -> _Way:
        if self._closed.is_set():
            raise UnavailableError(UNLOADED)
        try:
            return self._free.get(timeout=_PATIENCE_S)
        except Empty:
            raise UnavailableError(
                f"every way through the stages was taken for {_PATIENCE_S:g} s; try again later"
            ) from None

    def give(self, way: _Way) -> None:
        if self._closed.is_set():
            way.close()
            return
        way.rest()
        self._free.put(way)
        if self._closed.is_set():  # in between
            self.close()

    def close(self) -> None:
        self._closed.set()
        while True:
            try:
                self._free.get_nowait().close()
            except Empty:
                return


class _News:
    """Why the model does not answer, of what its stages say."""

    def __init__(self, running: Sequence[Running]) -> None:
        self._running = running
        self._lock = threading.Lock()
        self._whys: dict[int, str] = {}
        self._changed: Callable[[str], None] = _nobody

    def watch(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        for number, stage in enumerate(self._running):
            stage.watch(lambda why, number=number: self._heard(number, why))  # type: ignore[misc]

    def stop(self) -> None:
        self._changed = _nobody

    def _heard(self, number: int, why: str) -> None:
        with self._lock:
            before = bool(self._whys)
            if why:
                self._whys[number] = f"stage {number} of {len(self._running)}: {why}"
            else:
                self._whys.pop(number, None)
            now = next(iter(self._whys.values()), "")
        if now or before:
            self._changed(now)


def _of_stage(error: ModelworksError, number: int, count: int) -> ModelworksError:
    error.message = f"stage {number} of {count}: {error.message}"
    error.args = (error.message,)
    return error


def _close(ways: _Ways, running: Sequence[Running]) -> None:
    for stage in running:
        stage.close()
    ways.close()


def _nobody(_why: str) -> None:
    """Who is told where nobody asked to be."""
