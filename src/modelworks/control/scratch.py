"""Folders for work under way, which a killed process leaves behind and `collect` clears away."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_KINDS: Final = ("import-", "upload-", "drill-", "optimize-", "graph-")
_YOUNG_S: Final = 60.0  # between its making and its lock a folder looks left behind


@contextmanager
def scratch(run: Path, kind: str) -> Iterator[Path]:
    """A folder in `run` that is removed at the end, and held by a lock until then.

    Args:
        run: the home's room for running processes.
        kind: `import`, `upload`, `drill`, `optimize` or `graph`; the folder's name begins with it.
    """
    with tempfile.TemporaryDirectory(prefix=f"{kind}-", dir=run) as folder:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield Path(folder)
        finally:
            os.close(handle)


def clear(run: Path, young_s: float = _YOUNG_S) -> int:
    """Remove the folders whose process is gone; the bytes that they held."""
    freed = 0
    for folder in [f for kind in _KINDS for f in run.glob(f"{kind}*") if f.is_dir()]:
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # it ended meanwhile
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(handle).st_ctime >= young_s:
                size = sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file())
                shutil.rmtree(folder)
                freed += size
        except OSError:  # held: its work is under way; or not ours to remove
            continue
        finally:
            os.close(handle)
    return freed
