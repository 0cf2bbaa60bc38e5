"""One typed client: the verbs of the control plane, and predictions from a model server."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelworks.client.data import DataPlane
from modelworks.client.tls import ClientTls
from modelworks.client.transport import Progress, Transport
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

_NO_TLS = ClientTls()


class BaseClient:
    """Control plane and data plane behind one name.

    The control plane is only reached for when one of its verbs is called: predictions need no
    registry.

    Args:
        transport: makes the control plane's transport.
        server: URL of the model server.
        tls: for a server that speaks https.
        key: an API key for the server; empty = none.
    """

    def __init__(
        self,
        transport: Callable[[], Transport],
        server: str,
        tls: ClientTls = _NO_TLS,
        key: str = "",
    ) -> None:
        self._make = transport
        self._transport: Transport | None = None
        self.data = DataPlane(server, tls, key)

    @property
    def control(self) -> Transport:
        """The control plane, made at its first use."""
        if self._transport is None:
            self._transport = self._make()
        return self._transport

    def import_model(
        self,
        request: ImportRequest | str | Path,
        name: str = "",
        progress: Progress | None = None,
    ) -> ModelVersion:
        """Import, check, publish.

        Args:
            request: what to import in full, or just the path of the model file.
            name: of the model, where `request` is a path.
            progress: called with one sentence as each step begins.
        """
        whole = request if isinstance(request, ImportRequest) else None
        wanted = whole or ImportRequest(file=Path(str(request)), name=name)
        return self.control.import_model(wanted, progress)

    def models(self) -> list[ModelSummary]:
        """Every model, by name."""
        return self.control.models()

    def versions(self, name: str) -> list[ModelVersion]:
        """A model's versions, newest first."""
        return self.control.versions(name)

    def show(self, ref: str) -> ModelVersion:
        """One version; a bare name is the latest."""
        return self.control.show(ref)

    def compare(self, left: str, right: str) -> Comparison:
        """Two versions, field by field."""
        return self.control.compare(left, right)

    def set_alias(self, name: str, alias: str, version: str, reason: str = "") -> Alias:
        """Point an alias at a version."""
        return self.control.set_alias(name, alias, version, reason)

    def remove_alias(self, name: str, alias: str, reason: str = "") -> None:
        """Remove an alias; its history stays."""
        self.control.remove_alias(name, alias, reason)

    def history(self, name: str, alias: str | None = None) -> list[AliasChange]:
        """Alias moves, oldest first."""
        return self.control.history(name, alias)

    def alias_at(self, name: str, alias: str, at_ns: int) -> AliasChange:
        """The change that was in force at that time (UTC nanoseconds)."""
        return self.control.alias_at(name, alias, at_ns)

    def annotate(self, ref: str, tags: tuple[str, ...], labels: dict[str, str]) -> ModelVersion:
        """Replace a version's tags and labels."""
        return self.control.annotate(ref, tags, labels)

    def variants(self, ref: str) -> list[Variant]:
        """A version's variants, by name; a bare name is the latest version."""
        return self.control.variants(ref)

    def verify(self, ref: str) -> Verification:
        """Read every stored file and compare it with its digest."""
        return self.control.verify(ref)

    def delete(self, ref: str) -> list[str]:
        """Delete a version, a model (bare name) or a variant (`#NAME`); what was deleted."""
        return self.control.delete(ref)

    def collect(self) -> Collected:
        """Remove artifacts that no version refers to."""
        return self.control.collect()

    def predict(self, model: str, rows: Sequence[Any] | Any) -> dict[str, Any]:
        """Predictions for plain rows; see `DataPlane.predict`."""
        return self.data.predict(model, rows)

    def infer(self, model: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors in, tensors out, binary on the wire; see `DataPlane.infer`."""
        return self.data.infer(model, inputs)

    def generate(self, model: str, text: str, **parameters: Any) -> dict[str, Any]:
        """A model's continuation of a text; see `DataPlane.generate`."""
        return self.data.generate(model, text, **parameters)

    def generate_stream(self, model: str, text: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The same, piece by piece; see `DataPlane.generate_stream`."""
        return self.data.generate_stream(model, text, **parameters)

    def close(self) -> None:
        """Give connections and files back. Twice is quiet."""
        self.data.close()
        transport, self._transport = self._transport, None
        close = getattr(transport, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
