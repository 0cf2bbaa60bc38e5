"""Feedback over HTTP: what became of predictions."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from modelworks.api.wire import answers, known_query, read_body, read_json, reply, takes
from modelworks.control.records.intake import Taken, Told
from modelworks.control.service import Factory

FEEDBACK = "/api/v1/feedback"


class FeedbackRoutes:
    """The route over one factory.

    Args:
        factory: keeps what comes in.
    """

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(dependencies=[Depends(known_query)])
        router.add_api_route(
            FEEDBACK,
            self.feedback,
            methods=["POST"],
            status_code=202,
            response_class=Response,
            responses=answers(Taken, 202),
            openapi_extra=takes(Told | list[Told]),
            operation_id="feedback",
        )
        return router

    def feedback(self, body: Annotated[bytes, Depends(read_body)]) -> Response:
        """Take in what became of predictions: one line or a list of up to 1000, all or none.

        It is on the disk when this answers; the worker joins it to the records. What is sent again
        counts once.
        """
        anything: Any = Any  # one line or a list: the intake tells them apart
        return reply(self._factory.records.intake.message(read_json(anything, body)), 202)
