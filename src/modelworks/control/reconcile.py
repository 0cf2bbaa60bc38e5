"""Keeps the served list on disk equal to what the registry says, for as long as it runs."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from modelworks.core.served import ServedList, read_served, write_served

PERIOD_SECONDS = 0.5
LONGEST_WAIT = 30.0
_log = logging.getLogger(__name__)


class Reconciler:
    """One thread; an error is said once and tried again, later each time.

    Args:
        desired: the list to serve, given the last one.
        path: of the served list.
        period: seconds between two looks.
    """

    def __init__(
        self,
        desired: Callable[[ServedList | None], ServedList],
        path: Path,
        period: float = PERIOD_SECONDS,
    ) -> None:
        self._desired = desired
        self._path = path
        self._period = period
        self._last: ServedList | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._said = ""

    def start(self) -> None:
        """Begin; twice is quiet."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="reconcile", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread. Twice is quiet."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=60)

    def tick(self) -> bool:
        """Compare once; whether the list was written.

        Raises:
            ModelworksError: the registry cannot be read.
            OSError: the list cannot be written.
        """
        written = _written(self._path)
        desired = self._desired(written or self._last)
        self._last = desired
        if written == desired:
            return False
        write_served(self._path, desired)
        return True

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self.tick()
            except Exception as error:  # noqa: BLE001 - this thread must not die of anything
                failures += 1
                self._say(error)
            else:
                if failures:
                    _log.info("the served list is kept up to date again")
                failures, self._said = 0, ""
            wait = self._period * 2 ** min(failures, 16) if failures else self._period
            self._stop.wait(min(wait, max(LONGEST_WAIT, self._period)))

    def _say(self, error: Exception) -> None:
        line = f"the served list is not up to date: {str(error) or type(error).__name__}"
        if line != self._said:
            self._said = line
            _log.error("%s", line)


def _written(path: Path) -> ServedList | None:
    """What is at `path`; None where nothing there can be read."""
    try:
        return read_served(path)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it will be replaced
        return None
