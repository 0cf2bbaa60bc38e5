"""What the search remembers of forms: each by all that it was made of.

It survives a kill at any moment: a form appears under its name only when it is whole.
"""

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from modelworks.core import codec, digest
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.optimizing.passes import Applied

MOST_BYTES: Final = 4 << 30
"""Of all forms that are kept for later runs together."""
_YOUNG_S: Final = 60.0  # between its making and its lock a folder looks left behind
_WORK: Final = ".work-"


@dataclass(frozen=True, slots=True)
class Made:
    """What a pass made, as it is kept.

    Attributes:
        folder: the artifact; read only.
        applied: what the pass said.
        digest: of the artifact.
        seconds: that it took when it was made.
    """

    folder: Path
    applied: Applied
    digest: str
    seconds: float = 0.0


class Cache:
    """Forms on disk, by key; what this object has found or put stays until it is closed.

    Args:
        root: its folder; made where it is not there.
        most: bytes of all forms; the oldest that nobody holds go first.

    Raises:
        UnavailableError: the folder cannot be made.
    """

    def __init__(self, root: Path, most: int = MOST_BYTES) -> None:
        self._root, self._most = root, most
        self._held: dict[str, int] = {}
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for left in root.glob(f"{_WORK}*"):
                _remove(left, young_s=_YOUNG_S)
        except OSError as error:
            raise full(root, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def find(self, key: str) -> Made | None:
        """The form of that key; None = there is none, or it was damaged and is gone now."""
        folder = self._root / key
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        found = _read(folder, handle)
        if found is None:
            os.close(handle)
            _remove(folder, young_s=0.0)
        elif key in self._held:
            os.close(handle)
        else:
            self._held[key] = handle
        return found

    def work(self) -> "Work":
        """A folder to make the next form in."""
        return Work(self._root)

    def put(self, key: str, artifact: Path, applied: Applied, seconds: float) -> Made:
        """Keep what lies in `artifact`, which is moved; room is made by what is oldest.

        Raises:
            InvalidError: it holds links or special files, or nothing.
            UnavailableError: the disk is full.
        """
        entries = digest.tree(artifact)
        if not entries:
            raise InvalidError("the pass wrote nothing")
        told = {"applied": codec.encode(applied), "seconds": seconds}
        told |= {"digest": _sum(digest.of_entries(entries), told)}
        try:
            with self.work() as stage:
                artifact.rename(stage / "artifact")
                (stage / "made.json").write_text(json.dumps(told))
                with suppress(OSError):  # somebody else was faster: theirs is the same
                    stage.rename(self._root / key)
        except OSError as error:
            raise full(self._root, error) from error
        found = self.find(key)
        if found is None:
            raise UnavailableError(f"{self._root / key} is gone again: is the disk full?")
        self._prune()
        return found

    def release(self, key: str) -> None:
        """Hold a form no longer: it goes when room is wanted. One that is not held is quiet."""
        handle = self._held.pop(key, None)
        if handle is not None:
            os.close(handle)

    def close(self) -> None:
        """Let go of what was held. Twice is quiet."""
        for handle in self._held.values():
            os.close(handle)
        self._held.clear()

    def _prune(self) -> None:
        entries = []
        for folder in self._root.iterdir():
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            with suppress(OSError):
                size = sum(one.lstat().st_size for one in folder.rglob("*") if one.is_file())
                entries.append((folder.stat().st_mtime_ns, size, folder))
        total = sum(size for _, size, _ in entries)
        for _, size, folder in sorted(entries):
            if total <= self._most:
                return
            if folder.name not in self._held and _remove(folder, young_s=0.0):
                total -= size


class Work:
    """A folder that goes with its process, or when it is left.

    Args:
        root: where it is made, on the disk of the cache.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / f"{_WORK}{uuid.uuid4().hex[:12]}"
        self._handle = -1

    def __enter__(self) -> Path:
        try:
            self._folder.mkdir(mode=0o700)
            self._handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._handle, fcntl.LOCK_SH)
        except OSError as error:
            raise full(self._folder, error) from error
        return self._folder

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._handle)
        shutil.rmtree(self._folder, ignore_errors=True)


def _read(folder: Path, handle: int) -> Made | None:
    """What lies there, held from now on; None = it is not whole."""
    artifact = folder / "artifact"
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        told = json.loads((folder / "made.json").read_bytes())
        files = digest.of_entries(digest.tree(artifact))
        made = Made(artifact, codec.decode(Applied, told["applied"]), files, float(told["seconds"]))
        whole = _sum(files, {name: told[name] for name in ("applied", "seconds")}) == told["digest"]
        os.utime(folder)
    except (OSError, ValueError, KeyError, TypeError, InvalidError):
        return None
    return made if whole else None


def _sum(files: str, told: Mapping[str, Any]) -> str:
    """Of an artifact and of what is told of it: neither may change by itself."""
    return digest.of_bytes(json.dumps([files, told], sort_keys=True).encode())


def _remove(folder: Path, young_s: float) -> bool:
    """Remove what nobody holds; whether it is gone."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if abs(time.time() - os.fstat(handle).st_mtime) < young_s:  # a clock may go back
            return False
        gone = folder.with_name(f"{_WORK}{uuid.uuid4().hex[:12]}")
        folder.rename(gone)  # nobody finds it half removed
        shutil.rmtree(gone, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def full(path: Path, error: OSError) -> UnavailableError:
    """What is said where a file of the search cannot be written."""
    return UnavailableError(
        f"{path}: {error.strerror or error}; free some space, or choose another data folder with "
        "MODELWORKS_HOME; what was finished is kept, and the same command goes on from there"
    )
