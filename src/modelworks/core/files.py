"""Files that are replaced as a whole."""

import os
import tempfile
from pathlib import Path


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
