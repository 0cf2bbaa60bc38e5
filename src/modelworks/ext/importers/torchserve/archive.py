"""Unpacks a model archive: zip, compressed tar or folder, with nothing in it but plain files."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.ext.importers import archives
from modelworks.ext.importers.reasons import disk_is_full, reason

MAR, TGZ, FOLDER = "torchserve-mar", "torchserve-tgz", "torchserve-folder"
FORMATS = (MAR, TGZ, FOLDER)

MANIFEST = "MAR-INF/MANIFEST.json"
_ZIP, _GZIP = b"PK\x03\x04", b"\x1f\x8b"
_MEMBERS = 10_000
_LARGEST = 4 << 30
_RATIO, _FLOOR = 200, 64 << 20
_LOOK = 256 << 20  # bytes of a tar archive that are looked through for its manifest
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError,
    NotImplementedError, RuntimeError, KeyError,
)  # fmt: skip


def kind_of(path: Path) -> str | None:
    """The format; None = no archive of TorchServe's. Never raises."""
    try:
        if path.is_dir():
            return FOLDER if (path / MANIFEST).is_file() else None
        with path.open("rb") as file:
            head = file.read(4)
        if head == _ZIP:
            with zipfile.ZipFile(path) as archive:
                return MAR if MANIFEST in archive.namelist() else None
        if head.startswith(_GZIP) and path.name.endswith((".tar.gz", ".tgz")):
            return TGZ if _tar_has_manifest(path) else None
    except _DAMAGE:
        return MAR if path.suffix == ".mar" else None
    return MAR if path.suffix == ".mar" else None


def _tar_has_manifest(path: Path) -> bool:
    with tarfile.open(path, "r|gz") as archive:
        for count, member in enumerate(archive):
            if _below_top(member.name) == MANIFEST:
                return True
            if count > _MEMBERS or member.offset_data > _LOOK:
                return False
    return False


def _below_top(name: str) -> str:
    """A tar archive holds one folder, called as the model."""
    return name.partition("/")[2]


@contextmanager
def unpacked(path: Path, into: Path) -> Iterator[Path]:
    """The archive's files in a folder; a folder is taken as it is.

    Args:
        path: the archive.
        into: an empty folder.

    Raises:
        InvalidError: damaged, or no manifest in it.
        RefusedError: members that climb out, links, special files, or a bomb.
    """
    if path.is_dir():
        folder = path
    elif not path.is_file():
        raise InvalidError(f"{path.name}: no such file", field="file")
    elif _is_gzip(path):
        folder = _untar(path, into)
    else:
        folder = _unzip(path, into)
    if not (folder / MANIFEST).is_file():
        raise InvalidError(
            f"{path.name}: no {MANIFEST} in it: torch-model-archiver writes one", field="file"
        )
    yield folder


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _unzip(path: Path, into: Path) -> Path:
    with archives.check(path) as archive:
        members = archive.infolist()
        if len(members) > _MEMBERS:
            raise _refused(path, f"has {len(members)} members")
        for member in members:
            if (member.external_attr >> 16) & 0o170000 not in {0, 0o100000, 0o040000}:
                raise _refused(path, f"has a link or special file ({member.filename[:80]!r})")
        _bounded(path, sum(member.file_size for member in members))
        try:
            archive.extractall(into)  # noqa: S202 - every name was checked by `archives`
        except _DAMAGE as error:
            if disk_is_full(error):
                raise
            raise _damaged(path, error) from error
    return into


def _untar(path: Path, into: Path) -> Path:
    """The one folder in a compressed tar archive."""
    tops: set[str] = set()
    total = count = 0
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                count, total = count + 1, total + member.size
                name = _checked(path, member)
                tops.add(name.parts[0])
                if count > _MEMBERS:
                    raise _refused(path, f"has more than {_MEMBERS} members")
                _bounded(path, total)
                _extract(archive, member, into / name)
    except (InvalidError, MemoryError):
        raise
    except _DAMAGE as error:
        if disk_is_full(error):
            raise
        raise _damaged(path, error) from error
    if len(tops) != 1:
        raise InvalidError(
            f"{path.name}: one folder is wanted in it, not {len(tops)}", field="file"
        )
    return into / tops.pop()


def _checked(path: Path, member: tarfile.TarInfo) -> PurePosixPath:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or not name.parts:
        raise _refused(path, f"has a member that climbs out of its folder ({member.name[:80]!r})")
    if not (member.isreg() or member.isdir()):
        raise _refused(path, f"has a link or special file ({member.name[:80]!r})")
    return name


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    if content is not None:
        with target.open("xb") as file:
            shutil.copyfileobj(content, file)


def _bounded(path: Path, total: int) -> None:
    if total > min(_LARGEST, max(_FLOOR, _RATIO * path.stat().st_size)):
        raise RefusedError(
            f"{path.name}: {path.stat().st_size} bytes inflate to {total} or more: a "
            "decompression bomb",
            field="file",
        )


def _refused(path: Path, what: str) -> RefusedError:
    return RefusedError(
        f"{path.name}: the archive {what}, as no archiver writes it: nothing was executed",
        field="file",
    )


def _damaged(path: Path, error: BaseException) -> InvalidError:
    return InvalidError(
        f"{path.name}: truncated or damaged archive ({reason(error)})", field="file"
    )
