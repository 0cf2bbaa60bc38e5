"""`GET /metrics` of the control plane, for Prometheus."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from modelworks.control.observability.told import Told
from modelworks.protocol.openmetrics import (
    OPENMETRICS,
    TEXT,
    wants_openmetrics,
    write_openmetrics,
    write_text,
)


def router(told: Told) -> APIRouter:
    """The route; it is no part of the API that is described.

    Args:
        told: makes the numbers.
    """
    made = APIRouter()

    def metrics(request: Request) -> Response:
        families = told.families()
        if wants_openmetrics(request.headers.get("accept", "")):
            text = write_openmetrics(families, told.started)
            return Response(text, headers={"content-type": OPENMETRICS.decode()})
        return Response(write_text(families), headers={"content-type": TEXT.decode()})

    made.add_api_route("/metrics", metrics, methods=["GET"], include_in_schema=False)
    return made
