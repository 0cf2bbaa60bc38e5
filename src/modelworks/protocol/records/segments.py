"""Segments: files of records that survive a kill at any moment. See docs/records.md.

One process writes a segment, `NAME.open`, under a lock; a closed one is renamed to `NAME.seg` and
belongs to whoever moves it into a store and deletes it. Names sort by the time of their beginning.

A frame is handed to the system in one call and is then safe from the end of any process; from the
end of the machine it is safe when its segment is closed (fsync of file and folder).
"""

import contextlib
import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from modelworks.core.errors import UnavailableError
from modelworks.core.records import Record
from modelworks.protocol.records.frames import MAGIC, decode_payload, encode_frame, whole_frames

_log = logging.getLogger(__name__)
OPEN: Final = ".open"
SEALED: Final = ".seg"
SEGMENT_BYTES: Final = 16 << 20
SEGMENT_S: Final = 10.0
FOLDER_BYTES: Final = 4 << 30
_SHARED: Final = stat.S_ISGID | stat.S_IWGRP
_LOOK_S: Final = 1.0  # how often the folder's size is looked at


def read_segment(path: Path, damaged: Callable[[int], None] | None = None) -> Iterator[Record]:
    """The records of a segment, in the order they were written.

    Args:
        path: of it, open or closed.
        damaged: called with how many bytes at its end are no whole frames, where there are such: of
            an open segment the last frame may be under way, a closed one was damaged.

    Raises:
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    end = min(len(MAGIC), len(data))
    for end, payload in whole_frames(data):  # noqa: B007 - the last one is wanted below
        yield from decode_payload(payload)
    if damaged is not None and end < len(data):
        damaged(len(data) - end)


def sealed_segments(folder: Path) -> list[Path]:
    """The closed segments of a folder, oldest first."""
    return sorted(folder.glob(f"*{SEALED}"))


def recover(folder: Path) -> list[Path]:
    """Close the open segments that nobody writes any more; what is torn at their end is cut off.

    Returns:
        The segments that were closed so.
    """
    return [done for path in sorted(folder.glob(f"*{OPEN}")) if (done := _recover(path))]


class SegmentWriter:
    """Appends records to segments. Used by one thread.

    Args:
        folder: of the segments; made where it is not there, for its owner only. In one that a
            group shares (its mode is `rwxrws---`) segments are the group's too: who takes them over
            is another user.
        segment_bytes: a segment is closed when it has so many.
        segment_s: a segment is closed when it is so old.
        folder_bytes: of all segments in the folder; while there are more, nothing is written.
    """

    def __init__(
        self,
        folder: Path,
        segment_bytes: int = SEGMENT_BYTES,
        segment_s: float = SEGMENT_S,
        folder_bytes: int = FOLDER_BYTES,
    ) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._segment_s = segment_s
        self._folder_bytes = folder_bytes
        self._file = -1
        self._path = Path()
        self._size = 0
        self._born = 0.0
        self._looked = -_LOOK_S
        self._full = False

    def write(self, records: Sequence[Record]) -> None:
        """Append them as one frame: all or none.

        Raises:
            UnavailableError: the disk does not take them, or the folder is full.
            ValueError: a value that cannot be written.
        """
        frame = encode_frame(records)
        self._mind_folder()
        try:
            if self._file < 0:
                self._begin()
            self._append(frame)
        except OSError as error:
            raise UnavailableError(
                f"{self._folder}: records cannot be written: {error.strerror}"
            ) from error
        try:
            self.rotate()
        except OSError as error:  # they lie there, and `recover` finds them
            _log.warning("%s cannot be closed: %s", self._path, error.strerror)

    def rotate(self) -> None:
        """Close the segment, if it is large or old enough."""
        if self._file < 0:
            return
        if self._size >= self._segment_bytes or time.monotonic() - self._born >= self._segment_s:
            self.close()

    def close(self) -> None:
        """Close the segment under way; twice is quiet."""
        if self._file < 0:
            return
        file, self._file = self._file, -1
        try:
            _seal(file, self._path)
        finally:
            os.close(file)

    def _begin(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{time.time_ns():020d}-{os.getpid()}{OPEN}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(path, flags, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._folder.stat().st_mode & _SHARED == _SHARED:
                os.fchmod(file, 0o660)
            os.utime(path)  # somebody's `recover` may have taken it for left behind, and away
        except OSError:
            os.close(file)
            raise
        self._file, self._path = file, path
        self._size, self._born = 0, time.monotonic()
        self._append(MAGIC)

    def _append(self, data: bytes) -> None:
        """Append all of it, or cut off what was taken of it."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            self._cut()
            raise
        self._size += len(data)

    def _cut(self) -> None:
        """Back to the last whole frame; where even that fails, to a new segment."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            os.close(self._file)  # its lock goes with it: somebody's `recover` closes it
            self._file = -1
            return
        if self._size < len(MAGIC):
            os.close(self._file)
            self._file = -1
            self._path.unlink(missing_ok=True)

    def _mind_folder(self) -> None:
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked = now
            self._full = _bytes_of(self._folder) > self._folder_bytes
        if self._full:
            raise UnavailableError(
                f"{self._folder}: over {self._folder_bytes} bytes of records wait there for a "
                "worker to move them into a store: start `modelworks up`, or delete some"
            )


def _recover(path: Path) -> Path | None:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.exists():  # somebody else was quicker
            return None
        data = path.read_bytes()
        end = 0
        for end, _ in whole_frames(data):  # noqa: B007 - the last one is wanted
            pass
        if not end:
            path.unlink()
            return None
        os.ftruncate(file, end)
        return _seal(file, path)
    except BlockingIOError:
        return None  # it has a writer
    finally:
        os.close(file)


def _seal(file: int, path: Path) -> Path:
    sealed = path.with_suffix(SEALED)
    os.fsync(file)
    path.rename(sealed)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return sealed


def _bytes_of(folder: Path) -> int:
    size = 0
    for path in folder.glob("*"):
        if path.suffix in {OPEN, SEALED}:
            with contextlib.suppress(FileNotFoundError):  # it was moved into a store meanwhile
                size += path.stat().st_size
    return size
