"""What is inside, for those who have to answer for it: CycloneDX 1.6, as JSON.

Written by the specification (ECMA-424): libraries with package URLs and digests, the model as a
component of its own kind. The same inputs make the same bytes: the serial number is derived from
them.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from modelworks.packaging.oci.descriptor import canonical, stamp
from modelworks.packaging.system import Package
from modelworks.packaging.wheels import Wheel

_SPACE: Final = uuid.UUID("6b1f1f0e-6a0c-5a39-9a1c-0d6b0f0c7a11")


@dataclass(frozen=True, slots=True)
class ModelPart:
    """A version that is inside.

    Attributes:
        name: of the model.
        version: its number.
        digest: of its artifact, `sha256:<hex>` over its canonical tree.
        files: (path, `sha256:<hex>`) of each file.
    """

    name: str
    version: str
    digest: str
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class BasePart:
    """The image below.

    Attributes:
        name: what it was asked for by.
        digest: of its manifest; empty = unknown.
        packages: of its distribution.
    """

    name: str
    digest: str
    packages: tuple[Package, ...] = ()


def bill(
    name: str,
    models: Iterable[ModelPart],
    wheels: Iterable[Wheel],
    time: int = 0,
    base: BasePart | None = None,
) -> dict[str, Any]:
    """The bill of materials of an image or bundle.

    Args:
        name: of the image or bundle.
        models: inside.
        wheels: inside.
        time: seconds since 1970: when it says it was made.
        base: below it; None = nothing is, or nobody knows.
    """
    components = [*map(_model, models), *map(_library, wheels)]
    components += [_base(base)] if base else []
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": stamp(time),
            "component": {"type": "container", "name": name, "bom-ref": "image"},
        },
        "components": components,
        "dependencies": [
            {"ref": "image", "dependsOn": [component["bom-ref"] for component in components]}
        ],
    }
    serial = uuid.uuid5(_SPACE, canonical(document).decode())
    return {**document, "serialNumber": f"urn:uuid:{serial}"}


def _base(base: BasePart) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "container",
        "bom-ref": "base",
        "name": base.name,
    }
    if base.digest:
        found["version"] = base.digest
    packages = [
        {
            "type": "library",
            "bom-ref": one.purl,
            "name": one.name,
            "version": one.version,
            "purl": one.purl,
        }
        for one in base.packages
    ]
    return {**found, "components": packages} if packages else found


def _model(model: ModelPart) -> dict[str, Any]:
    files = [
        {
            "type": "file",
            "name": path,
            "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
        }
        for path, digest in model.files
    ]
    found: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{model.name}:{model.version}",
        "name": model.name,
        "version": model.version,
        "properties": [{"name": "modelworks:artifact", "value": model.digest}],
    }
    return {**found, "components": files} if files else found


def _library(wheel: Wheel) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": wheel.purl,
        "name": wheel.normalized,
        "version": wheel.version,
        "purl": wheel.purl,
        "hashes": [{"alg": "SHA-256", "content": wheel.digest}],
    }
    if wheel.license:
        found["licenses"] = [{"license": {"name": wheel.license}}]
    if wheel.homepage:
        found["externalReferences"] = [{"type": "website", "url": wheel.homepage}]
    return found
