"""Keeps one model's process alive: notices its end, starts it again, says what is the matter.

A spare process stands ready behind the same walls, with the libraries imported that the first one
had imported and without the model: it takes over in the time that loading the model takes.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from modelworks.core.errors import UNLOADED, ModelworksError, UnavailableError
from modelworks.sandbox.pieces import Pieces
from modelworks.sandbox.program import Program, Started
from modelworks.sandbox.worker import Worker

_log = logging.getLogger("modelworks.native")
_WAITS: Final = (0.0, 0.1, 0.5, 2.0, 8.0, 30.0)
_HEALTHY_S: Final = 10.0  # a process that lived so long starts again at once
_JOIN_S: Final = 10.0


class Keeper:
    """One model, and always one process for it.

    Args:
        program: what the process is.
        spare: keep a second one that is prepared.
        kind: of the process's parent side.

    Attributes:
        started: how the newest start went.

    Raises:
        ModelworksError: it does not load; nothing is left behind.
    """

    def __init__(
        self, program: Program, *, spare: bool = False, kind: type[Worker] = Worker
    ) -> None:
        self._program = program
        self._kind = kind
        self._with_spare = spare
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._fallen = threading.Event()
        self._changed: Callable[[str], None] = _nobody
        self._why = ""  # why it does not answer now; empty = it does
        self._spare: Worker | None = None
        self._serving: Worker | None = None
        worker, self.started = self._begin(None)
        self._worker = worker
        self._serve(worker)
        self._keeping = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeping.start()

    @property
    def pid(self) -> int:
        """Of the process that answers, or answered last."""
        return self._worker.pid

    @property
    def pids(self) -> tuple[int, ...]:
        """Of every process that lives: the one that answers, and the spare."""
        workers = (self._worker, self._spare)
        return tuple(worker.pid for worker in workers if worker is not None and worker.alive)

    def watch(self, changed: Callable[[str], None]) -> None:
        """Be told, from a thread of ours, of every change: why it does not answer, or ""."""
        with self._lock:
            self._changed = changed
            why = self._why
        if why:
            changed(why)

    def call(self, arrays: Sequence[Any]) -> list[Any]:
        """As `Worker.call`.

        Raises:
            UnavailableError: the process is gone; another one is on its way.
        """
        return self.worker.call(arrays)

    @property
    def worker(self) -> Worker:
        """The process that answers.

        Raises:
            UnavailableError: it is gone; another one is on its way.
        """
        if self._why:
            raise UnavailableError(self._why)
        return self._worker

    @property
    def pieces(self) -> Pieces:
        """What the process generates.

        Raises:
            UnavailableError: the process is gone; another one is on its way.
        """
        if self._why:
            raise UnavailableError(self._why)
        return self._worker.pieces

    def close(self) -> None:
        """End the process and whoever starts it again. Twice is quiet."""
        with self._lock:
            self._stop.set()
            self._why = UNLOADED
        self._fallen.set()
        self._worker.close()
        if threading.current_thread() is not self._keeping:
            self._keeping.join(_JOIN_S)
        for worker in (self._worker, self._spare):
            if worker is not None:
                worker.close()
        self._changed = _nobody  # whom we would tell may hold us: a circle of references

    # -- the thread that starts it again

    def _keep(self) -> None:
        count = 0  # starts in a row that failed, or did not live long
        self._provide()
        while True:
            self._fallen.wait()
            if self._stop.is_set():
                return
            self._fallen.clear()
            if self._worker.alive:
                continue
            count = 0 if self._worker.age_s > _HEALTHY_S else count + 1
            count = self._again(count)
            self._provide()

    def _again(self, count: int) -> int:
        """Start until it stands; how many starts in a row have failed by then."""
        while not self._stop.wait(_wait(count)):
            spare, self._spare = self._spare, None
            try:
                worker, started = self._begin(spare)
            except ModelworksError as error:
                count += 1
                self._tell(f"{error.message}; the next try is in {_wait(count):g} s")
                continue
            with self._lock:
                stopped = self._stop.is_set()
                old, self._worker, self.started = self._worker, worker, started
                self._why = self._why if stopped else ""
            old.close()
            if stopped:
                worker.close()
            else:
                _log.warning("the model's process stands again, as %d", worker.pid)
                self._changed("")
                self._serve(worker)
            break
        return count

    def _serve(self, worker: Worker) -> None:
        """From now on its end is the model's; it may have ended already."""
        self._serving = worker
        if not worker.alive:
            self._ended(worker.reason)

    def _begin(self, spare: Worker | None) -> tuple[Worker, Started]:
        worker = spare
        if worker is None or not worker.alive:
            try:
                worker = self._kind(self._program, self._ended)
            except OSError as error:
                raise UnavailableError(
                    f"the model's process cannot be started: {error.strerror or error}"
                ) from error
        try:
            return worker, worker.load()
        except BaseException:
            worker.close()
            raise

    def _provide(self) -> None:
        """A spare, imported as far as the one that answers; what fails here harms nobody."""
        if not self._with_spare or self._stop.is_set():
            return
        with suppress(OSError, ModelworksError):
            spare = self._kind(self._program, self._ended, self.started.modules)
            self._spare = spare
            spare.prepare()

    def _ended(self, reason: str) -> None:
        """A process ended unasked: the one that serves, or one that nobody needs yet."""
        serving = self._serving
        if serving is None or serving.alive or self._fallen.is_set():
            return
        self._tell(f"the model's process {reason}; it is started again")
        self._fallen.set()

    def _tell(self, why: str) -> None:
        with self._lock:
            if self._stop.is_set():
                return
            self._why = why
        _log.error("%s", why)
        self._changed(why)


def _nobody(_why: str) -> None:
    """Who is told where nobody asked to be."""


def _wait(count: int) -> float:
    """Seconds before the next start: none the first time, then longer and longer."""
    return _WAITS[min(max(count - 1, 0), len(_WAITS) - 1)]
