"""What points at a blob: its kind, digest and size (image-spec, descriptor.md)."""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from modelworks.core.errors import InvalidError

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES: Final = frozenset({INDEX, DOCKER_INDEX})
MANIFESTS: Final = frozenset({MANIFEST, DOCKER_MANIFEST})

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on."""

    os: str = "linux"
    architecture: str = "amd64"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob that is somewhere.

    Attributes:
        media_type: of it.
        digest: `sha256:<hex>`.
        size: bytes.
        annotations: key -> value.
        platform: of an image, where an index lists several.
    """

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return self.digest.removeprefix("sha256:")

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        found: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.annotations:
            found["annotations"] = dict(sorted(self.annotations.items()))
        if self.platform is not None:
            found["platform"] = {
                "architecture": self.platform.architecture,
                "os": self.platform.os,
            }
        return found

    @classmethod
    def read(cls, data: Any, where: str) -> "Descriptor":
        """From JSON values.

        Raises:
            InvalidError: none that we could follow.
        """
        digest, size = _get(data, "digest", str, where), _get(data, "size", int, where)
        if _DIGEST.fullmatch(digest) is None:
            raise InvalidError(f"{where}: '{digest[:80]}' is no sha256 digest")
        platform = data.get("platform")
        return cls(
            _get(data, "mediaType", str, where),
            digest,
            size,
            dict(data.get("annotations") or {}),
            Platform(str(platform.get("os")), str(platform.get("architecture")))
            if isinstance(platform, dict)
            else None,
        )


def _get(data: Any, key: str, kind: type, where: str) -> Any:
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidError(f"{where}: no descriptor: '{key}' is missing or no {kind.__name__}")
    return value


def canonical(document: Any) -> bytes:
    """JSON of which there is one form: sorted keys, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def stamp(time: int) -> str:
    """Seconds since 1970 as documents have them (RFC 3339)."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
