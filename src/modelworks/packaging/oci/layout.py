"""A folder of blobs by digest, with an index of what they are (image-spec, image-layout.md)."""

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Final, Self

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
from modelworks.packaging.oci.temporary import replacing, temporary

REF_NAME: Final = "org.opencontainers.image.ref.name"
MARK: Final = "oci-layout"
VERSION: Final = {"imageLayoutVersion": "1.0.0"}
INDEX_FILE: Final = "index.json"
BLOBS: Final = Path("blobs", "sha256")
LAYERS: Final = "layers"  # what was made of what; other readers of layouts pass it over
_LARGEST: Final = 8 << 20  # bytes of a manifest or configuration
_BLOCK: Final = 1 << 20


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

    def add_file(self, file: IO[bytes], media_type: str, digest: str = "") -> Descriptor:
        """Keep a blob that is read piece by piece.

        Args:
            file: to its end.
            media_type: of it.
            digest: that it must have; empty = any.

        Raises:
            CorruptError: it has another.
        """
        found, size = hashlib.sha256(), 0
        with temporary(self.blobs, "blob") as beside:
            with beside.open("wb") as into:
                while block := file.read(_BLOCK):
                    found.update(block)
                    size += len(block)
                    into.write(block)
            if digest not in {"", f"sha256:{found.hexdigest()}"}:
                raise CorruptError(f"what should be {digest} has the digest {found.hexdigest()}")
            beside.replace(self.blobs / found.hexdigest())
        return Descriptor(media_type, f"sha256:{found.hexdigest()}", size)

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether a blob of that name and size is here."""
        path = self.path(descriptor)
        return path.is_file() and path.stat().st_size == descriptor.size

    def add_layer(self, entries: Iterable[Entry], time: int = 0) -> Layer:
        """Make and keep a layer; see `write_layer`."""
        return write_layer(entries, self.blobs, time)

    def layer_once(
        self, key: str, entries: Callable[[], AbstractContextManager[Iterable[Entry]]]
    ) -> Layer:
        """The layer that was made of this key, else one that is made now, of time 0.

        Args:
            key: says all that the layer depends on.
            entries: gives them, when they are needed.
        """
        note = self.folder / LAYERS / f"{of_bytes(key.encode()).removeprefix('sha256:')}.json"
        if (known := self._known(note)) is not None:
            return known
        with entries() as every:
            made = self.add_layer(every)
        note.parent.mkdir(exist_ok=True)
        with replacing(note) as beside:
            told = {**made.descriptor.document(), "diff_id": made.diff_id}
            beside.write_bytes(canonical(told))
        return made

    def _known(self, note: Path) -> Layer | None:
        """What a note says, where the layer is still here."""
        try:
            told = json.loads(note.read_bytes())
            found = Descriptor.read(told, str(note))
            diff_id = str(told["diff_id"])
        except (OSError, ValueError, KeyError, InvalidError):
            return None
        return Layer(found, diff_id, self.path(found)) if self.holds(found) else None

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


def index_of(every: list[Descriptor]) -> bytes:
    """The bytes of an index."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [one.document() for one in every],
    }
    return canonical(document)
