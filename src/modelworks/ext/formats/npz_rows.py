"""Rows in an npz file, read piece by piece: calibration data may be larger than memory."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from modelworks.core.errors import InvalidError


@dataclass(frozen=True, slots=True)
class _Column:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def take(self, stream: IO[bytes], rows: int) -> Any:
        """The next rows of it."""
        count = rows * int(np.prod(self.shape[1:], dtype=np.int64))
        data = stream.read(count * self.dtype.itemsize)
        if len(data) != count * self.dtype.itemsize:
            raise EOFError
        return np.frombuffer(data, self.dtype).reshape(rows, *self.shape[1:])


class NpzRows:
    """The rows of some arrays of an npz file.

    Args:
        file: of it.
        names: arrays that are read, all with the same first axis; others are passed over.
        most: rows that are given, evenly spread over the file.

    Attributes:
        count: of rows that are given.

    Raises:
        InvalidError: no such file, damaged, an array is missing, or their lengths differ.
    """

    def __init__(self, file: Path, names: Sequence[str], most: int | None = None) -> None:
        self._file = file
        self._columns = {name: self._column(name) for name in names}
        counts = {column.shape[0] for column in self._columns.values()}
        if len(counts) != 1:
            raise self._wrong(f"its arrays have {', '.join(map(str, sorted(counts)))} rows")
        self._held = counts.pop()
        if not self._held:
            raise self._wrong("it has no rows")
        self._every = max(1, -(-self._held // (most or self._held)))
        self.count = -(-self._held // self._every)

    def batches(self, rows: int) -> Iterator[dict[str, Any]]:
        """All rows in their order, so many at a time; the last ones may be fewer.

        Raises:
            InvalidError: the file is cut short.
        """
        try:
            with zipfile.ZipFile(self._file) as archive:
                streams = {name: archive.open(f"{name}.npy") for name in self._columns}
                for name, stream in streams.items():
                    _header(stream, name)
                step = rows * self._every
                for start in range(0, self._held, step):
                    size = min(step, self._held - start)
                    found = {n: c.take(streams[n], size) for n, c in self._columns.items()}
                    yield {name: values[:: self._every] for name, values in found.items()}
        except (OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
            raise self._wrong("it is damaged or cut short") from error

    def first(self, rows: int) -> dict[str, Any]:
        """So many rows from the beginning."""
        return next(self.batches(rows))

    def _column(self, name: str) -> _Column:
        try:
            with zipfile.ZipFile(self._file) as archive, archive.open(f"{name}.npy") as stream:
                return _header(stream, name)
        except KeyError:
            raise self._wrong(f"it has no array '{name[:60]}'") from None
        except (OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
            raise self._wrong(f"'{name[:60]}' cannot be read from it") from error

    def _wrong(self, what: str) -> InvalidError:
        return InvalidError(
            f"the calibration rows in {self._file.name}: {what}", field="calibration"
        )


def _header(stream: IO[bytes], name: str) -> _Column:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_column, dtype = read(stream)
    if dtype.hasobject or not shape or (by_column and len(shape) > 1):
        raise ValueError(f"array {name} is not plain numbers in rows")
    return _Column(dtype, shape)
