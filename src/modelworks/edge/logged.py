"""A connection that notes every answer in a journal; used only where one is kept."""

import asyncio
from time import perf_counter_ns

from modelworks.edge.connection import Connection
from modelworks.edge.exchange import Headers
from modelworks.edge.hub import Hub
from modelworks.edge.journal import GONE, Journal
from modelworks.edge.request import Request
from modelworks.edge.streams import HttpStream


class LoggedConnection(Connection):
    """See `Connection`."""

    __slots__ = ("_client", "_journal")

    def __init__(self, hub: Hub, journal: Journal) -> None:
        """Made by a listener that keeps a journal."""
        super().__init__(hub)
        self._journal = journal
        self._client = "unix"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `Connection`."""
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._client = peer[0]
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `Connection`; requests without an answer are noted too."""
        for request in self._queue:
            kept = request.kept
            if kept is None:
                self._note(request, GONE, 0)
            elif isinstance(kept, HttpStream):
                self._note(request, kept.status if kept.begun else GONE, kept.given)
        super().connection_lost(exc)

    def answered(
        self, request: Request, status: int, body: bytes, content_type: bytes, headers: Headers
    ) -> None:
        """See `Connection`."""
        super().answered(request, status, body, content_type, headers)
        self._note(request, status, len(body))

    def stream_done(self, stream: HttpStream) -> None:
        """See `Connection`."""
        request = self._queue[0]
        super().stream_done(stream)
        self._note(request, stream.status, stream.given)

    def _note(self, request: Request, status: int, given: int) -> None:
        journal = self._journal
        entries = journal.entries
        if len(entries) >= journal.bound:
            journal.dropped += 1
            return
        entries.append(
            (
                self._client,
                request.method,
                request.path,
                request.headers,
                request.modern,
                request.received_ns,
                perf_counter_ns(),
                status,
                len(request.body),
                given,
            )
        )
