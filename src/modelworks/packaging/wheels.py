"""Wheels as files of an image: unpacked, not installed, each checked against its own record.

By the binary distribution format (packaging.python.org, Binary distribution format). A wheel runs
nothing when it is installed; its programs and data outside of packages are left out, for in an
image there is one program, and `python -m` starts it.
"""

import base64
import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.parser import HeaderParser
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from modelworks.core.errors import CorruptError, InvalidError
from modelworks.packaging.oci.layer import Entry

_NAME: Final = re.compile(
    r"(?P<name>[^-]+)-(?P<version>[^-]+)(-(?P<build>\d[^-]*))?"
    r"-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl"
)
_SITE: Final = frozenset({"purelib", "platlib"})
_ALGORITHMS: Final = frozenset({"sha256", "sha384", "sha512"})
_UNSIGNED: Final = (".jws", ".p7s")
_LARGEST: Final = 2 << 30


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel.

    Attributes:
        path: of the file.
        name: as its metadata says.
        version: the same.
        license: SPDX expression or free words; empty = unknown.
        homepage: empty = unknown.
        pure: runs on every platform.
        digest: sha256 of the file, hex.
    """

    path: Path
    name: str
    version: str
    license: str
    homepage: str
    pure: bool
    digest: str

    @property
    def normalized(self) -> str:
        """The name as requirement lines and package URLs have it (PEP 503)."""
        return re.sub(r"[-_.]+", "-", self.name).lower()

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{self.normalized}@{self.version}"

    def requirement(self) -> str:
        """A line of a lock file."""
        return f"{self.normalized}=={self.version} --hash=sha256:{self.digest}"


def read_wheels(folder: Path) -> tuple[Wheel, ...]:
    """Every wheel in a folder, by name.

    Raises:
        InvalidError: none is there, one is none, or two are of the same distribution.
    """
    found = sorted(map(read_wheel, folder.glob("*.whl")), key=lambda wheel: wheel.normalized)
    if not found:
        raise InvalidError(f"{folder} holds no *.whl")
    for one, other in pairwise(found):
        if one.normalized == other.normalized:
            raise InvalidError(f"{folder} holds two wheels of {one.name}: keep one of them")
    return tuple(found)


def read_wheel(path: Path) -> Wheel:
    """What a wheel says of itself.

    Raises:
        InvalidError: no wheel.
    """
    named = _NAME.fullmatch(path.name)
    if named is None:
        raise InvalidError(f"{path.name} is not named like a wheel")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with zipfile.ZipFile(path) as archive:
            text = archive.read(f"{_info(archive)}/METADATA").decode()
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path} is no wheel: {error}") from None
    told = HeaderParser().parsestr(text)
    return Wheel(
        path,
        told["Name"] or named["name"],
        told["Version"] or named["version"],
        told["License-Expression"] or (told["License"] or "").partition("\n")[0],
        _homepage(told.get_all("Project-URL") or [], told["Home-page"] or ""),
        named["platform"] == "any",
        digest,
    )


@contextmanager
def unpacked(wheels: Iterable[Wheel], site: str) -> Iterator[list[Entry]]:
    """The files of some wheels below the folder `site` of an image; read within the context.

    Raises:
        CorruptError: a file is not what its wheel's record says; said when it is read.
        InvalidError: a wheel without a record, or with paths that leave it.
    """
    with ExitStack() as stack:
        every: list[Entry] = []
        for wheel in wheels:
            archive = stack.enter_context(zipfile.ZipFile(wheel.path))
            every += _entries(archive, wheel, site)
        yield every


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of a wheel.

    Attributes:
        archive: open.
        info: of the file.
        told: its digest, as the record writes it; empty = none is told.
        wheel: its name.
    """

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    told: str
    wheel: str

    @property
    def size(self) -> int:
        return self.info.file_size

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        algorithm, _, wanted = self.told.partition("=")
        with self.archive.open(self.info) as file:
            read = _Read(file, algorithm or "sha256")
            yield cast("IO[bytes]", read)
        found = base64.urlsafe_b64encode(read.digest.digest()).rstrip(b"=").decode()
        if wanted not in {"", found}:
            raise CorruptError(f"{self.wheel}: '{self.info.filename}' is not what its record says")


class _Read:
    """A file that remembers the digest of what was read."""

    def __init__(self, file: IO[bytes], algorithm: str) -> None:
        self._file = file
        self.digest = hashlib.new(algorithm)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _entries(archive: zipfile.ZipFile, wheel: Wheel, site: str) -> Iterator[Entry]:
    info = _info(archive)
    record = f"{info}/RECORD"
    digests = _record(archive, record, wheel)
    data = f"{info.removesuffix('.dist-info')}.data"
    for member in archive.infolist():
        path = PurePosixPath(member.filename)
        if member.is_dir():
            continue
        if path.is_absolute() or ".." in path.parts or member.file_size > _LARGEST:
            raise InvalidError(f"{wheel.path.name}: '{member.filename}' cannot lie in a wheel")
        unsigned = member.filename == record or member.filename.endswith(_UNSIGNED)
        told = "" if unsigned else digests.get(member.filename, "")
        if not unsigned and told.partition("=")[0] not in _ALGORITHMS:
            raise CorruptError(
                f"{wheel.path.name}: its record has no digest of '{member.filename}'"
            )
        if path.parts[0] == data:
            if path.parts[1] not in _SITE:
                continue
            path = PurePosixPath(*path.parts[2:])
        mode = 0o755 if member.external_attr >> 16 & 0o111 else 0o644
        content = _Member(archive, member, told, wheel.path.name)
        yield Entry(str(PurePosixPath(site) / path), content=content, mode=mode)


def _info(archive: zipfile.ZipFile) -> str:
    found = {name.split("/")[0] for name in archive.namelist()}
    infos = [name for name in found if name.endswith(".dist-info")]
    if len(infos) != 1:
        raise KeyError("it has no folder *.dist-info, or several")
    return infos[0]


def _record(archive: zipfile.ZipFile, name: str, wheel: Wheel) -> dict[str, str]:
    try:
        text = archive.read(name).decode()
    except KeyError:
        raise InvalidError(f"{wheel.path.name} has no RECORD") from None
    return {row[0]: row[1] for row in csv.reader(io.StringIO(text)) if len(row) > 1}


def _homepage(urls: list[str], fallback: str) -> str:
    lines = (line.partition(",") for line in urls)
    told = {label.strip().lower(): url.strip() for label, _, url in lines}
    for label in ("homepage", "repository", "source", "source code"):
        if label in told:
            return told[label]
    return fallback
