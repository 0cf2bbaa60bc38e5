"""Makes the control plane's HTTP application."""

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from modelworks.api import metrics, problems, wire
from modelworks.api.feedback import FeedbackRoutes
from modelworks.api.front import FrontRoutes, Waiters
from modelworks.api.guard import Guard, TooLargeError, too_large
from modelworks.api.key_guard import KeyGuard
from modelworks.api.rollouts import RolloutRoutes
from modelworks.api.routes import Routes
from modelworks.api.uploads import Limits, Uploads
from modelworks.api.watching import WatchRoutes
from modelworks.control.access import Access
from modelworks.control.endpoints import Watch
from modelworks.control.front.service import Front
from modelworks.control.observability.told import Told
from modelworks.control.service import Factory
from modelworks.core.series import SeriesSource

BODY_BYTES = 1 << 20
IMPORTS = "/api/v1/imports"


class _App(FastAPI):
    """FastAPI, with the schemas that the routes refer to in its description.

    Attributes:
        guarded: API keys are asked for.
    """

    guarded: bool = False

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for name in wire.referred((document["paths"], schemas)):
            schemas.setdefault(name, wire.COMPONENTS[name])
        if self.guarded:
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"key": []}]
        return document


def create_app(
    factory: Factory,
    watch: Watch,
    hosts: Collection[str] = (),
    limits: Limits = Limits(),  # noqa: B008 - frozen
    access: Access | None = None,
    series: SeriesSource | None = None,
    front: tuple[Front, Waiters] | None = None,
) -> FastAPI:
    """The API over one factory.

    Args:
        factory: does the work; the caller closes it.
        watch: asks the model servers of this machine; the caller starts and closes it.
        hosts: names under which the control plane is known, besides this machine's own.
        limits: of uploads.
        access: who may use it; None = everybody who reaches it.
        series: what the watch has seen, for `/metrics`; None = nothing is watched.
        front: what gateways are told, and who waits for it; None = there is no such route.
    """
    app = _App(
        title="Modelworks control plane",
        version="1",
        description="Import, look at, compare, point at, verify and delete models.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    app.add_exception_handler(TooLargeError, _too_large)
    app.include_router(Routes(factory, watch).router())
    app.include_router(Uploads(factory, limits).router())
    app.include_router(FeedbackRoutes(factory).router())
    app.include_router(WatchRoutes(factory).router())
    app.include_router(RolloutRoutes(factory).router())
    app.include_router(metrics.router(Told(watch, series)))
    if front is not None:
        app.include_router(FrontRoutes(*front).router())
    if access is not None:
        app.guarded = True
        app.add_middleware(KeyGuard, access=access)
    app.add_middleware(Guard, hosts=hosts, limits={"": BODY_BYTES, IMPORTS: limits.upload_bytes})
    return app


def _too_large(_request: Request, error: Exception) -> Response:
    return too_large(error.limit if isinstance(error, TooLargeError) else 0)
