"""A request of OpenAI's API: whatever refuses it, the error goes out in OpenAI's form."""

from collections.abc import Callable
from typing import cast

from modelworks.edge.exchange import Exchange, Headers, Stream
from modelworks.edge.trace import TraceContext
from modelworks.protocol.openai.errors import in_their_form


class Dressed:
    """An exchange that dresses errors; see `edge.exchange.Exchange`.

    Args:
        inner: as it came.

    Attributes:
        inner: the same.
        body: of the request.
        headers: of the request.
    """

    __slots__ = ("body", "headers", "inner")

    def __init__(self, inner: Exchange) -> None:
        self.inner = inner
        self.body = inner.body
        self.headers = inner.headers

    @property
    def method(self) -> bytes:
        """Of the request."""
        return self.inner.method

    @property
    def path(self) -> bytes:
        """Of the request."""
        return self.inner.path

    @property
    def query(self) -> bytes:
        """Of the request."""
        return self.inner.query

    @property
    def received_ns(self) -> int:
        """When it was complete."""
        return self.inner.received_ns

    @property
    def gone(self) -> bool:
        """The client left."""
        return self.inner.gone

    @property
    def on_gone(self) -> Callable[[], None] | None:
        """Called when it does."""
        return self.inner.on_gone

    @on_gone.setter
    def on_gone(self, call: Callable[[], None] | None) -> None:
        self.inner.on_gone = call

    @property
    def trace(self) -> TraceContext | None:
        """That came with it."""
        return self.inner.trace

    @property
    def request_id(self) -> str:
        """Of the request."""
        return self.inner.request_id

    def reply(self, status: int, body: bytes, content_type: bytes, headers: Headers = ()) -> None:
        """Answer; an error in OpenAI's form."""
        if status >= 400:
            status, body = in_their_form(status, body)
        self.inner.reply(status, body, content_type, headers)

    def stream(self, status: int, content_type: bytes, headers: Headers = ()) -> Stream:
        """Answer piece by piece."""
        return self.inner.stream(status, content_type, headers)


def dressed(inner: Exchange) -> Exchange:
    """The exchange, with errors in OpenAI's form."""
    return cast("Exchange", Dressed(inner))


def bare(exchange: Exchange) -> Exchange:
    """The exchange as it came."""
    return exchange.inner if isinstance(exchange, Dressed) else exchange
