"""The snapshot of routes that gateways follow, under `/api/v1`: answered when there is another.

Waiting takes no thread: who waits is a future on the loop, released by another snapshot, by the end
of the time, by a caller that goes, or by the end of the control plane.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from modelworks.api.guard import TooLargeError
from modelworks.api.wire import answers, known_query
from modelworks.control.front.service import Front, Told
from modelworks.core.errors import UnavailableError
from modelworks.core.routes import Snapshot

SNAPSHOT: Final = "/api/v1/routes/snapshot"
MOST: Final = 128
"""Who may wait at once: half of the requests that a control plane has under way at most."""
LONGEST_S: Final = 30.0
_AGAIN_S: Final = 5


class Waiters:
    """Who waits for a change; woken from any thread.

    Args:
        most: who may wait at once.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[asyncio.AbstractEventLoop, asyncio.Event]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, request: Request, same: Callable[[], bool], seconds: float) -> None:
        """Until something is another, at most so long; at once where it is already.

        Raises:
            UnavailableError: too many wait.
        """
        changed = asyncio.Event()
        with self._lock:
            if len(self._waiting) >= self._most:
                raise UnavailableError(
                    f"{self._most} gateways wait for routes already: ask again later",
                    retry_after=_AGAIN_S,
                )
            self._waiting[id(changed)] = (asyncio.get_running_loop(), changed)
        tasks = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(_left(request))]
        try:
            if same() and not self._closed:
                await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            with self._lock:
                del self._waiting[id(changed)]
            for task in tasks:
                task.cancel()

    def wake(self) -> None:
        """Let everybody look again."""
        with self._lock:
            for loop, changed in self._waiting.values():
                with suppress(RuntimeError):  # its loop has ended
                    loop.call_soon_threadsafe(changed.set)

    def close(self) -> None:
        """Nobody waits any more, from now on."""
        self._closed = True
        self.wake()


class FrontRoutes:
    """The route over one front.

    Args:
        front: makes the snapshots.
        waiters: who waits for them.
    """

    def __init__(self, front: Front, waiters: Waiters) -> None:
        self._front = front
        self._waiters = waiters
        front.listen(waiters.wake)

    def router(self) -> APIRouter:
        """All of it."""
        router = APIRouter(dependencies=[Depends(known_query)])
        router.add_api_route(
            SNAPSHOT,
            self.snapshot,
            methods=["GET"],
            response_class=Response,
            responses=_said(),
            operation_id="routes_snapshot",
        )
        return router

    async def snapshot(
        self,
        request: Request,
        after: Annotated[
            int | None,
            Query(description="Generation that the caller has; -1 = none.", ge=-1, lt=2**63),
        ] = None,
        wait: Annotated[
            float,
            Query(description="Seconds that the answer may wait for another.", ge=0, le=LONGEST_S),
        ] = 0.0,
        if_none_match: Annotated[
            str | None, Header(description='`"GENERATION"`, as in `ETag`.')
        ] = None,
    ) -> Response:
        """All that a gateway goes by, when it is another than the caller has."""
        has = {f'"{after}"'} if after is not None else set()
        has |= {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}

        def same() -> bool:
            told = self._front.told
            return told is None or _tag(told) in has

        if same() and wait:
            await self._waiters.wait(request, same, wait)
        told = self._front.told
        if told is None:
            raise UnavailableError(
                "there is no snapshot of routes yet: the model server has not begun, or the "
                "control plane's log says why",
                retry_after=_AGAIN_S,
            )
        headers = {"ETag": _tag(told), "Cache-Control": "no-cache"}
        if same():
            return Response(status_code=304, headers=headers)
        return Response(told.body, media_type="application/json", headers=headers)


def _tag(told: Told) -> str:
    return f'"{told.generation}"'


async def _left(request: Request) -> None:
    """Until the caller has gone."""
    with suppress(TooLargeError):
        while (await request.receive())["type"] != "http.disconnect":
            pass


def _said() -> dict[int | str, dict[str, Any]]:
    found = answers(Snapshot)
    return {**found, 304: {"description": "The caller has it already"}}
