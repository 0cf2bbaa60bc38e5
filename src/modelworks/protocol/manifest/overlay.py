"""The kind `Overlay`: what is different in one environment. Values, never texts with holes in them.

An overlay is a JSON merge patch (RFC 7386) of one document's `spec`: what it names is replaced,
mappings are gone into, `null` takes a key away, and a list is replaced as a whole.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from modelworks.protocol.manifest.fields import Kind, Name, Part
from modelworks.protocol.manifest.problems import Path
from modelworks.protocol.manifest.tree import Document

Environment = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class Patched(Part):
    """The document that is changed."""

    kind: str
    """Of it."""
    name: Name
    """Of it."""


class OverlaySpec(Part):
    """What is different."""

    environment: Environment
    """Where it is: `apply --environment NAME`."""
    of: Patched
    """In which document."""
    patch: dict[str, Any]
    """Of that document's `spec`."""


class OverlayMetadata(Part):
    """For people."""

    name: Name | None = None
    """Needed by nobody."""
    description: str = ""
    """Why it is different there."""


class Overlay(Kind):
    """What is different in one environment."""

    kind: Literal["Overlay"] = "Overlay"
    """Of the document."""
    metadata: OverlayMetadata = OverlayMetadata()
    """For people."""
    spec: OverlaySpec
    """What is different."""


PATCH: Path = ("spec", "patch")


def merge(base: Document, overlay: Document) -> None:
    """Change `base`'s spec as `overlay` says; errors then point at the overlay's lines."""
    patch = overlay.values["spec"]["patch"]
    base.values["spec"] = _merged(base.values.get("spec"), patch)
    for path, mark in overlay.marks.items():
        if path[: len(PATCH)] == PATCH and len(path) > len(PATCH):
            base.marks["spec", *path[len(PATCH) :]] = mark


def _merged(base: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    found = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _merged(found.get(key), value)
    return found
