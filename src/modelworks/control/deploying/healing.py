"""Keeps deployments as they were asked for, for as long as it runs: one thread, round by round.

What a killed `apply` began is gone on with, what was changed from outside or ended is put right. A
deployment that fails is tried again later each time; the others do not wait for it.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from modelworks.control.deploying.applying import Applier
from modelworks.core.errors import ConflictError, ModelworksError
from modelworks.deploy.service import Deployments

_log = logging.getLogger(__name__)
PERIOD_S: Final = 5.0
LONGEST_S: Final = 300.0


class Healer:
    """One thread.

    Args:
        deployments: as they are asked for.
        applier: acts on them.
        period_s: between two rounds.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        deployments: Deployments,
        applier: Applier,
        period_s: float = PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deployments = deployments
        self._applier = applier
        self._period = period_s
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._said: dict[str, str] = {}

    def start(self) -> None:
        """Begin; twice is quiet."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="heal", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread, after what it is at, a minute at most. Twice is quiet."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=60)

    def round(self) -> None:
        """Every deployment that is due, once.

        Raises:
            ModelworksError: the database does not answer.
        """
        names = [desired.name for desired in self._deployments.every()]
        for gone in self._failures.keys() - set(names):
            self._forget(gone)
        for name in names:
            if self._stop.is_set():
                return
            if self._clock() >= self._due.get(name, 0.0):
                self._one(name)

    def _one(self, name: str) -> None:
        try:
            self._applier.tend(name)
        except ConflictError:
            return  # another process is at it
        except ModelworksError as error:
            self._later(name, error.message)
        except Exception as error:  # noqa: BLE001 - this thread must not die of anything
            self._later(name, str(error) or type(error).__name__)
        else:
            if name in self._failures:
                _log.info("deployment %s is looked after again", name)
                self._forget(name)

    def _forget(self, name: str) -> None:
        self._failures.pop(name, None)
        self._due.pop(name, None)
        self._said.pop(name, None)

    def _later(self, name: str, why: str) -> None:
        count = self._failures[name] = self._failures.get(name, 0) + 1
        self._due[name] = self._clock() + min(LONGEST_S, self._period * 2.0 ** min(count, 16))
        if self._said.get(name) != why:
            self._said[name] = why
            _log.error("deployment %s: %s", name, why)

    def _run(self) -> None:
        said = ""
        while not self._stop.is_set():
            try:
                self.round()
                said = ""
            except ModelworksError as error:
                if said != error.message:
                    said = error.message
                    _log.error("deployments cannot be looked after: %s", said)
            self._stop.wait(self._period)
