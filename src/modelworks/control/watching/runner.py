"""Runs duties, each in a thread of its own: one that fails or is slow never stops another."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from modelworks.control.watching import store
from modelworks.control.watching.duty import Duty, DutyState
from modelworks.core.errors import ConflictError
from modelworks.core.ids import now_ns
from modelworks.db.engine import TenantScope
from modelworks.deploy import locks
from modelworks.monitor.series.service import SeriesStore

_log = logging.getLogger(__name__)

LONGEST_WAIT_S = 900.0
_TICK_S = 0.5
_STOP_S = 20.0


class Runner:
    """The duties of one tenant. Of several workers one at a time runs a duty.

    Args:
        scope: the tenant's rows.
        duties: with names of their own.
        clock: UTC nanoseconds.
    """

    def __init__(
        self,
        scope: TenantScope,
        duties: Sequence[Duty],
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self._scope = scope
        self._duties = duties
        self._clock = clock
        self._series = SeriesStore(scope, clock)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin; twice is quiet."""
        if not self._threads:
            self._stop.clear()
            for duty in self._duties:
                thread = threading.Thread(
                    target=self._go_on, args=(duty,), name=duty.name, daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def close(self) -> None:
        """End the threads; a run that goes on is left to its repetition. Twice is quiet."""
        self._stop.set()
        threads, self._threads = self._threads, []
        until = time.monotonic() + _STOP_S
        for thread in threads:
            thread.join(timeout=max(0.0, until - time.monotonic()))

    def states(self) -> list[DutyState]:
        """How every duty that ever ran does."""
        with self._scope.read() as session:
            return store.every(session)

    def tend(self, duty: Duty) -> bool:
        """Run a duty if it is due and nobody else does; whether it ran. Never raises for it."""
        with self._scope.read() as session:
            known, _ = store.get(session, duty.name)
        if self._clock() < due(duty, known):
            return False
        try:
            with locks.held(self._scope, f"watch/{duty.name}"[:64], self._clock) as lock:
                return self._run(duty, lock)
        except ConflictError:
            return False  # another worker is at it

    def _run(self, duty: Duty, lock: locks.Lock) -> bool:
        began = self._clock()
        with self._scope.read() as session:
            known, left = store.get(session, duty.name)
        if began < due(duty, known):
            return False  # another worker was faster
        over = threading.Event()
        watcher = threading.Thread(
            target=self._watch, args=(duty, known, lock, over), name="late", daemon=True
        )
        watcher.start()
        try:
            done = duty.run(began / 1e9, left)
            with self._scope.write() as session:
                self._series.append(done.series, done.resolution, session)
                took = self._clock() - began
                now = DutyState(duty.name, began, took, 0, done.said)
                store.put(session, now, done.state)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            self._failed(duty, known, began, error)
        else:
            if known.failures:
                _log.info("%s works again", duty.name)
        finally:
            over.set()
            watcher.join()
        return True

    def _failed(self, duty: Duty, known: DutyState, began: int, error: Exception) -> None:
        text = str(error) or type(error).__name__
        if text != known.error:
            _log.error("%s: %s", duty.name, text, exc_info=not hasattr(error, "message"))
        took = self._clock() - began
        with self._scope.write() as session:
            store.put(session, DutyState(duty.name, began, took, known.failures + 1, text), None)

    def _watch(self, duty: Duty, known: DutyState, lock: locks.Lock, over: threading.Event) -> None:
        """Keep the lock, and say it when the deadline has passed."""
        began, said = time.monotonic(), False
        while not over.wait(_TICK_S):
            try:
                lock.keep()
                if not said and time.monotonic() - began > duty.deadline_s:
                    said = True
                    text = f"it has been running for longer than {duty.deadline_s:g} s"
                    _log.warning("%s: %s", duty.name, text)
                    with self._scope.write() as session:
                        now = DutyState(
                            duty.name, known.ran_ns, known.took_ns, known.failures, text
                        )
                        store.put(session, now, None)
            except Exception as error:  # noqa: BLE001 - the database may come back
                _log.warning("%s: its lock cannot be kept: %s", duty.name, error)

    def _go_on(self, duty: Duty) -> None:
        while not self._stop.wait(_TICK_S):
            try:
                self.tend(duty)
            except Exception as error:  # noqa: BLE001 - the database may come back
                _log.warning("%s: %s", duty.name, error)
                self._stop.wait(10 * _TICK_S)


def due(duty: Duty, known: DutyState) -> int:
    """When a duty is to run next, UTC nanoseconds: at whole multiples, later after failures."""
    if not known.ran_ns:
        return 0
    every = int(duty.every_s * 1e9)
    regular = (known.ran_ns // every + 1) * every
    if not known.failures:
        return regular
    wait = min(duty.every_s * 2 ** min(known.failures - 1, 16), LONGEST_WAIT_S)
    return max(regular, known.ran_ns + int(wait * 1e9))
