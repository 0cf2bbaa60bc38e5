"""Opens a file that may be compressed, and never reads or inflates more than it should."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from modelworks.core.errors import InvalidError, RefusedError

MIB = 1 << 20
LIMIT = 8 << 30
"""Bytes of one model file, inflated, at most."""

_CHUNK = 256 * 1024
_BOMB_FLOOR = 64 * MIB  # no model that small hurts, however well it was packed
_BOMB_RATIO = 200
_LZMA_MEMORY = 256 * MIB  # an xz header may ask for a dictionary of 4 GiB


class _Decompressor(Protocol):
    """What zlib, bz2 and lzma decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


_MAGIC: dict[bytes, tuple[str, Callable[[], _Decompressor] | None]] = {
    b"\x1f\x8b": ("gzip", lambda: zlib.decompressobj(31)),
    b"\x78\x01": ("zlib", lambda: zlib.decompressobj(15)),
    b"\x78\x5e": ("zlib", lambda: zlib.decompressobj(15)),
    b"\x78\x9c": ("zlib", lambda: zlib.decompressobj(15)),
    b"\x78\xda": ("zlib", lambda: zlib.decompressobj(15)),
    b"BZh": ("bz2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\x00": ("xz", lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)),
    b"\x5d\x00\x00": ("lzma", lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)),
    b"\x04\x22\x4d\x18": ("lz4", None),
    b"ZF": ("joblib before 0.10", None),
}


def compression(head: bytes) -> str:
    """`gzip`, `zlib`, `bz2`, `xz`, `lzma`, `lz4`, or "" for a file that is not compressed."""
    return next((name for magic, (name, _) in _MAGIC.items() if head.startswith(magic)), "")


class Stream:
    """Sequential bytes of a file, inflated where it is compressed; a context manager.

    Args:
        path: the file.
        limit: bytes that may be read from it, inflated.

    Raises:
        InvalidError: a damaged compressed file, or one that was cut off.
        RefusedError: a compression that is not read, or a bomb.
    """

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.name = path.name
        self.size = path.stat().st_size
        self._limit = limit
        self._file: BinaryIO = path.open("rb")
        self.compression = compression(self._file.read(8))
        self._file.seek(0)
        self._inflater = self._start(self.compression)
        self._buffer = bytearray()
        self._given = 0  # bytes handed out
        self._inflated = 0  # bytes that came out of the decompressor

    def _start(self, kind: str) -> _Decompressor | None:
        start = next((make for name, make in _MAGIC.values() if name == kind), None)
        if kind and start is None:
            self._file.close()
            raise RefusedError(
                f"{self.name}: compressed by {kind}, which is not read; save it again with "
                "joblib.dump(model, file, compress=3)"
            )
        return start() if start else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def at_most(self) -> int:
        """An upper bound of the bytes that are still to come."""
        if self._inflater is None:
            return max(0, min(self.size, self._limit) - self._given)
        return max(0, self._limit - self._given)

    def tell(self) -> int:
        """Bytes handed out so far."""
        return self._given

    def read(self, count: int = -1) -> bytes:
        """Up to `count` bytes; fewer only at the end."""
        wanted = self.at_most if count < 0 else min(count, self.at_most)
        if self._inflater is None:
            data = self._file.read(wanted)
        else:
            self._fill(wanted)
            data = bytes(self._buffer[:wanted])
            del self._buffer[:wanted]
        self._given += len(data)
        return data

    def leftover(self) -> bool:
        """Whether anything follows what `read` gave: in the file, or behind compressed data."""
        if self.read(1):
            return True
        behind = getattr(self._inflater, "unused_data", b"")
        return bool(behind) or bool(self._file.read(1))

    def readinto(self, target: bytearray | memoryview) -> int:
        """Fill `target`; fewer bytes only at the end."""
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)

    def readline(self) -> bytes:
        """Up to and with the next newline, within what may be read."""
        if self._inflater is None:
            data = self._file.readline(self.at_most)
            self._given += len(data)
            return data
        while (end := self._buffer.find(b"\n")) < 0:
            before = len(self._buffer)
            self._fill(before + _CHUNK)
            if len(self._buffer) == before:
                break
        return self.read(end + 1 if end >= 0 else len(self._buffer))

    def _fill(self, wanted: int) -> None:
        while len(self._buffer) < wanted and self._inflater and not _ended(self._inflater):
            piece = self._inflate(self._inflater)
            if not piece:
                if _ended(self._inflater):
                    return
                raise InvalidError(f"{self.name}: the compressed data ends too early")
            self._buffer += piece
            self._inflated += len(piece)
            if self._inflated > max(_BOMB_FLOOR, self.size * _BOMB_RATIO):
                raise RefusedError(
                    f"{self.name}: {self.size} bytes inflate to more than {_BOMB_RATIO} times as "
                    "many: a decompression bomb"
                )

    def _inflate(self, inflater: _Decompressor) -> bytes:
        """The next piece; empty when the file has ended before its compressed data has."""
        try:
            while not _ended(inflater):
                rest: bytes = getattr(inflater, "unconsumed_tail", b"")
                data = rest or (self._file.read(_CHUNK) if _hungry(inflater) else b"")
                piece = inflater.decompress(data, _CHUNK)
                if piece:
                    return piece
                if not data and _hungry(inflater):
                    return b""
        except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
            raise InvalidError(f"{self.name}: damaged {self.compression} data ({error})") from error
        return b""


def _hungry(inflater: _Decompressor) -> bool:
    return bool(getattr(inflater, "needs_input", True))


def _ended(inflater: _Decompressor) -> bool:
    return inflater.eof
