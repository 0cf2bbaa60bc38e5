"""The verbs of the control plane, as a Protocol: fulfilled in-process and over HTTP.

`control.service.Factory` is the in-process one, `client.http.HttpTransport` the other; the
command line and the SDK know only these verbs.
"""

from collections.abc import Callable
from typing import Protocol

from modelworks.core.imports import ImportRequest
from modelworks.core.model import (
    Alias,
    AliasChange,
    Collected,
    Comparison,
    ModelSummary,
    ModelVersion,
    Verification,
)
from modelworks.core.optimizing.variants import Variant

Progress = Callable[[str], None]
"""Called with one short sentence as each step of long work begins."""


class Transport(Protocol):
    """Every verb raises `core.errors`; references are `name`, `name@alias`, `name:version`."""

    def import_model(
        self, request: ImportRequest, progress: Progress | None = None
    ) -> ModelVersion:
        """Import, check, publish. Nothing is visible before all of it succeeded."""
        ...

    def models(self) -> list[ModelSummary]:
        """Every model, by name."""
        ...

    def versions(self, name: str) -> list[ModelVersion]:
        """A model's versions, newest first."""
        ...

    def show(self, ref: str) -> ModelVersion:
        """One version. A bare name is the latest."""
        ...

    def compare(self, left: str, right: str) -> Comparison:
        """Two versions, field by field."""
        ...

    def set_alias(self, name: str, alias: str, version: str, reason: str = "") -> Alias:
        """Point an alias at a version; the move is kept in its history."""
        ...

    def remove_alias(self, name: str, alias: str, reason: str = "") -> None:
        """Remove an alias; its history stays."""
        ...

    def history(self, name: str, alias: str | None = None) -> list[AliasChange]:
        """Alias moves, oldest first."""
        ...

    def alias_at(self, name: str, alias: str, at_ns: int) -> AliasChange:
        """What the alias pointed at then: the change that was in force.

        Raises:
            NotFoundError: it did not exist then.
        """
        ...

    def annotate(self, ref: str, tags: tuple[str, ...], labels: dict[str, str]) -> ModelVersion:
        """Replace a version's tags and labels, the only parts of it that may change."""
        ...

    def variants(self, ref: str) -> list[Variant]:
        """A version's variants, by name. A bare name is the latest version."""
        ...

    def verify(self, ref: str) -> Verification:
        """Read every stored file and compare with its digest."""
        ...

    def delete(self, ref: str) -> list[str]:
        """Delete a version, with a bare name the model, with `#NAME` one variant of a version.

        Returns:
            The references of what was deleted.

        Raises:
            ConflictError: an alias points at it, another version names it as parent, a deployment
                may run it, or a server was told to serve it.
        """
        ...

    def collect(self) -> Collected:
        """Remove artifacts that no version refers to."""
        ...
