"""Looks into files that PyTorch writes, without PyTorch: what kind they are, and their bounds."""

import json
import lzma
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from modelworks.core.errors import InvalidError
from modelworks.ext.importers import archives
from modelworks.ext.importers.pickles.scan import names_in

ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_TAR_MAGIC, _TAR_AT = b"ustar", 257
_FLOOR = 64 << 20
_HEAD = 1 << 20
_HEADER = 100 << 20  # safetensors' own limit
DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, NotImplementedError,
    RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError,
)  # fmt: skip
"""What zipfile raises over a damaged archive, depending on where the damage is."""
_TENSORS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32,
    "F32": 32, "U64": 64, "I64": 64, "F64": 64, "F8_E4M3": 8, "F8_E5M2": 8,
}  # fmt: skip
_DATA = ("torch._utils._rebuild", "torch.", "collections.OrderedDict")


@dataclass(frozen=True, slots=True)
class Found:
    """A file of PyTorch's.

    Attributes:
        format: `torch-export`, `torch-script`, `torch-state-dict`, `torch-legacy`, `torch-tar`,
            `torch-old-export` or `safetensors`.
        root: folder inside the archive, with its slash.
        names: members of the archive.
    """

    format: str
    root: str = ""
    names: tuple[str, ...] = ()


def look(path: Path) -> Found | None:
    """What kind of file this is; None = not one of PyTorch's.

    Raises:
        DAMAGE: it cannot be read, or begins as a zip archive and is none.
    """
    with path.open("rb") as file:
        head = file.read(512)
        if head.startswith(ZIP):
            return _archive(file)
    if head.startswith(LEGACY):
        return Found("torch-legacy")
    if head[_TAR_AT : _TAR_AT + len(_TAR_MAGIC)] == _TAR_MAGIC and path.suffix in {".pt", ".pth"}:
        return Found("torch-tar")
    size = int.from_bytes(head[:8], "little")
    if len(head) > 9 and head[8:10] in {b'{"', b"{}"} and 2 <= size <= _HEADER:
        return Found("safetensors")
    return None


def _archive(file: BinaryIO) -> Found | None:
    with zipfile.ZipFile(file) as archive:
        names = tuple(archive.namelist())
    if not names or "/" not in names[0]:
        old = "serialized_exported_program.json" in names
        return Found("torch-old-export", "", names) if old else None
    root = names[0].partition("/")[0] + "/"
    inside = {name.removeprefix(root) for name in names if name.startswith(root)}
    if "archive_format" in inside and any(name.startswith("models/") for name in inside):
        return Found("torch-export", root, names)
    if "constants.pkl" in inside and "data.pkl" in inside:
        return Found("torch-script", root, names)
    if "data.pkl" in inside:
        return Found("torch-state-dict", root, names)
    return None


def kind_of(path: Path, found: Found) -> str:
    """The format, where a pickled module is told from weights; never raises."""
    if found.format != "torch-state-dict":
        return found.format
    try:
        pickled = whole_module(pickled_names(path, found))
    except (InvalidError, *DAMAGE):
        return found.format
    return "torch-module" if pickled else found.format


def check_archive(path: Path) -> None:
    """Refuse archives that are not what they seem.

    Raises:
        InvalidError: cut off or damaged.
        RefusedError: an archive of two meanings (see `archives`), or a bomb.
    """
    with archives.check(path) as archive:
        members = archive.infolist()
        try:
            total = sum(member.file_size for member in members)
            damaged = archive.testzip() if total < _FLOOR else None
        except DAMAGE as error:
            raise InvalidError(
                f"{path.name}: truncated or damaged archive ({str(error)[:120]})"
            ) from error
    if damaged is not None:
        raise InvalidError(f"{path.name}: member {damaged[:100]} is damaged")


def pickled_names(path: Path, found: Found) -> tuple[str, ...]:
    """What the pickle in a file of weights names, as far as a scan of its head can tell."""
    if found.format == "torch-legacy":
        with path.open("rb") as file:
            data = file.read(_HEAD)
        # Five pickles in a row: number, version, system, object, keys; the object names things.
        starts = (i for i in range(len(data) - 1) if data[i : i + 2] == data[:2])
        names = next(filter(None, (names_in(data[start:]) for start in starts)), ())
    else:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(f"{found.root}data.pkl") as member:
                names = names_in(member.read(_HEAD))
        except DAMAGE as error:
            raise InvalidError(
                f"{path.name}: truncated or damaged archive ({str(error)[:120]})"
            ) from error
    return names


def whole_module(names: tuple[str, ...]) -> str:
    """The class, where a file that names these holds a pickled module; otherwise ""."""
    return next((name for name in names if not name.startswith(_DATA) or ".nn." in name), "")


def check_safetensors(path: Path) -> None:
    """Check a safetensors header against the file: lengths, types, offsets, no gaps or overlaps.

    Raises:
        InvalidError: it does not describe this file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_HEADER, size - 8):
            raise InvalidError(
                f"{path.name}: its header claims {length} bytes, which the file of {size} bytes "
                "does not have"
            )
        header = file.read(length)
    try:
        entries = json.loads(header)
        spans = []
        for name, entry in entries.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            bits = _TENSORS[entry["dtype"]]
            for extent in entry["shape"]:
                bits *= _extent(extent)
            if bits != (end - begin) * 8:
                raise InvalidError(f"{path.name}: tensor {name[:80]} has a wrong length")
            spans.append((begin, end))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidError(f"{path.name}: damaged safetensors header ({error!r:.80})") from error
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise InvalidError(f"{path.name}: tensors overlap or leave gaps")
        position = end
    if position != size - 8 - length:
        raise InvalidError(
            f"{path.name}: tensors end at byte {position} of {size - 8 - length}: truncated?"
        )


def _extent(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"extent {value!r}")
    return value
