"""Watches the served list: a thread looks at the file four times a second, the loop is told."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Final

from modelworks.core.errors import ModelworksError
from modelworks.core.files import mark_of
from modelworks.core.served import ServedList, read_served

_log = logging.getLogger("modelworks.serving")
_PERIOD_S: Final = 0.25


class ListWatch:
    """Reads a list when its file was replaced.

    Args:
        path: of the list.
        found: called on the loop with each new list.
        broken: called on the loop with the reason why a new file is no list.
    """

    def __init__(
        self, path: Path, found: Callable[[ServedList], None], broken: Callable[[str], None]
    ) -> None:
        self._path = path
        self._found = found
        self._broken = broken
        self._mark = mark_of(path)
        self._stop = Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def read(self) -> ServedList:
        """The list as it is now.

        Raises:
            NotFoundError: no such file.
            InvalidError: it is no list.
        """
        self._mark = mark_of(self._path)
        return read_served(self._path)

    def start(self) -> None:
        """Begin to watch."""
        self._loop = asyncio.get_running_loop()
        Thread(target=self._watch, name="served-list", daemon=True).start()

    def stop(self) -> None:
        """Stop watching; at most one period later the thread is gone."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            mark = mark_of(self._path)
            if mark == self._mark:
                continue
            try:
                self._tell(self._found, self.read())
            except ModelworksError as error:
                self._mark = mark
                self._tell(self._broken, error.message)

    def _tell(self, what: Callable[..., None], value: object) -> None:
        if self._loop is not None and not self._stop.is_set():
            try:
                self._loop.call_soon_threadsafe(what, value)
            except RuntimeError:  # the loop closed meanwhile: nobody is left to tell
                self._stop.set()
