"""The API keys of one file, as it is now: a thread looks at it twice a second."""

import logging
import threading
from pathlib import Path
from typing import Final

from modelworks.core.errors import ModelworksError
from modelworks.core.files import mark_of
from modelworks.core.key_file import parse_file
from modelworks.core.keys import refusal

_log = logging.getLogger(__name__)
_PERIOD_S: Final = 0.5
_TELL_S: Final = 60.0  # what was refused is told of so often, not one by one
_END_S: Final = 5.0


class KeyRing:
    """Whose keys are good, in one process.

    The file is replaced as a whole, or a link to it is turned round (as Kubernetes does with
    secrets); then the next request is held to the new keys, on connections that are open too. A
    file that cannot be read leaves the last good keys in force, and is told of once.

    Args:
        path: of the file; read at once.

    Attributes:
        keys: as of the last look; swapped as a whole.

    Raises:
        NotFoundError: no such file.
        InvalidError: it is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._mark = mark_of(self._path)
        self._problem = ""
        self._refused = 0
        self._last = ""
        self._quiet_s = 0.0  # until the next line about refusals
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.keys = parse_file(self._path)
        self._before = self.keys
        if not self.keys.entries:
            _log.warning("the key file %s has no key: nobody is let in", path)

    def start(self) -> None:
        """Follow the file. Twice is quiet."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="api keys", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Follow it no longer."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_END_S)

    def look(self) -> None:
        """Take the file's keys, if it has changed."""
        mark = mark_of(self._path)
        if mark == self._mark:
            return
        try:
            keys = parse_file(self._path)
        except ModelworksError as error:
            if mark == mark_of(self._path):
                self._mark = mark
                self._say(error.message)
            return
        if mark != mark_of(self._path):
            return  # it changes under our eyes: the next look finds it whole
        self._mark, self._problem = mark, ""
        self._before, self.keys = self.keys, keys
        _log.info("the key file has changed: %d keys", len(keys.entries))

    def name_of(self, headers: dict[bytes, bytes]) -> str:
        """Who sent a request that was answered just now; empty where nobody is known."""
        given = headers.get(b"authorization")
        found = self.keys.find(given) or self._before.find(given)
        return found.name if found is not None else ""

    def refused(self, authorization: bytes | None) -> str:
        """Count a request without a good key; what it is told."""
        self._refused += 1
        self._last = refusal(authorization)
        return self._last

    def _follow(self) -> None:
        while not self._over.wait(_PERIOD_S):
            self.look()
            self._quiet_s -= _PERIOD_S
            if self._refused and self._quiet_s <= 0:
                count, self._refused, self._quiet_s = self._refused, 0, _TELL_S
                _log.warning("%d requests were refused; the last one: %s", count, self._last)

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            _log.error("the changed keys are not used, the last ones stay: %s", problem)
