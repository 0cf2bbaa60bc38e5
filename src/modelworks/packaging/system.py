"""What a base image brings, read from its layers without running it.

Its Python says which wheels fit, its C library which of them start, and its package database what
else is inside.
"""

import gzip
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import HeaderParser
from itertools import chain
from typing import IO, Final
from urllib.parse import quote

from modelworks.core import codec
from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.packaging.oci import Descriptor, Image, Layout
from modelworks.packaging.oci.descriptor import canonical
from modelworks.packaging.oci.temporary import replacing

_PYTHON: Final = re.compile(r"(?P<folder>(?:usr/)?(?:local/)?bin)/python(?P<version>3(?:\.\d+)?)")
_PACKAGES: Final = re.compile(r"var/lib/dpkg/status(?:\.d/[^/]+)?")
_RELEASE: Final = ("etc/os-release", "usr/lib/os-release")
_MUSL: Final = re.compile(r"(?:usr/)?lib/ld-musl-[^/]+\.so\.1")
_LARGEST: Final = 64 << 20  # of a package database
_FOLDERS: Final = ("usr/local/bin", "usr/bin", "bin")  # as a PATH has them
_NOTES: Final = "systems"
GLIBC: Final = (2, 28)
"""Where nothing says which: older than all distributions that are kept up."""


@dataclass(frozen=True, slots=True)
class Package:
    """One of the system's.

    Attributes:
        name: of it.
        version: of it.
        purl: its package URL.
    """

    name: str
    version: str
    purl: str


@dataclass(frozen=True, slots=True)
class System:
    """What is below our layers.

    Attributes:
        python: of `python3`, (3, 11).
        glibc: of the C library, (2, 36).
        name: `Debian GNU/Linux 12 (bookworm)`; empty = unknown.
        packages: of the distribution, by name; empty = no database that we can read.
    """

    python: tuple[int, int]
    glibc: tuple[int, int]
    name: str
    packages: tuple[Package, ...]


def look(layout: Layout, image: Image) -> System:
    """What an image brings; kept beside its layers, so that they are read once.

    Raises:
        InvalidError: it has no `python3`, or a layer that we cannot read.
        UnsupportedError: its C library is musl, for which the engines have no wheels.
    """
    note = layout.folder / _NOTES / f"{image.configuration.hex}.json"
    try:
        return codec.decode(System, json.loads(note.read_bytes()))
    except (OSError, ValueError, InvalidError):
        pass
    seen = _Seen()
    for layer in image.layers:
        with _opened(layout, layer) as tar:
            seen.read(tar)
    found = _told(seen)
    note.parent.mkdir(exist_ok=True)
    with replacing(note) as beside:
        beside.write_bytes(canonical(codec.encode(found)))
    return found


@dataclass(slots=True)
class _Seen:
    """What lies in the layers so far; a file of a higher one replaces that of a lower one."""

    pythons: dict[str, str] = field(default_factory=dict)  # path -> where a link points, or ""
    release: dict[str, bytes] = field(default_factory=dict)
    packages: dict[str, bytes] = field(default_factory=dict)
    musl: bool = False

    def read(self, tar: tarfile.TarFile) -> None:
        for info in tar:
            name = info.name.removeprefix("./").removeprefix("/")
            if _PYTHON.fullmatch(name):
                self.pythons[name] = info.linkname if info.issym() else ""
            elif _MUSL.fullmatch(name):
                self.musl = True
            elif name in _RELEASE and info.isfile():
                self.release[name] = _content(tar, info)
            elif _PACKAGES.fullmatch(name) and info.isfile():
                self.packages[name] = _content(tar, info)


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    if info.size > _LARGEST:
        raise InvalidError(f"the base's /{info.name} has {info.size:,} bytes: too many to be read")
    file = tar.extractfile(info)
    return file.read() if file is not None else b""


@contextmanager
def _opened(layout: Layout, layer: Descriptor) -> Iterator[tarfile.TarFile]:
    """A layer, read once from its beginning to its end."""
    packed = layer.media_type.endswith("gzip")
    if not packed and not layer.media_type.endswith(".tar"):
        raise InvalidError(
            f"the base's layer {layer.digest} is {layer.media_type}: only gzip and plain tar are "
            "read; make it anew with one of them",
            field="base",
        )
    with layout.path(layer).open("rb") as file:
        plain: IO[bytes] = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
        try:
            with tarfile.open(fileobj=plain, mode="r|") as tar:
                yield tar
        except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
            raise InvalidError(f"the base's layer {layer.digest}: {error}", field="base") from None


def _told(seen: _Seen) -> System:
    if seen.musl:
        raise UnsupportedError(
            "the base's C library is musl (Alpine), and the engines have no wheels for it: take a "
            "base with glibc, such as Debian's",
            field="base",
        )
    packages = tuple(_packages(seen.packages))
    libc = next((one.version for one in packages if one.name == "libc6"), "")
    found = re.match(r"(\d+)\.(\d+)", libc)
    glibc = (int(found[1]), int(found[2])) if found else GLIBC
    release = b"".join(seen.release.values()).decode(errors="replace")
    name = re.search(r'^PRETTY_NAME="?([^"\n]*)', release, re.MULTILINE)
    return System(_python(seen.pythons), glibc, name[1] if name else "", packages)


def _python(pythons: Mapping[str, str]) -> tuple[int, int]:
    """The version of the first `python3` of a PATH."""
    for folder in _FOLDERS:
        name = f"{folder}/python3"
        for _ in range(4):  # links to links
            if name not in pythons:
                break
            found = re.fullmatch(r".*/python3\.(\d+)", name)
            if found:
                return 3, int(found[1])
            link = pythons[name]
            name = link.lstrip("/") if link.startswith("/") else f"{folder}/{link}"
    raise InvalidError(
        "the base has no python3 on its PATH: take one that has, such as python:3.11-slim",
        field="base",
    )


def _packages(databases: Mapping[str, bytes]) -> Iterator[Package]:
    """What Debian's package database says (deb-control(5))."""
    every = (data.decode(errors="replace").split("\n\n") for data in databases.values())
    told = [HeaderParser().parsestr(text) for text in chain.from_iterable(every) if text.strip()]
    for one in sorted(told, key=lambda one: str(one["Package"])):
        name, version = one["Package"], one["Version"]
        if name and version and one["Status"] in {None, "install ok installed"}:
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={one['Architecture']}"
            yield Package(name, version, purl)
