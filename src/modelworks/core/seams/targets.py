"""Where deployments run."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from modelworks.core.deployment import (
    Capability,
    Observed,
    ObservedRoute,
    Rendered,
    Wanted,
    WantedRoute,
)


class OpenTarget(Protocol):
    """A place to run, reached by its settings. Every call has a deadline of its own.

    Used by one thread at a time; two processes may use the same place, and neither harms the
    other: what is applied is what stays.
    """

    def render(self, wanted: Wanted) -> tuple[Rendered, ...]:
        """The native objects. Pure: the same input gives the same bytes, and nothing is asked."""
        ...

    def apply(self, wanted: Wanted) -> None:
        """Make it so, as far as that goes at once; `observe` then says what became of it.

        Twice is quiet: what is as it should be is not touched. Ended in the middle and called
        again, it completes. A replica that is to go answers what it has first.

        Raises:
            InvalidError: it cannot be as it is; `field` is a path of the spec.
            UnavailableError: the place does not answer now.
        """
        ...

    def observe(self, name: str) -> Observed | None:
        """What runs under a name; None = nothing does.

        Raises:
            UnavailableError: the place does not answer now.
        """
        ...

    def delete(self, name: str) -> None:
        """End all of it, after a drain, and leave nothing behind. Unknown is quiet.

        Raises:
            UnavailableError: the place does not answer now.
        """
        ...


@runtime_checkable
class TakesImages(Protocol):
    """An open target that can be given an image without a registry."""

    def take_image(self, archive: Path, name: str) -> str:
        """Have an image.

        Args:
            archive: as `docker save` writes it.
            name: of the image in it, with a tag of its content: whoever has it has this one.

        Returns:
            What a revision calls it.

        Raises:
            UnavailableError: the engine does not answer, or has no room.
        """
        ...


@runtime_checkable
class Routing(Protocol):
    """An open target that routes hosts and paths to its deployments (the kind `Route`)."""

    def render_route(self, route: WantedRoute) -> tuple[Rendered, ...]:
        """The native objects; pure, as `OpenTarget.render`."""
        ...

    def apply_route(self, route: WantedRoute) -> None:
        """Make it so; twice is quiet. Raises as `OpenTarget.apply`."""
        ...

    def observe_route(self, name: str) -> ObservedRoute | None:
        """What is there under a name; None = nothing is."""
        ...

    def delete_route(self, name: str) -> None:
        """Take it away; unknown is quiet."""
        ...


class Target(Protocol):
    """A kind of place where deployments run."""

    name: ClassVar[str]  # `target.type` of a manifest
    extra: ClassVar[str]  # the pip extra that brings its libraries
    experimental: ClassVar[bool]
    images: ClassVar[bool]  # runs container images; otherwise processes of this machine
    rolls: ClassVar[bool]  # replaces a revision by itself, ready first: `Wanted` then has one
    nearby: ClassVar[bool]  # without a setting `host` it is the machine's own that reconciles
    settings: ClassVar[Mapping[str, str]]  # of `target.settings`: name -> meaning
    capabilities: ClassVar[Mapping[str, Capability]]  # leaf of a spec -> what is done; see `HOUSE`
    routes: ClassVar[Mapping[str, Capability]]  # the same of a Route's spec; empty = it has none

    def open(self, settings: Mapping[str, str], folder: Path) -> OpenTarget:
        """Reach it.

        Args:
            settings: of the manifest; only names that are known.
            folder: of this target on this machine, for whatever it has to keep; it lies in
                `Home.targets`.

        Raises:
            InvalidError: a setting that cannot be; `field` names it.
            UnavailableError: nobody answers there.
        """
        ...
