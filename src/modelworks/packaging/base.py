"""The image below ours, from wherever it lies: a folder, a file, a registry."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from modelworks.core.errors import CorruptError, InvalidError, NotFoundError
from modelworks.packaging.bytecode import WORK
from modelworks.packaging.oci import Descriptor, Image, Layout, Registry, parse, read_image
from modelworks.packaging.oci.descriptor import CONFIG, LAYER, MANIFEST, canonical
from modelworks.packaging.oci.layout import BLOBS, INDEX_FILE

_SAVED: Final = "manifest.json"  # of `docker save`
_PLAIN: Final = "application/vnd.oci.image.layer.v1.tar"
_GZIP: Final = b"\x1f\x8b"
_LARGEST: Final = 8 << 20  # of a document


def bring(
    source: str, layout: Layout, names: Path | None = None, say: Callable[[str], None] | None = None
) -> Image:
    """The image of a source, all of it in `layout` afterwards.

    Args:
        source: an OCI layout's folder (`DIR`, `DIR:NAME`), a file of `docker save`, skopeo or
            ourselves, or a registry's reference.
        layout: of this machine.
        names: the file that `docker login` writes.
        say: told what takes its time.

    Raises:
        NotFoundError: nothing is there, or nothing for this platform.
        InvalidError: it is no image, or the registry refuses us.
        UnavailableError: the registry cannot be reached.
        CorruptError: bytes are not what they should be.
    """
    path, name = _place(source)
    if path is None:
        if source.startswith(("/", "./", "../", "~")):
            raise NotFoundError(f"nothing lies at {source}", field="base")
        return _from_registry(source, layout, names, say)
    if path.is_dir():
        return _from_layout(Layout.open(path), name, layout)
    return _from_archive(path, layout)


def called(source: str) -> str:
    """What an image says that its base is called; empty = it lay on this machine."""
    return source if _place(source)[0] is None else ""


def _place(source: str) -> tuple[Path | None, str]:
    """The folder or file that a source is, and the name in it; None = a reference."""
    if Path(source).exists():
        return Path(source), ""
    folder, colon, name = source.rpartition(":")
    return (Path(folder), name) if colon and folder and Path(folder).is_dir() else (None, "")


def _from_registry(
    source: str, layout: Layout, names: Path | None, say: Callable[[str], None] | None
) -> Image:
    reference = parse(source)
    if reference.digest and source in layout.names():
        found = read_image(layout, source)
        if all(map(layout.holds, found.layers)):
            return found
    if say is not None:
        say(f"fetching {source}")
    return Registry(reference, names).pull(layout)


def _from_layout(there: Layout, name: str, layout: Layout) -> Image:
    image = read_image(there, name)
    for blob in (image.descriptor, image.configuration, *image.layers):
        if not layout.holds(blob):
            with _blob(there, blob) as file:
                layout.add_file(file, blob.media_type, blob.digest)
    return image


def _blob(there: Layout, blob: Descriptor) -> IO[bytes]:
    try:
        return there.path(blob).open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"{there.folder} holds no layer {blob.digest}") from None


def _from_archive(path: Path, layout: Layout) -> Image:
    try:
        with tarfile.open(path) as tar:
            members = {str(PurePosixPath(one.name)): one for one in tar.getmembers()}
            if INDEX_FILE in members:
                return _oci(tar, members, layout, path)
            if _SAVED in members:
                return _saved(tar, members, layout, path)
    except tarfile.TarError as error:
        raise InvalidError(f"{path} is no archive: {error}", field="base") from None
    raise InvalidError(
        f"{path} is no image: it has neither {INDEX_FILE} nor {_SAVED}; `docker save` and "
        "`skopeo copy ... oci-archive:FILE` write such files",
        field="base",
    )


def _oci(
    tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], layout: Layout, path: Path
) -> Image:
    """By way of a layout beside ours, whose index is that of the file."""
    aside = layout.folder / f"{WORK}{path.stat().st_ino:x}"
    shutil.rmtree(aside, ignore_errors=True)
    there = Layout.create(aside)
    try:
        for name, info in members.items():
            if info.isfile() and PurePosixPath(name).parent == PurePosixPath(BLOBS):
                there.add_file(_open(tar, info), "", f"sha256:{PurePosixPath(name).name}")
        (aside / INDEX_FILE).write_bytes(_document(tar, members, INDEX_FILE, path))
        return _from_layout(there, "", layout)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _saved(
    tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], layout: Layout, path: Path
) -> Image:
    """An engine's own format: layers by path, in the order of the configuration."""
    listed = _json(_document(tar, members, _SAVED, path), path)
    if not isinstance(listed, list) or len(listed) != 1:
        raise InvalidError(f"{path} holds several images: save one of them", field="base")
    try:
        data = _document(tar, members, str(listed[0]["Config"]), path)
        config = _json(data, path)
        diff_ids = [str(one) for one in config["rootfs"]["diff_ids"]]
        layers = [
            _layer(tar, members, str(name), diff_id, layout, path)
            for name, diff_id in zip(listed[0]["Layers"], diff_ids, strict=True)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidError(f"{path} is no image of `docker save`: {error}", field="base") from None
    written = layout.add(data, CONFIG)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": written.document(),
        "layers": [one.document() for one in layers],
    }
    descriptor = layout.add(canonical(manifest), MANIFEST)
    return Image(descriptor, written, config, tuple(layers))


def _layer(
    tar: tarfile.TarFile,
    members: dict[str, tarfile.TarInfo],
    name: str,
    diff_id: str,
    layout: Layout,
    path: Path,
) -> Descriptor:
    info = _member(members, name, path)
    if info.issym():  # the same layer twice, as older engines write it
        info = _member(members, str(PurePosixPath(name).parent / info.linkname), path)
    packed = _open(tar, info).read(2) == _GZIP
    return layout.add_file(_open(tar, info), LAYER if packed else _PLAIN, "" if packed else diff_id)


def _member(members: dict[str, tarfile.TarInfo], name: str, path: Path) -> tarfile.TarInfo:
    parts: list[str] = []
    for part in PurePosixPath(name).parts:
        if part == "..":
            parts[-1:] = []
        else:
            parts.append(part)
    found = members.get("/".join(parts))
    if found is None:
        raise CorruptError(f"{path} lacks '{name}': it was cut off, or is no image")
    return found


def _open(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    if file is None:
        raise InvalidError(f"'{info.name}' of the archive is no file", field="base")
    return file


def _document(
    tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], name: str, path: Path
) -> bytes:
    info = _member(members, name, path)
    if info.size > _LARGEST:
        raise InvalidError(f"{path}: '{name}' has {info.size:,} bytes, which is no document")
    return _open(tar, info).read()


def _json(data: bytes, path: Path) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise InvalidError(f"{path} is no image: {error}", field="base") from None
