"""Which predictions and keys an hour holds, as hashes: enough to tell what a join must touch."""

import os
import tempfile
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.records import Part

ID: Final = "i"
KEY: Final = "k"
_SUFFIX: Final = ".npy"


def hashed(kind: str, text: str) -> int:
    """64 bits of an id or a key."""
    digest = blake2b((kind + text).encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest)


class Index:
    """A folder of them, an hour a file; made when it is asked for, deleted when it is stale.

    Args:
        folder: may be deleted at any time.
        make: of a part, its array: the hashes in its first row, rising.
    """

    def __init__(self, folder: Path, make: Callable[[Part], Any]) -> None:
        self._folder = folder
        self._make = make

    def of(self, part: Part) -> Any:
        """The array of a part."""
        path = self._path(part)
        try:
            return np.load(path, mmap_mode="r")
        except (OSError, ValueError):  # not there, or half of it
            made = self._make(part)
            self._keep(path, made)
            return made

    def before(self, part: Part, mark: str) -> Any:
        """The array of the same hour as it was under another mark; None where that is gone."""
        try:
            return np.load(self._path(Part(part.model, part.since_ns, mark, 0)), mmap_mode="r")
        except (OSError, ValueError):
            return None

    def prune(self, parts: Iterable[Part]) -> None:
        """Delete all but these."""
        kept = {self._path(part) for part in parts}
        for path in self._folder.glob("*") if self._folder.is_dir() else ():
            if path not in kept:
                path.unlink(missing_ok=True)

    def _path(self, part: Part) -> Path:
        model = blake2b(part.model.encode(), digest_size=8).hexdigest()
        return self._folder / f"{model}-{part.since_ns}-{part.mark}{_SUFFIX}"

    def _keep(self, path: Path, made: Any) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=self._folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, made)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def meet(left: Any, right: Any) -> bool:
    """Whether two rising arrays share a value; a few look-ups where one of them is short."""
    short, long = (left, right) if len(left) <= len(right) else (right, left)
    if not len(short):
        return False
    places = np.searchsorted(long, short)
    places[places == len(long)] = 0
    return bool((long[places] == short).any())
