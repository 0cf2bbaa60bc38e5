"""What the watch has seen, under `/api/v1`: series, and how the models do at a glance."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from modelworks.api.wire import answers, known_query, reply
from modelworks.control.service import Factory
from modelworks.control.watching.board import Board
from modelworks.control.watching.spans import seconds_of
from modelworks.core.errors import InvalidError
from modelworks.core.ids import now_ns
from modelworks.core.series import Series

Seconds = Annotated[float, Query(description="UTC seconds since 1970.", ge=0, lt=2**40)]


@dataclass(frozen=True, slots=True)
class SeriesFound:
    """Series, all with windows of one length.

    Attributes:
        step: seconds of a window.
        series: with the ends of their windows.
    """

    step: int
    series: list[Series]


class WatchRoutes:
    """The routes over one factory.

    Args:
        factory: knows the watch.
    """

    def __init__(self, factory: Factory) -> None:
        self._watching = factory.watching

    def router(self) -> APIRouter:
        """All of them."""
        router = APIRouter(prefix="/api/v1", dependencies=[Depends(known_query)])
        for path, endpoint, kind in (
            ("/series", self.series, SeriesFound),
            ("/watch", self.watch, Board),
        ):
            router.add_api_route(
                path,
                endpoint,
                methods=["GET"],
                response_class=Response,
                responses=answers(kind),
                operation_id=endpoint.__name__,
            )
        return router

    def series(
        self,
        name: Annotated[
            str, Query(description="Of the series.", examples=["requests"], max_length=64)
        ],
        since: Seconds,
        until: Seconds,
        model: Annotated[
            str, Query(description="A model's name, or a pattern; empty = all.", max_length=128)
        ] = "",
        labels: Annotated[
            str,
            Query(
                description="Further ones: `version=1.0.0,feature=age`; `*` and `?` stand for any.",
                max_length=1024,
            ),
        ] = "",
        step: Annotated[
            int, Query(description="60, 3600 or 86400; 0 = as the time allows.", ge=0)
        ] = 0,
    ) -> Response:
        """Windows of a series that end after `since`, until `until`; an answer has a bound."""
        if until < since:
            raise InvalidError("until is before since", field="until")
        wanted = labels_of(labels) | ({"model": model} if model else {})
        found = self._watching.series.read(name, wanted, since, until, step)
        return reply(SeriesFound(*found))

    def watch(
        self,
        model: Annotated[
            str, Query(description="A model's name, or a pattern; empty = all.", max_length=128)
        ] = "",
        since: Annotated[str, Query(description="How far back: `1h`, `7d`.", max_length=16)] = "1h",
    ) -> Response:
        """Requests, latencies, drift, quality and alerts, and how the duties of the watch do."""
        now = now_ns() / 1e9
        return reply(self._watching.board(model, now - seconds_of(since), now))


def labels_of(text: str) -> dict[str, str]:
    """`version=1.0.0,feature=age` as labels.

    Raises:
        InvalidError: something else.
    """
    found = {}
    for piece in filter(None, text.split(",")):
        name, equals, value = piece.partition("=")
        if not (name and equals):
            raise InvalidError(
                f"labels: '{piece[:40]}' is no name=value; several are parted by commas",
                field="labels",
            )
        found[name.strip()] = value.strip()
    return found
