"""Files that are replaced as a whole, and how whoever follows one sees that it was."""

import os
import tempfile
from pathlib import Path
from typing import TypeAlias

Mark: TypeAlias = tuple[int, int, int]
"""Of a file: inode, when it was changed, size."""


def mark_of(path: Path) -> Mark | None:
    """What is another when the file is; None when it is not there.

    Links are followed: one that is turned round (as Kubernetes does with secrets) is a change.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def replace_text(path: Path, text: str, mode: int = 0o777) -> None:
    """Write a file anew, readable by its owner only: a reader sees the old one or the new one.

    Args:
        path: of it; its folder is made where it is not there.
        text: all of it.
        mode: of folders that are made, less the process's mask.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=mode)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}", suffix=".tmp")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
