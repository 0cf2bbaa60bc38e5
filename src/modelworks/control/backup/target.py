"""The file that a backup becomes: whole or not there, and one writer at a time."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from modelworks.control.backup.manifest import Part
from modelworks.core.digest import PREFIX
from modelworks.core.errors import ConflictError, NotFoundError, UnavailableError

_PARTIAL: Final = ".partial"
_PIECE: Final = 1 << 20
_TRIES: Final = 10


def target(into: Path, made_ns: int) -> Path:
    """The file to write: `into`, or one named by the time in the folder `into`.

    Raises:
        ConflictError: it is there already.
        NotFoundError: its folder is not there.
    """
    name = datetime.fromtimestamp(made_ns // 10**9, UTC).strftime("modelworks-%Y%m%dT%H%M%SZ.tar")
    path = into / name if into.is_dir() else into
    if path.exists() or path.is_symlink():
        raise ConflictError(f"{path} exists: name another file, or move it away", field="into")
    if not path.parent.is_dir():
        raise NotFoundError(f"no folder {path.parent}", field="into")
    return path


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A new file, for its owner only; it gets its name when the block ends well and it is on disk.

    Raises:
        ConflictError: another process is writing it.
        UnavailableError: not writable, disk full.
    """
    try:
        with _partial(path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if path.exists():
                raise ConflictError(f"{path} was made meanwhile: name another file", field="into")
            _beside(path).rename(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror or error}; nothing was kept") from error


class Spool:
    """Parts whose digests must be known before they are written: a file without a name.

    Args:
        folder: with room for them.
    """

    def __init__(self, folder: Path) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, lines: Iterable[bytes]) -> Part:
        """Keep a part."""
        seen, size, count = sha256(), 0, 0
        for line in lines:
            seen.update(line)
            self._file.write(line)
            size += len(line)
            count += 1
        return Part(PREFIX + seen.hexdigest(), size, count)

    def rewind(self) -> None:
        """Read from the first part on."""
        self._file.seek(0)

    def next(self, part: Part) -> Iterator[bytes]:
        """The bytes of the next part."""
        left = part.size
        while left and (piece := self._file.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}{_PARTIAL}")


@contextmanager
def _partial(path: Path) -> Iterator[BinaryIO]:
    """The file under another name, held by a lock; gone afterwards where it has that name still."""
    _sweep(path.parent)
    partial = _beside(path)
    for _ in range(_TRIES):
        handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            if not _locked(file.fileno()):
                raise ConflictError(f"{path} is being written by another process", field="into")
            if not _is_at(partial, file.fileno()):
                continue  # swept away between its making and its lock
            try:
                file.truncate(0)
                yield file
            finally:
                if _is_at(partial, file.fileno()):
                    partial.unlink()
            return
    raise UnavailableError(f"{partial} is removed again and again by another process")


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half-written."""
    for path in folder.glob(f".*{_PARTIAL}"):
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if _locked(handle) and _is_at(path, handle):
                    path.unlink()
            finally:
                os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, handle: int) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(path.lstat(), os.fstat(handle))
    return False
