"""The access log: a thread takes a journal's entries and appends them to a file, in batches."""

import logging
import os
import threading
import time
from pathlib import Path
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.edge.access_lines import Form, Lines, NameOf
from modelworks.edge.journal import Journal

_log = logging.getLogger(__name__)
_PERIOD_S: Final = 0.1
_CHUNK: Final = 256  # lines a write: the loop waits for so many at most
_LOOK_S: Final = 1.0  # how often the file is looked at: somebody may have moved it away
_TELL_S: Final = 60.0
_END_S: Final = 5.0
STDOUT: Final = "-"


class AccessLog:
    """Writes one file, or standard output.

    Lines are appended whole, so several workers may share a file. What cannot be written (a full
    disk, a reader that is too slow) is dropped and counted; requests never wait for it.

    Args:
        target: a path, or `-`.
        form: of the lines.
        journal: what to write down.
        name_of: the name of a request's API key; None = keys are not asked for.

    Raises:
        InvalidError: the file cannot be opened.
    """

    def __init__(
        self, target: str, form: Form, journal: Journal, name_of: NameOf | None = None
    ) -> None:
        self._path = None if target == STDOUT else Path(target).absolute()
        self._lines = Lines(form, name_of)
        self._journal = journal
        self._reported = 0  # of the journal's drops
        self._lost = 0  # lines that the file did not take, not told yet
        self._torn = False  # the last line was written in part
        self._told = time.monotonic() - _TELL_S
        self._looked = time.monotonic()
        self._reopen = False
        self._over = threading.Event()
        try:
            self._file = self._open()
        except OSError as error:
            raise InvalidError(
                f"the access log {target} cannot be opened: {error.strerror}", field="access_log"
            ) from error
        self._thread = threading.Thread(target=self._run, name="access log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def reopen(self) -> None:
        """Open the path anew before the next write; safe in a signal handler."""
        self._reopen = True

    def close(self) -> None:
        """Write what is left, for five seconds at most."""
        self._over.set()
        if self._thread.ident is not None:  # else it was never started, and nothing waits
            self._thread.join(_END_S)
        if self._thread.is_alive():  # whoever reads our output does not; we end all the same
            return
        os.close(self._file)

    def _open(self) -> int:
        if self._path is None:
            return os.dup(1)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        return os.open(self._path, flags, 0o640)

    # -- on the thread

    def _run(self) -> None:
        while not self._over.wait(_PERIOD_S):
            self._turn()
        self._turn()

    def _turn(self) -> None:
        try:
            self._mind_file()
            left = len(self._journal.entries)
            while left > 0:
                entries = self._journal.take(min(_CHUNK, left))
                left -= len(entries) or left
                self._write(self._lines.write(entries))
            self._mind_drops()
        except Exception:  # noqa: BLE001 - the log of requests must not end with one request
            _log.exception("entries of the access log were lost")

    def _mind_file(self) -> None:
        """Follow a rotation: SIGHUP said so, or the path names another file now."""
        now = time.monotonic()
        if self._path is None or (not self._reopen and now - self._looked < _LOOK_S):
            return
        self._looked = now
        asked, self._reopen = self._reopen, False
        if not asked and self._present():
            return
        try:
            fresh = self._open()
        except OSError as error:
            self._tell(f"the access log {self._path} cannot be opened again: {error.strerror}")
            return
        os.close(self._file)
        self._file, self._torn = fresh, False

    def _present(self) -> bool:
        assert self._path is not None  # noqa: S101 - asked only then
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file))
        except OSError:
            return False

    def _write(self, data: bytes) -> None:
        if self._torn:
            data = b"\n" + data
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            left = bytes(view)
            self._torn = len(left) < len(data) and not data[: len(data) - len(left)].endswith(b"\n")
            self._lost += left.count(b"\n")
            self._tell(f"the access log cannot be written: {error.strerror}")
        else:
            self._torn = False
            self._mind_losses()

    def _mind_losses(self) -> None:
        """Say in the file itself how many lines are missing in it."""
        lost, self._lost = self._lost, 0
        if lost:
            self._write(self._lines.missing(lost))

    def _mind_drops(self) -> None:
        dropped = self._journal.dropped
        if dropped > self._reported:
            missing, self._reported = dropped - self._reported, dropped
            self._tell(f"{missing} requests came faster than the access log could be written")
            self._write(self._lines.missing(missing))

    def _tell(self, message: str) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_S:
            self._told = now
            _log.warning("%s; requests are answered all the same", message)
