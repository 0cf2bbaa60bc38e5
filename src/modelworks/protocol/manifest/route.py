"""The kind `Route`: which deployments answer a host and path, each with its share."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from modelworks.protocol.manifest.fields import Kind, Metadata, Name, Part

_ALL = 100


class Backend(Part):
    """A deployment and its share."""

    deployment: Name
    """By name; of the same target as the others."""
    weight: Annotated[int, Field(ge=0, le=_ALL)] = _ALL
    """Percent of the requests."""


class Mirror(Part):
    """A deployment that gets copies, and whose answers nobody sees."""

    deployment: Name
    """By name."""
    percent: Annotated[int, Field(ge=1, le=_ALL)] = _ALL
    """Of the requests."""


class Sticky(Part):
    """What keeps a caller with one backend."""

    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]*$", max_length=64)] = ""
    """Whose value is the caller."""
    cookie: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]*$", max_length=64)] = ""
    """The same."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.header) == bool(self.cookie):
            raise ValueError("one of header and cookie is wanted")
        return self


class RouteSpec(Part):
    """What is wanted."""

    host: Annotated[
        str, Field(pattern=r"^((\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$", max_length=253)
    ] = ""
    """Name in the request; empty = any."""
    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9/._~-]*$", max_length=1024)] = "/"
    """Where paths begin."""
    backends: Annotated[list[Backend], Field(min_length=1, max_length=16)]
    """Who answers; weights sum to 100."""
    mirror: Mirror | None = None
    """Who gets copies."""
    sticky: Sticky | None = None
    """What keeps a caller with one backend."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] | None = None
    """For an answer."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        total = sum(backend.weight for backend in self.backends)
        if total != _ALL:
            raise ValueError(f"the weights of backends sum to {total}, not 100")
        names = [backend.deployment for backend in self.backends]
        if len(set(names)) != len(names):
            raise ValueError("a deployment stands twice among backends: add its weights up")
        if self.mirror is not None and self.mirror.deployment in names:
            raise ValueError(f"mirror: '{self.mirror.deployment}' answers already")
        return self


class Route(Kind):
    """Which deployments answer a host and path."""

    kind: Literal["Route"] = "Route"
    """Of the document."""
    metadata: Metadata
    """Whose it is."""
    spec: RouteSpec
    """What is wanted."""
