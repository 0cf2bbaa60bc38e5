"""Recognises Keras's and TensorFlow's files, light: no framework, nothing unpacked."""

import mmap
import struct
import zipfile
import zlib
from enum import StrEnum
from pathlib import Path

ZIP = b"PK\x03\x04"
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, OSError,
    EOFError, ValueError, KeyError,
)  # fmt: skip
"""What zipfile raises over a damaged archive, depending on where the damage is."""
CONFIG, METADATA = "config.json", "metadata.json"
_WEIGHTS = {"model.weights.h5", "model.weights.json", METADATA}
HDF5 = b"\x89HDF\r\n\x1a\n"
_GRAPHS = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")
_NAMES = {".keras", ".h5", ".hdf5"}


class Format(StrEnum):
    """What a file is."""

    ARCHIVE = "keras-v3"
    HDF5 = "keras-h5"
    SAVED_MODEL = "tf-savedmodel"


def recognise(path: Path) -> tuple[Format, int] | None:
    """The format and how sure it is, of 100; None = none of ours. Never raises."""
    try:
        if path.is_dir():
            there = any((path / name).is_file() for name in _GRAPHS)
            return (Format.SAVED_MODEL, 90) if there else None
        with path.open("rb") as file:
            head = file.read(len(HDF5))
            if head == HDF5:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                    ours = whole.find(b"model_config") >= 0 or whole.find(b"keras_version") >= 0
                return Format.HDF5, 100 if ours else 40
    except (OSError, ValueError):
        return None
    if _is_archive(path):
        return Format.ARCHIVE, 100
    if path.suffix in _NAMES and head.startswith(ZIP):
        return Format.ARCHIVE, 45
    return None


def _is_archive(path: Path) -> bool:
    """Whether this is a zip archive with Keras's own members. Never raises."""
    try:
        with path.open("rb") as file:
            if file.read(4) != ZIP:
                return False
            with zipfile.ZipFile(file) as archive:
                names = set(archive.namelist())
    except DAMAGE:
        return False
    return CONFIG in names and bool(_WEIGHTS & names)
