"""Refuses zip archives that two readers could understand in two ways.

A zip file tells twice what it holds: before each member, and in a directory at its end. Readers
differ in whom they believe, so a scanner may be shown one archive and a loader another. Frameworks
write archives in which both agree, members stand side by side, and nothing else is in the file.
"""

import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from modelworks.core.errors import InvalidError, RefusedError

MEMBERS = 100_000
_RATIO, _FLOOR = 200, 64 << 20
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_END = b"PK\x05\x06"
_ENCRYPTED, _UTF8, _DESCRIPTOR = 0x1, 0x800, 0x8
_PLAIN = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def check(path: Path) -> zipfile.ZipFile:
    """Open an archive that has one meaning only.

    Args:
        path: the archive.

    Returns:
        It, open; the caller closes it.

    Raises:
        RefusedError: encrypted, or two readers would see two archives, or members that climb out,
            or a bomb.
        InvalidError: cut off or damaged.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise InvalidError(
            f"{path.name}: truncated or damaged archive ({str(error)[:120]})", field="file"
        ) from error
    try:
        _check(path, archive)
    except BaseException:
        archive.close()
        raise
    return archive


def _check(path: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    size = path.stat().st_size
    if len(members) > MEMBERS:
        raise _refused(path, f"has {len(members)} members")
    names: set[str] = set()
    for member in members:
        folded = _name(path, member)
        if folded in names:
            raise _refused(path, f"has two members of one name ({folded[:80]})")
        names.add(folded)
    total = sum(member.file_size for member in members)
    if total > max(_FLOOR, _RATIO * size):
        raise RefusedError(
            f"{path.name}: {size} bytes inflate to {total}: a decompression bomb", field="file"
        )
    _layout(path, members, size, archive.start_dir)


def _name(path: Path, member: zipfile.ZipInfo) -> str:
    """The member's name, as a file system that ignores case would have it."""
    name = member.orig_filename
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or "\0" in name or ":" in name:
        raise _refused(path, f"has a member that climbs out of its folder ({name[:80]!r})")
    if member.flag_bits & _ENCRYPTED:
        raise _refused(path, f"has an encrypted member ({name[:80]!r})")
    if member.compress_type not in _PLAIN:
        raise _refused(path, f"has a member of an unusual compression ({name[:80]!r})")
    return name.rstrip("/").casefold()


def _layout(path: Path, members: list[zipfile.ZipInfo], size: int, directory: int) -> None:
    """Members stand one after the other from the first byte, and say what the directory says."""
    position = 0
    with path.open("rb") as file:
        for member in sorted(members, key=lambda each: each.header_offset):
            if member.header_offset < position:
                raise _refused(path, "has members that overlap")
            file.seek(member.header_offset)
            head = file.read(_LOCAL.size)
            if len(head) < _LOCAL.size:
                raise InvalidError(f"{path.name}: truncated archive", field="file")
            magic, _, flags, method, _, _, crc, packed, plain, named, extra = _LOCAL.unpack(head)
            raw = file.read(named)
            encoding = "utf-8" if flags & _UTF8 else "cp437"
            same = (
                magic == b"PK\x03\x04"
                and raw.decode(encoding, "replace") == member.orig_filename
                and method == member.compress_type
                and flags & ~_UTF8 == member.flag_bits & ~_UTF8
            )
            if not flags & _DESCRIPTOR:  # else the figures follow the contents
                wide = {0xFFFFFFFF}
                same = same and crc == member.CRC
                same = same and packed in {member.compress_size} | wide
                same = same and plain in {member.file_size} | wide
            if not same:
                raise _refused(path, "says one thing in its directory and another before a member")
            position = member.header_offset + _LOCAL.size + named + extra + member.compress_size
        if members and min(member.header_offset for member in members) != 0:
            raise _refused(path, "begins with something else than its first member")
        if position > directory:
            raise _refused(path, "has a directory inside a member")
        file.seek(max(0, size - 22))
        end = file.read(22)
        if not end.startswith(_END) or end[20:] != b"\0\0":
            raise _refused(path, "has something behind its end")


def contents(path: Path, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A member, checked against its checksum.

    Raises:
        InvalidError: damaged.
        RefusedError: longer than `limit`.
    """
    if archive.getinfo(name).file_size > limit:
        raise RefusedError(f"{path.name}: {name[:80]} is longer than {limit} bytes", field="file")
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise InvalidError(
            f"{path.name}: member {name[:80]} is damaged ({str(error)[:80]})", field="file"
        ) from error


def _refused(path: Path, what: str) -> RefusedError:
    return RefusedError(
        f"{path.name}: the archive {what}, as no framework writes it: nothing was executed",
        field="file",
    )
