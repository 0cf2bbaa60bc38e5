"""Who carries out load and unload: this process alone, or all workers through their supervisor."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final, Protocol, cast

from modelworks.core.errors import ModelworksError, UnavailableError
from modelworks.serving.models import ModelTable
from modelworks.serving.wire import ACT_DEADLINE_S, Lines, Message, line, pack_error, unpack_error

_log = logging.getLogger("modelworks.serving")
LOAD: Final = "load"
UNLOAD: Final = "unload"


class Control(Protocol):
    """Acts on the models of the whole server."""

    async def act(self, verb: str, model: str) -> None:
        """`load` or `unload` a model everywhere.

        Raises:
            ModelworksError: why it was not done.
        """
        ...


async def act_here(table: ModelTable, verb: str, model: str) -> None:
    """Load or unload in this process."""
    if verb == LOAD:
        await table.load(model)
    else:
        await table.unload(model)


class LocalControl:
    """One process is the whole server."""

    def __init__(self, table: ModelTable) -> None:
        self._table = table

    async def act(self, verb: str, model: str) -> None:
        """See `Control.act`."""
        await act_here(self._table, verb, model)


class Link(asyncio.Protocol):
    """A worker's end of the socket pair to its supervisor; fulfils `Control`.

    Args:
        table: of this worker.
        orphaned: called when the supervisor is gone.
    """

    def __init__(self, table: ModelTable, orphaned: Callable[[], None]) -> None:
        self._table = table
        self._orphaned = orphaned
        self._lines = Lines()
        self._transport: asyncio.WriteTransport | None = None
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._next = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def connect(
        cls, sock: socket.socket, table: ModelTable, orphaned: Callable[[], None]
    ) -> "Link":
        """Take over the socket."""
        link = cls(table, orphaned)
        await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=sock)
        return link

    def say(self, message: Message) -> None:
        """Send a message to the supervisor."""
        if self._transport is not None:
            self._transport.write(line(message))

    async def act(self, verb: str, model: str) -> None:
        """See `Control.act`; the supervisor asks every worker, this one too."""
        self._next += 1
        number = self._next
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self.say({"type": "ask", "id": number, "verb": verb, "model": model})
            await asyncio.wait_for(answer, ACT_DEADLINE_S + 5)
        except TimeoutError as error:
            raise UnavailableError(f"{verb} of '{model}' did not end in time") from error
        finally:
            del self._asked[number]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The pair is there from the start."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Messages of the supervisor."""
        for message in self._lines.feed(data):
            if message["type"] == "act":
                task = asyncio.get_running_loop().create_task(self._obey(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif message["type"] == "answer":
                self._answer(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Without a supervisor nobody starts us again or tells us of changes: end in order."""
        del exc
        self._transport = None
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(UnavailableError("the server is stopping"))
        self._orphaned()

    async def _obey(self, message: Message) -> None:
        error: ModelworksError | None = None
        try:
            await act_here(self._table, message["verb"], message["model"])
        except ModelworksError as problem:
            error = problem
        self.say(
            {"type": "done", "act": message["act"], "error": pack_error(error) if error else None}
        )

    def _answer(self, message: Message) -> None:
        answer = self._asked.get(message["id"])
        if answer is None or answer.done():
            return
        if message["error"] is None:
            answer.set_result(None)
        else:
            answer.set_exception(unpack_error(message["error"]))
