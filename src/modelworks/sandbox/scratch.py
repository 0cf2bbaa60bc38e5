"""Folders that live as long as the process that made them; what a killed one left is swept away."""

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "modelworks-model-"
_MAKING_S: Final = 60.0


class Scratch:
    """A folder of a model's own, with a lock beside it that dies with us.

    Attributes:
        work: the folder that the model's process may write.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self) -> None:
        root = Path(tempfile.gettempdir())
        _sweep(root)
        while True:
            self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
            with suppress(FileNotFoundError):
                self._lock = _locked(self._folder / "lock")
                break
        self.work = self._folder / "work"
        self.work.mkdir()

    def remove(self) -> None:
        """Delete it. Called once."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


def _locked(path: Path) -> int:
    """A lock that we hold.

    Raises:
        FileNotFoundError: another process swept the folder away before we held it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    if not os.fstat(handle).st_nlink:
        os.close(handle)
        raise FileNotFoundError(path)
    return handle


def _sweep(root: Path) -> None:
    """Remove the folders of this user whose owners were killed."""
    for folder in root.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            try:
                handle = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:  # just made, or its owner was killed in making or removing it
                if time.time() - folder.stat().st_mtime > _MAKING_S:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
