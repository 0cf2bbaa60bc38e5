"""Takes in what containers recorded: their segments become segments of this machine.

A container writes to a folder that is bound into it, and to no other. What lies there is its word:
only plain files are taken, and they are read as carefully as torn ones.
"""

import fcntl
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelworks.protocol.records.fields import KEY
from modelworks.protocol.records.segments import OPEN, SEALED

_log = logging.getLogger("modelworks.records")
SEGMENTS: Final = "segments"
"""Folder of the segments, in that of a deployment."""
_MOST: Final = 10_000  # files of a folder in one go
_YOUNG_S: Final = 2.0  # its writer may not hold it yet


def take_in(recorded: Path, segments: Path) -> int:
    """Move every segment that nobody writes any more; how many were.

    Whoever is killed in the middle leaves each segment in one of both places. The caller sees to it
    that only one does so.

    Args:
        recorded: holds a folder a deployment.
        segments: of this machine.
    """
    count = 0
    for folder in sorted(recorded.glob("*/")):
        for path in sorted(_ended(folder / SEGMENTS)):
            segments.mkdir(mode=0o700, parents=True, exist_ok=True)
            count += _move(path, segments)
        if not (folder / KEY).exists():  # its deployment is gone
            _remove(folder)
    return count


def written(recorded: Path) -> list[Path]:
    """Segments that are being written, or that a dead logger left open."""
    return sorted(recorded.glob(f"*/{SEGMENTS}/*{OPEN}"))


def _ended(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number >= _MOST:
                return
            path = Path(entry.path)
            if path.suffix == SEALED or (path.suffix == OPEN and _left(path)):
                yield path


def _left(path: Path) -> bool:
    """Whether nobody writes an open segment."""
    try:
        if time.time() - path.lstat().st_mtime < _YOUNG_S:
            return False
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:  # a link, or what is no file
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def _move(path: Path, segments: Path) -> bool:
    """Have it among the segments; what is no plain file goes, once it is out of reach."""
    there = segments / path.name
    while there.exists() or there.is_symlink():  # loggers of two containers may have one number
        there = there.with_name(f"{there.stem}-{os.urandom(4).hex()}{there.suffix}")
    try:
        path.rename(there)
    except FileNotFoundError:  # its logger closed it meanwhile
        return False
    kind = there.lstat().st_mode
    if stat.S_ISREG(kind) and os.access(there, os.R_OK | os.W_OK):
        return True
    _log.warning("%s is no file, or none of ours: it is removed", path)
    if stat.S_ISDIR(kind):
        shutil.rmtree(there, ignore_errors=True)
    else:
        there.unlink()
    return False


def _remove(folder: Path) -> None:
    for one in (folder / SEGMENTS, folder):
        with suppress(OSError):  # something is still written in it
            one.rmdir()
