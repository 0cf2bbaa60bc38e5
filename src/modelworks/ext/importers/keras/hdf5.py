"""Looks through an HDF5 file without reading its numbers: links, storage, filters and sizes."""

from pathlib import Path
from typing import Any, BinaryIO, Final

import h5py

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.ext.importers.reasons import reason

MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_DEEP, _MANY = 64, 200_000
_LARGEST = 8 << 30  # bytes of all datasets together, unpacked
_FLOOR, _RATIO = 64 << 20, 1000
# Filters that are built into the library; others are machine code that it would look for.
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset",
            32000: "lzf"}  # fmt: skip


def attributes(source: Path | BinaryIO, where: str) -> dict[str, str]:
    """Look through the file; the text attributes of its root group.

    Args:
        source: a file, or an open one.
        where: its name, for messages.

    Raises:
        InvalidError: damaged, or no HDF5 file.
        RefusedError: it points outside itself, or unpacks to more than any model.
    """
    try:
        with h5py.File(source, "r") as file:
            _Walk(where).group(file, "", 0)
            return {
                name: _text(file.attrs[name])
                for name in ("model_config", "training_config", "keras_version", "backend")
                if name in file.attrs
            }
    except (InvalidError, MemoryError):
        raise
    except Exception as error:  # h5py raises whatever the C library reports
        raise InvalidError(f"{where}: damaged HDF5 file ({reason(error)})", field="file") from error


class _Walk:
    """Every object once; hard links may go in circles."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._seen: set[Any] = set()
        self._bytes = 0

    def group(self, group: Any, path: str, depth: int) -> None:
        if depth > _DEEP:
            raise self._refused("groups nested too deeply")
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                kind = "a link to another file" if isinstance(link, h5py.ExternalLink) else "a link"
                raise self._refused(f"'{path}/{name[:80]}' is {kind}, which no Keras file has")
            found = group[name]
            info = h5py.h5o.get_info(found.id)
            key = (info.fileno, info.addr)
            if key in self._seen:
                continue
            self._seen.add(key)
            if len(self._seen) > _MANY:
                raise self._refused("more objects than any model has")
            if isinstance(found, h5py.Group):
                self.group(found, f"{path}/{name[:80]}", depth + 1)
            elif isinstance(found, h5py.Dataset):
                self._dataset(found, f"{path}/{name[:80]}")

    def _dataset(self, dataset: Any, path: str) -> None:
        if dataset.external or dataset.is_virtual:
            raise self._refused(f"'{path}' keeps its data in another file")
        if dataset.dtype.kind not in "biufcSO" and dataset.dtype.names is None:
            raise self._refused(f"'{path}' holds {dataset.dtype}, which no Keras file has")
        if dataset.dtype.kind == "O" and h5py.check_string_dtype(dataset.dtype) is None:
            raise self._refused(f"'{path}' holds references, which no Keras file has")
        properties = dataset.id.get_create_plist()
        for index in range(properties.get_nfilters()):
            number = properties.get_filter(index)[0]
            if number not in _FILTERS:
                raise self._refused(f"'{path}' wants filter {number}, which is none of HDF5's own")
        size, stored = int(dataset.nbytes), int(dataset.id.get_storage_size())
        self._bytes += size
        if self._bytes > _LARGEST or (size > _FLOOR and size > _RATIO * max(stored, 1)):
            raise self._refused(
                f"'{path}' unpacks to {size} bytes from {stored}: a bomb, or a file cut off"
            )

    def _refused(self, what: str) -> RefusedError:
        text = "".join(c if c.isprintable() else "?" for c in what)
        return RefusedError(f"{self._where}: {text}", field="file")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return str(value)
