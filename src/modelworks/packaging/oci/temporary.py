"""Files that get their name when they are whole; what a killed process left behind is removed."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_END: Final = ".part"
_YOUNG_S: Final = 60.0  # between its making and its lock a file looks left behind


@contextmanager
def temporary(folder: Path, stem: str) -> Iterator[Path]:
    """A file in `folder` to write to; gone at the end unless it was given another name.

    Args:
        folder: exists.
        stem: of its name, for those who look.

    Raises:
        OSError: the disk is full, or not ours to write to.
    """
    clear(folder)
    path = folder / f".{stem}-{os.urandom(6).hex()}{_END}"
    try:
        with path.open("wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place at once or, on an error, not."""
    with temporary(path.parent, path.name) as beside:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)


def clear(folder: Path, young_s: float = _YOUNG_S) -> None:
    """Remove the files in a folder whose process is gone."""
    for path in folder.glob(f".*{_END}"):
        with suppress(OSError), path.open("rb") as file:  # it ended meanwhile, or is held
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(file.fileno()).st_mtime >= young_s:
                path.unlink()
