"""A layer: a tar of files whose bytes depend on nothing but them (image-spec, layer.md).

Entries are sorted, belong to whom they are said to, have one time, and every folder stands before
what is in it. gzip's header holds neither name nor time.
"""

import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, Protocol, cast

from modelworks.core.errors import InvalidError
from modelworks.packaging.oci.descriptor import LAYER, Descriptor
from modelworks.packaging.oci.temporary import temporary

_LEVEL: Final = 6
_FOLDER: Final = 0o755


class Content(Protocol):
    """Bytes that are read while they are written, so that no layer has to fit into memory."""

    @property
    def size(self) -> int:
        """How many."""
        ...

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Read them; whoever opened it has read all of them when it is closed."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a layer.

    Attributes:
        path: in the image, absolute (`/opt/modelworks/served.json`).
        source: a file whose content it has; None with `data`, `content`, `link` or a folder.
        data: its content.
        content: the same, from elsewhere.
        link: what a symbolic link says.
        mode: permission bits; a folder's where there is no content.
        owner: user and group.
    """

    path: str
    source: Path | None = None
    data: bytes | None = None
    content: Content | None = None
    link: str = ""
    mode: int = 0o644
    owner: int = 0

    @property
    def folder(self) -> bool:
        """Whether it has no content and points nowhere."""
        contents = (self.source, self.data, self.content)
        return not self.link and all(one is None for one in contents)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that was written.

    Attributes:
        descriptor: of the compressed tar.
        diff_id: digest of the tar itself: what a config lists.
        path: where it lies.
    """

    descriptor: Descriptor
    diff_id: str
    path: Path


def tree(folder: Path, at: str, *, owner: int = 0) -> Iterable[Entry]:
    """Everything in a folder, as it is to stand at `at`; only whether one may run a file is kept.

    Raises:
        InvalidError: a device, socket or pipe is in it.
    """
    for path in sorted(folder.rglob("*")):
        name = str(PurePosixPath(at) / path.relative_to(folder).as_posix())
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind):
            yield Entry(name, link=str(path.readlink()), mode=0o777, owner=owner)
        elif stat.S_ISDIR(kind):
            yield Entry(name, mode=_FOLDER, owner=owner)
        elif stat.S_ISREG(kind):
            yield Entry(name, path, mode=0o755 if kind & 0o111 else 0o644, owner=owner)
        else:
            raise InvalidError(f"{path} is neither file, folder nor link: no layer can hold it")


def write_layer(entries: Iterable[Entry], into: Path, time: int = 0) -> Layer:
    """Write a layer into the folder `into`, under its digest.

    Args:
        entries: in any order; folders that are not among them are made, of mode 755.
        into: exists.
        time: seconds since 1970 of every entry.

    Raises:
        InvalidError: a path that is not absolute, leaves the image, or stands twice.
        CorruptError: a content is not what it should be; nothing stays.
        OSError: a source cannot be read, or the disk is full; nothing stays.
    """
    every = _complete(entries)
    with temporary(into, "layer") as beside:
        with beside.open("wb") as file:
            counted = _Digest(file)
            with gzip.GzipFile("", "wb", _LEVEL, counted, mtime=0) as packed:
                plain = _Digest(packed)
                with tarfile.open(
                    fileobj=cast("IO[bytes]", plain), mode="w", format=tarfile.PAX_FORMAT
                ) as tar:
                    for entry in every:
                        _add(tar, entry, time)
            file.flush()
            os.fsync(file.fileno())
        path = into / counted.hex
        beside.replace(path)
    descriptor = Descriptor(LAYER, f"sha256:{counted.hex}", counted.size)
    return Layer(descriptor, f"sha256:{plain.hex}", path)


class _Digest:
    """A file that remembers the digest of what went through it."""

    def __init__(self, into: Any) -> None:
        self._into = into
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def hex(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: Any) -> int:
        self._digest.update(data)
        self.size += len(data)
        self._into.write(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._into.flush()


def _complete(entries: Iterable[Entry]) -> list[Entry]:
    """Sorted, with every folder above."""
    found: dict[str, Entry] = {}
    for entry in entries:
        path = PurePosixPath(entry.path)
        if not path.is_absolute() or ".." in path.parts or len(path.parts) == 1:
            raise InvalidError(f"'{entry.path}' is no path within an image")
        name = str(path)[1:]
        if name in found:
            raise InvalidError(f"'{entry.path}' stands twice in a layer")
        found[name] = entry
    for name in list(found):
        for parent in list(PurePosixPath(name).parents)[:-1]:
            above = found.setdefault(str(parent), Entry(f"/{parent}", mode=_FOLDER))
            if not above.folder:
                raise InvalidError(f"'/{parent}' is a file, and '/{name}' would lie in it")
    return [found[name] for name in sorted(found, key=lambda n: n.split("/"))]


def _add(tar: tarfile.TarFile, entry: Entry, time: int) -> None:
    info = tarfile.TarInfo(str(PurePosixPath(entry.path))[1:])
    info.mtime = time
    info.mode = entry.mode
    info.uid = info.gid = entry.owner
    if entry.link:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
        tar.addfile(info)
    elif entry.data is not None:
        info.size = len(entry.data)
        tar.addfile(info, BytesIO(entry.data))
    elif entry.source is not None:
        with entry.source.open("rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            tar.addfile(info, file)
    elif entry.content is not None:
        info.size = entry.content.size
        with entry.content.open() as file:
            tar.addfile(info, file)
    else:
        info.type = tarfile.DIRTYPE
        info.mode = entry.mode if entry.mode & 0o111 else _FOLDER
        tar.addfile(info)
