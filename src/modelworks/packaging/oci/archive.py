"""An image as one file: a tar that skopeo, containerd and `docker load` take.

It is a layout and, for engines that know none, has the `manifest.json` that `docker save` writes.
"""

import tarfile
from io import BytesIO
from pathlib import Path
from typing import Final

from modelworks.packaging.oci.descriptor import Descriptor, canonical
from modelworks.packaging.oci.image import Image
from modelworks.packaging.oci.layout import (
    BLOBS,
    INDEX_FILE,
    MARK,
    REF_NAME,
    VERSION,
    Layout,
    index_of,
)
from modelworks.packaging.oci.temporary import replacing

_MODE: Final = 0o644


def archive(layout: Layout, image: Image, name: str, into: Path) -> None:
    """Write an image as a tar, reproducibly.

    Args:
        layout: that holds it.
        image: which.
        name: with its tag: `registry.example.com/models/fraud:1.4.0`.
        into: the file; replaced at once or not at all.

    Raises:
        OSError: a blob is not there, or the disk is full.
    """
    own = image.descriptor
    config = image.configuration
    named = Descriptor(own.media_type, own.digest, own.size, {REF_NAME: name}, image.platform)
    docker = {
        "Config": str(BLOBS / config.hex),
        "RepoTags": [name],
        "Layers": [str(BLOBS / layer.hex) for layer in image.layers],
    }
    documents = {
        MARK: canonical(VERSION),
        INDEX_FILE: index_of([named]),
        "manifest.json": canonical([docker]),
    }
    blobs = {one.digest: one for one in (own, config, *image.layers)}
    with (
        replacing(into) as temporary,
        tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, data in sorted(documents.items()):
            tar.addfile(_info(path, len(data)), BytesIO(data))
        for _, blob in sorted(blobs.items()):
            with layout.path(blob).open("rb") as file:
                tar.addfile(_info(str(BLOBS / blob.hex), blob.size), file)


def _info(path: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.size, info.mode = size, _MODE
    return info
