"""The container of a backup: a plain tar of files in one fixed order, written and read once.

`tar` lists and unpacks it. It is read more strictly than any tar: what is not exactly what stands
in the manifest, at its place, ends the reading. The reader allocates nothing that the file asks
for: each part has a size that is known or bounded before it is read.
"""

import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from modelworks.core.errors import CorruptError, InvalidError, UnavailableError

_BLOCK: Final = 512
_PIECE: Final = 1 << 20
_END: Final = bytes(2 * _BLOCK)


class Writer:
    """Writes parts one after another.

    Args:
        file: opened for writing; not closed here.
        time: seconds since 1970 of every entry.
    """

    def __init__(self, file: BinaryIO, time: int) -> None:
        self._file = file
        self._time = time

    def add(self, name: str, size: int, pieces: Iterable[bytes | memoryview]) -> None:
        """Add a part.

        Raises:
            CorruptError: the pieces are not as many bytes as was said.
            OSError: disk full.
        """
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = size, self._time, 0o600
        self._file.write(info.tobuf(tarfile.GNU_FORMAT, "ascii", "strict"))
        written = 0
        for piece in pieces:
            written += len(piece)
            self._file.write(piece)
        if written != size:
            raise CorruptError(f"{name} has {written} bytes where {size} were stored")
        self._file.write(bytes(-size % _BLOCK))

    def end(self) -> None:
        """Close the tar: a file without its end was cut off."""
        self._file.write(_END)


class Reader:
    """Reads parts in the order in which they must stand.

    Args:
        file: opened for reading.
        where: the file, for messages.
    """

    def __init__(self, file: BinaryIO, where: str) -> None:
        self._file = file
        self.where = where
        self.offset = 0
        """Of the next byte."""

    def first(self, name: str, most: int) -> bytes:
        """The first part, whole.

        Raises:
            InvalidError: something else stands there, or it is larger than `most` bytes.
        """
        foreign = InvalidError(f"{self.where} is no backup of Modelworks", field="file")
        try:
            info = self._header(name)
        except CorruptError as error:
            raise foreign from error
        if info.name != name or info.size > most:
            raise foreign
        return b"".join(self._content(name, info.size))

    def part(self, name: str, size: int) -> Iterator[bytes]:
        """The next part's bytes in pieces; it must have that name and size.

        Raises:
            CorruptError: another one stands there, or the file ends before.
        """
        at = self.offset
        info = self._header(name)
        if info.name != name or info.size != size:
            raise CorruptError(
                f"{self.where}: at byte {at} stands '{info.name[:100]}' of {info.size} bytes "
                f"where {name} of {size} belongs: the file was changed"
            )
        yield from self._content(name, size)

    def end(self) -> None:
        """Nothing but the end stands next.

        Raises:
            CorruptError: the end is missing, or more follows.
        """
        at = self.offset
        if self._read("the end", len(_END)) != _END or self._file.read(1):
            raise CorruptError(
                f"{self.where}: at byte {at} more follows than the manifest knows: the file was "
                "changed"
            )

    def _header(self, name: str) -> tarfile.TarInfo:
        at = self.offset
        block = self._read(name, _BLOCK)
        try:
            info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, UnicodeError, ValueError) as error:
            raise CorruptError(
                f"{self.where}: at byte {at}, before {name}, the file is damaged"
            ) from error
        if info.type != tarfile.REGTYPE or info.size < 0:
            raise CorruptError(f"{self.where}: at byte {at} stands no plain file: it was changed")
        return info

    def _content(self, name: str, size: int) -> Iterator[bytes]:
        left = size
        while left:
            piece = self._read(name, min(left, _PIECE))
            left -= len(piece)
            yield piece
        at = self.offset
        if any(self._read(name, -size % _BLOCK)):
            raise CorruptError(f"{self.where}: at byte {at}, after {name}, the file is damaged")

    def _read(self, name: str, count: int) -> bytes:
        try:
            piece = self._file.read(count)
        except OSError as error:
            raise UnavailableError(f"{self.where}: {error.strerror or error}") from error
        self.offset += len(piece)
        if len(piece) != count:
            raise CorruptError(
                f"{self.where}: it ends at byte {self.offset}, in {name}: it was cut off; take "
                "another copy"
            )
        return piece


def lines(pieces: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Pieces as lines without their ends.

    Raises:
        CorruptError: a line longer than `most` bytes, or the last one has no end.
    """
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > most:
            raise CorruptError(f"a line is longer than {most} bytes")
    if rest:
        raise CorruptError("the last line has no end")
