"""Looks into a `.keras` archive: which members it has, and that they stay inside and small."""

import io
import json
import zipfile
from pathlib import Path, PurePosixPath

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.ext.importers.keras import hdf5
from modelworks.ext.importers.keras.files import CONFIG, DAMAGE, METADATA

_MEMBERS, _LARGEST, _FLOOR, _RATIO = 10_000, 8 << 30, 64 << 20, 200
_TEXT = 64 << 20
_LINK = 0o120000


def config_of(path: Path) -> tuple[bytes, dict[str, str]]:
    """The configuration of a whole model, and what its metadata says; everything else is checked.

    Raises:
        InvalidError: damaged, or no such archive.
        RefusedError: members that climb out, stand twice, or unpack to more than any model.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _bounded(path.name, archive.infolist())
            config = archive.read(CONFIG)
            metadata = archive.read(METADATA) if METADATA in archive.namelist() else b"{}"
            for name in archive.namelist():
                if name.endswith(".weights.h5"):
                    weights = io.BytesIO(archive.read(name))
                    hdf5.attributes(weights, f"{path.name}/{name}")
            facts = json.loads(metadata)
    except (InvalidError, MemoryError):
        raise
    except DAMAGE as error:
        what = str(error)[:120] or type(error).__name__
        raise InvalidError(
            f"{path.name}: truncated or no Keras archive ({' '.join(what.split())})", field="file"
        ) from error
    if not isinstance(facts, dict):
        facts = {}
    return config, {str(k): str(v)[:100] for k, v in facts.items()}


def _bounded(file: str, members: list[zipfile.ZipInfo]) -> None:
    total, seen = 0, set()
    if len(members) > _MEMBERS:
        raise RefusedError(f"{file}: more than {_MEMBERS} members", field="file")
    for member in members:
        name = PurePosixPath(member.filename)
        shown = "".join(c if c.isprintable() else "?" for c in member.filename[:80])
        if name.is_absolute() or ".." in name.parts or "\\" in member.filename:
            raise RefusedError(f"{file}: the member '{shown}' climbs out of it", field="file")
        if (member.external_attr >> 16) & 0o170000 == _LINK:
            raise RefusedError(f"{file}: the member '{shown}' is a link", field="file")
        if member.filename in seen:
            raise RefusedError(f"{file}: the member '{shown}' stands twice", field="file")
        if member.flag_bits & 1:
            raise RefusedError(f"{file}: the member '{shown}' is encrypted", field="file")
        seen.add(member.filename)
        total += member.file_size
        packed = max(member.compress_size, 1)
        if total > _LARGEST or (member.file_size > _FLOOR and member.file_size > _RATIO * packed):
            raise RefusedError(
                f"{file}: '{shown}' unpacks to {member.file_size} bytes from {packed}", field="file"
            )
        if member.filename in {CONFIG, METADATA} and member.file_size > _TEXT:
            raise RefusedError(f"{file}: '{shown}' is longer than any model's", field="file")
