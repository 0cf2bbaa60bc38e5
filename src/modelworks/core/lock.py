"""One holder at a time, by a file: also among processes, and one that is killed holds nothing."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from modelworks.core.errors import UnavailableError

_LOOK_S: Final = 0.02


@contextmanager
def locked(path: Path, wait_s: float = 60.0) -> Iterator[None]:
    """Be the only one; who is may remove the file.

    Raises:
        UnavailableError: somebody else has it for longer than `wait_s`.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    end = time.monotonic() + wait_s
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _taken(handle, path):
                yield
                return
        finally:
            os.close(handle)
        if time.monotonic() >= end:
            raise UnavailableError(f"{path} is held by another process: wait for it to end")
        time.sleep(_LOOK_S)


def _taken(handle: int, path: Path) -> bool:
    """Whether the lock is ours, and its file still the one that others find."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path.stat().st_ino == os.fstat(handle).st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
