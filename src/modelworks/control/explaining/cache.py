"""Explanations that were made before, on the disk: values only, no inputs."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

MOST: Final = 20_000
"""Rows that are kept; beyond it those that were not read for the longest go."""
_FEWER: Final = 0.9


class Cache:
    """One file a row.

    Args:
        folder: of it; may be deleted at any time.
        most: rows at most.
    """

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._folder = folder
        self._most = most

    def get(self, key: str) -> Any:
        """The array of that key; None where there is none that can be read."""
        path = self._path(key)
        try:
            found = np.load(path, allow_pickle=False)
            os.utime(path)
        except (OSError, ValueError, EOFError):
            return None
        return found

    def put(self, key: str, array: Any) -> None:
        """Keep it. A disk that takes no more is no failure: it is made again another time."""
        path = self._path(key)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with temporary.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def prune(self) -> int:
        """Delete the oldest beyond the bound; how many went."""
        found = [(path.stat().st_mtime_ns, path) for path in self._folder.glob("*/*.npy")]
        if len(found) <= self._most:
            return 0
        gone = sorted(found)[: len(found) - round(_FEWER * self._most)]
        for _, path in gone:
            path.unlink(missing_ok=True)
        return len(gone)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.npy"


def key_of(*parts: bytes | str) -> str:
    """A key of everything that an explanation hangs on."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
