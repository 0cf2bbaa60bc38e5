"""The verbs of the control plane under `/api/v1`. Endpoints are sync: they run in threads."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import FileResponse, Response

from modelworks.api.wire import answers, download, known_query, read_body, read_json, reply, takes
from modelworks.control.endpoints import EndpointState, Watch
from modelworks.control.service import Factory
from modelworks.core.errors import InvalidError
from modelworks.core.ids import parse_time
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
from modelworks.core.reference import ModelRef, model_name
from modelworks.core.semver import Semver

Name = Annotated[str, Path(description="A model's name.", examples=["fraud"], max_length=128)]
AliasName = Annotated[str, Path(description="An alias.", examples=["champion"], max_length=64)]
Number = Annotated[str, Path(description="A version's number.", examples=["1.4.0"], max_length=64)]
Ref = Annotated[
    str,
    Path(
        description="`name`, `name@alias` or `name:1.4.0`; to delete it, or for a file, also "
        "`name:1.4.0#int8`.",
        examples=["fraud@champion"],
        max_length=256,
    ),
]
FilePath = Annotated[
    str,
    Path(description="A file of the version's artifact.", examples=["model.onnx"], max_length=1024),
]
Side = Annotated[str, Query(description="`name`, `name@alias` or `name:1.4.0`.", max_length=256)]
Reason = Annotated[str, Query(description="Why; kept in the history.", max_length=1024)]
Body = Annotated[bytes, Depends(read_body)]


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where an alias is to point.

    Attributes:
        version: `1.4.0`.
        reason: kept in the history.
    """

    version: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Annotations:
    """All tags and labels that a version is to have."""

    tags: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """The control plane answers, and reads its registry."""

    status: str
    models: int


class Routes:
    """The routes over one factory.

    Args:
        factory: does the work.
        watch: asks the model servers of this machine.
    """

    def __init__(self, factory: Factory, watch: Watch) -> None:
        self._factory = factory
        self._watch = watch

    def router(self) -> APIRouter:
        """Every route but the upload."""
        router = APIRouter(prefix="/api/v1", dependencies=[Depends(known_query)])
        model, version = "/models/{name}", "/versions/{ref}"
        alias = model + "/aliases/{alias}"
        table: tuple[tuple[str, str, Any, Any, dict[str, Any]], ...] = (
            ("GET", "/health", self.health, Health, {}),
            ("GET", "/models", self.models, list[ModelSummary], {}),
            ("GET", model + "/versions", self.versions, list[ModelVersion], {}),
            ("GET", model + "/versions/{version}/variants", self.variants, list[Variant], {}),
            ("GET", model + "/history", self.history, list[AliasChange], {}),
            ("GET", alias + "/at", self.alias_at, AliasChange, {}),
            ("PUT", alias, self.set_alias, Alias, takes(Pointer)),
            ("GET", version, self.show, ModelVersion, {}),
            ("PUT", version + "/annotations", self.annotate, ModelVersion, takes(Annotations)),
            ("POST", version + "/verify", self.verify, Verification, {}),
            ("DELETE", version, self.delete, list[str], {}),
            ("GET", "/compare", self.compare, Comparison, {}),
            ("POST", "/collect", self.collect, Collected, {}),
            ("GET", "/endpoints", self.endpoints, list[EndpointState], {}),
        )
        for method, path, endpoint, kind, extra in table:
            router.add_api_route(
                path,
                endpoint,
                methods=[method],
                response_class=Response,
                responses=answers(kind),
                openapi_extra=extra,
                operation_id=endpoint.__name__,
            )
        router.add_api_route(
            version + "/files/{path:path}",
            self.file,
            methods=["GET"],
            response_class=Response,
            responses=download(),
            operation_id="file",
        )
        router.add_api_route(
            alias,
            self.remove_alias,
            methods=["DELETE"],
            status_code=204,
            response_class=Response,
            responses=answers(None, 204),
            operation_id="remove_alias",
        )
        return router

    def health(self) -> Response:
        """Whether the control plane answers and its registry can be read."""
        return reply(Health("ok", len(self._factory.models())))

    def models(self) -> Response:
        """Every model, by name."""
        return reply(self._factory.models())

    def versions(self, name: Name) -> Response:
        """A model's versions, newest first."""
        return reply(self._factory.versions(name))

    def variants(self, name: Name, version: Number) -> Response:
        """A version's variants, by name."""
        found = ModelRef(model_name(name), version=Semver.parse(version))
        return reply(self._factory.variants(str(found)))

    def show(self, ref: Ref) -> Response:
        """One version; a bare name is the latest."""
        return reply(self._factory.show(ref))

    def file(self, ref: Ref, path: FilePath) -> Response:
        """One file of a version's artifact, or a variant's (`#NAME`); that says its digest."""
        found = self._factory.artifact_file(ref, path)
        return FileResponse(found, media_type="application/octet-stream")

    def compare(self, left: Side, right: Side) -> Response:
        """Two versions, field by field."""
        return reply(self._factory.compare(left, right))

    def set_alias(self, name: Name, alias: AliasName, body: Body) -> Response:
        """Point an alias at a version; the move is kept in its history."""
        pointer = read_json(Pointer, body)
        return reply(self._factory.set_alias(name, alias, pointer.version, pointer.reason))

    def remove_alias(self, name: Name, alias: AliasName, reason: Reason = "") -> Response:
        """Remove an alias; its history stays."""
        self._factory.remove_alias(name, alias, reason)
        return Response(status_code=204)

    def history(
        self,
        name: Name,
        alias: Annotated[str, Query(description="Only this alias.", max_length=64)] = "",
    ) -> Response:
        """Alias moves, oldest first."""
        return reply(self._factory.history(name, alias or None))

    def alias_at(
        self,
        name: Name,
        alias: AliasName,
        at_ns: Annotated[
            int | None,
            Query(description="UTC nanoseconds since 1970.", ge=0, lt=2**63),
        ] = None,
        at: Annotated[
            str, Query(description="Or a time: `2026-10-03T14:00`, UTC.", max_length=64)
        ] = "",
    ) -> Response:
        """What an alias pointed at then. Give one of `at_ns` and `at`."""
        if (at_ns is None) == (not at):
            raise InvalidError("give one of at and at_ns", field="at")
        moment = parse_time(at) if at_ns is None else at_ns
        return reply(self._factory.alias_at(name, alias, moment))

    def annotate(self, ref: Ref, body: Body) -> Response:
        """Replace a version's tags and labels."""
        wanted = read_json(Annotations, body)
        return reply(self._factory.annotate(ref, wanted.tags, wanted.labels))

    def verify(self, ref: Ref) -> Response:
        """Read every stored file of a version and compare it with its digest."""
        return reply(self._factory.verify(ref))

    def delete(self, ref: Ref) -> Response:
        """Delete a version, a model (bare name) or a variant (`#NAME`); what was deleted."""
        return reply(self._factory.delete(ref))

    def collect(self) -> Response:
        """Remove artifacts that no version refers to."""
        return reply(self._factory.collect())

    def endpoints(self) -> Response:
        """The model servers that run on this machine, as they were two seconds ago at most."""
        return reply(list(self._watch.states()))
