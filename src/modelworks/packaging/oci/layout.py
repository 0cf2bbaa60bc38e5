"""A folder of blobs by digest, with an index of what they are (image-spec, image-layout.md)."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from modelworks.core.digest import of_bytes
from modelworks.core.errors import CorruptError, InvalidError, NotFoundError
from modelworks.packaging.oci.descriptor import (
    INDEX,
    INDEXES,
    MANIFESTS,
    Descriptor,
    Platform,
    canonical,
)
from modelworks.packaging.oci.layer import Entry, Layer, write_layer

REF_NAME: Final = "org.opencontainers.image.ref.name"
MARK: Final = "oci-layout"
VERSION: Final = {"imageLayoutVersion": "1.0.0"}
INDEX_FILE: Final = "index.json"
BLOBS: Final = Path("blobs", "sha256")
_LARGEST: Final = 8 << 20  # bytes of a manifest or configuration


class Layout:
    """One folder of images.

    Args:
        folder: of it; `create` and `open` make sure that it is one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / BLOBS

    @classmethod
    def create(cls, folder: Path) -> Self:
        """A layout at `folder`, which may be one already.

        Raises:
            InvalidError: something else lies there.
        """
        if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
            raise InvalidError(f"{folder} is not empty, and no OCI layout")
        made = cls(folder)
        made.blobs.mkdir(parents=True, exist_ok=True)
        if not (folder / INDEX_FILE).exists():
            made._write(INDEX_FILE, index_of([]))
        made._write(MARK, canonical(VERSION))
        return made

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The layout at `folder`.

        Raises:
            InvalidError: it is none.
        """
        try:
            version = json.loads((folder / MARK).read_bytes())
        except (OSError, ValueError):
            raise InvalidError(f"{folder} is no OCI layout: it has no file {MARK}") from None
        if not isinstance(version, dict) or version != VERSION:
            raise InvalidError(f"{folder} is a layout of another version: {version}")
        return cls(folder)

    # -- blobs

    def path(self, descriptor: Descriptor) -> Path:
        """Where a blob lies, or would."""
        return self.blobs / descriptor.hex

    def add(self, data: bytes, media_type: str) -> Descriptor:
        """Keep a blob."""
        descriptor = Descriptor(media_type, of_bytes(data), len(data))
        if not self.path(descriptor).exists():
            self._write(str(BLOBS / descriptor.hex), data)
        return descriptor

    def add_layer(self, entries: Iterable[Entry], time: int = 0) -> Layer:
        """Make and keep a layer; see `write_layer`."""
        return write_layer(entries, self.blobs, time)

    def read(self, descriptor: Descriptor) -> bytes:
        """A manifest or a configuration.

        Raises:
            NotFoundError: it is not here.
            InvalidError: too large for one.
            CorruptError: its bytes are others.
        """
        if descriptor.size > _LARGEST:
            raise InvalidError(f"{descriptor.digest}: {descriptor.size:,} bytes are no document")
        try:
            data = self.path(descriptor).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"{self.folder} holds no blob {descriptor.digest}") from None
        if len(data) != descriptor.size or of_bytes(data) != descriptor.digest:
            raise CorruptError(f"{self.path(descriptor)} does not match its digest")
        return data

    # -- names

    def names(self) -> dict[str, Descriptor]:
        """Name -> manifest or index; what has no name is called by its digest."""
        try:
            document = json.loads((self.folder / INDEX_FILE).read_bytes())
        except (OSError, ValueError) as error:
            raise InvalidError(f"{self.folder / INDEX_FILE} cannot be read: {error}") from None
        listed = document.get("manifests") if isinstance(document, dict) else None
        where = str(self.folder / INDEX_FILE)
        found = [Descriptor.read(one, where) for one in listed or ()]
        return {one.annotations.get(REF_NAME, one.digest): one for one in found}

    def name(self, found: Descriptor, name: str, platform: Platform | None = None) -> None:
        """Call a manifest by a name; whoever had it loses it."""
        kept = {other: one for other, one in self.names().items() if other != name}
        named = Descriptor(found.media_type, found.digest, found.size, {REF_NAME: name}, platform)
        every = [one for _, one in sorted({**kept, name: named}.items())]
        self._write(INDEX_FILE, index_of(every))

    def manifest(self, name: str = "", platform: Platform | None = None) -> Descriptor:
        """The image's manifest of a name; of an index, the one for a platform.

        Args:
            name: empty = the only one there is.
            platform: None = this architecture, as `Platform()` says.

        Raises:
            NotFoundError: no such name, or nothing for that platform.
            InvalidError: no image.
            CorruptError: bytes are not what was stored.
        """
        names = self.names()
        if not name and len(names) == 1:
            name = next(iter(names))
        if name not in names:
            known = ", ".join(names) or "nothing"
            raise NotFoundError(f"{self.folder} holds no '{name}': it holds {known}")
        return self._resolved(names[name], platform or Platform(), name, 0)

    def _resolved(self, found: Descriptor, platform: Platform, name: str, depth: int) -> Descriptor:
        if found.media_type in MANIFESTS:
            return Descriptor(found.media_type, found.digest, found.size)
        if found.media_type not in INDEXES or depth > 1:
            raise InvalidError(f"'{name}' is no image: {found.media_type}")
        listed = json.loads(self.read(found)).get("manifests") or ()
        every = [Descriptor.read(one, name) for one in listed]
        for one in every:
            if one.platform in {None, platform}:
                return self._resolved(one, platform, name, depth + 1)
        has = ", ".join(
            f"{one.platform.os}/{one.platform.architecture}" for one in every if one.platform
        )
        raise NotFoundError(
            f"'{name}' has nothing for {platform.os}/{platform.architecture}: it has {has}"
        )

    def _write(self, name: str, data: bytes) -> None:
        with replacing(self.folder / name) as temporary:
            temporary.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place at once or, on an error, not."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def index_of(every: list[Descriptor]) -> bytes:
    """The bytes of an index."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [one.document() for one in every],
    }
    return canonical(document)
