"""A model as an artifact of its own in a registry (image-spec, artifacts; file names as ORAS has).

Whoever pulls it gets the files of a version as they are, and what the registry of models says of
it as the configuration.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from modelworks.packaging.oci.descriptor import MANIFEST, Descriptor, canonical
from modelworks.packaging.oci.image import Image
from modelworks.packaging.oci.layout import Layout

ARTIFACT: Final = "application/vnd.modelworks.model.v1"
CONFIGURATION: Final = "application/vnd.modelworks.model.config.v1+json"
FILE: Final = "application/octet-stream"
TITLE: Final = "org.opencontainers.image.title"


def artifact(
    layout: Layout, files: Mapping[str, Path], told: dict[str, Any], annotations: Mapping[str, str]
) -> Image:
    """Write an artifact into `layout`.

    Args:
        layout: of this machine.
        files: name, with its folders -> where it lies.
        told: of the version; JSON values.
        annotations: of the manifest.

    Raises:
        OSError: a file cannot be read, or the disk is full.
    """
    layers = []
    for name, path in sorted(files.items()):
        with path.open("rb") as file:
            blob = layout.add_file(file, FILE)
        layers.append(Descriptor(FILE, blob.digest, blob.size, {TITLE: name}))
    written = layout.add(canonical(told), CONFIGURATION)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": written.document(),
        "layers": [one.document() for one in layers],
        "annotations": dict(sorted(annotations.items())),
    }
    return Image(layout.add(canonical(manifest), MANIFEST), written, told, tuple(layers))
