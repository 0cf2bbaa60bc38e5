"""Who writes next, where several workers have one file: each in turn.

SQLite lets one write, and the others try again later and later: who has just written would write
again before anybody else looks. So whoever waits holds the turnstile, and who has written has to
pass it first. A lock of the system: it ends with the process.
"""

import fcntl
import os
import sqlite3
import time
from pathlib import Path
from typing import Final

_LOOK_S: Final = 0.001
_BUSY: Final = "SQLITE_BUSY"


class Turnstile:
    """Of one worker; used by one thread.

    Args:
        path: of the lock's file.
        seconds: that one may wait.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._seconds = seconds

    def begin(self, base: sqlite3.Connection) -> None:
        """Begin a transaction that writes.

        Raises:
            sqlite3.OperationalError: somebody else has the file for too long.
        """
        until = time.monotonic() + self._seconds
        held = False
        base.execute("PRAGMA busy_timeout = 0")  # we wait, and in turn
        try:
            while True:
                held = held or self._taken()
                # Who waits too long for others to pass tries all the same.
                late = time.monotonic() >= until
                if held or late:
                    try:
                        base.execute("BEGIN IMMEDIATE")
                    except sqlite3.OperationalError as error:
                        if late or getattr(error, "sqlite_errorname", "") != _BUSY:
                            raise
                    else:
                        return
                time.sleep(_LOOK_S)
        finally:
            base.execute(f"PRAGMA busy_timeout = {round(1000 * self._seconds)}")
            if held:
                fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
