"""Folders that live as long as the process that made them; what a killed one left is swept away."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_PREFIX = "modelworks-model-"


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
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.work = self._folder / "work"
        self.work.mkdir()

    def remove(self) -> None:
        """Delete it. Called once."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


def _sweep(root: Path) -> None:
    """Remove the folders of this user whose owners were killed."""
    for folder in root.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            handle = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
