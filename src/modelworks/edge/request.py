"""One request on a connection, and the place for its answer."""

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Protocol

from modelworks.core.ids import uuid7
from modelworks.edge.exchange import Headers, Stream
from modelworks.edge.head import Head
from modelworks.edge.streams import HttpStream
from modelworks.edge.trace import REQUEST_ID, TraceContext, request_id_of, trace_of


class Answers(Protocol):
    """Where a reply goes: the connection."""

    def answered(
        self, request: "Request", status: int, body: bytes, content_type: bytes, headers: Headers
    ) -> None:
        """Send it, or keep it until the earlier ones are sent."""
        ...

    def streamed(
        self, request: "Request", status: int, content_type: bytes, headers: Headers
    ) -> Stream:
        """Begin an answer that is sent piece by piece."""
        ...

    def traced(self, request: "Sampled", status: int) -> None:
        """Tell whoever wants to know of answers to requests whose trace is kept."""
        ...


class Request:
    """Fulfils `exchange.Exchange`.

    `headers` may be shared with other requests that carried the same bytes: read only.

    Attributes:
        modern: it came as HTTP/1.1.
        usual: nothing in it asks for another answer than the usual one.
        kept: its answer, while earlier requests of the connection wait for theirs; one that is sent
            piece by piece, until it has ended.
    """

    __slots__ = (
        "_answered",
        "_connection",
        "_id",
        "_leaves",
        "body",
        "gone",
        "headers",
        "kept",
        "method",
        "modern",
        "on_gone",
        "path",
        "query",
        "received_ns",
        "usual",
    )

    def __init__(self, connection: Answers, head: Head, body: bytes) -> None:
        """Made by the connection when the body is complete."""
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.body = body
        self.received_ns = perf_counter_ns()
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.modern = head.modern
        self.usual = head.usual
        self.kept: tuple[int, bytes, bytes, Headers] | HttpStream | None = None
        self._connection = connection
        self._answered = False

    @property
    def trace(self) -> TraceContext | None:
        """See `Exchange`; read anew at each asking."""
        return trace_of(self.headers)

    @property
    def request_id(self) -> str:
        """See `Exchange`."""
        try:
            return self._id
        except AttributeError:
            self._id: str = request_id_of(self.headers) or str(uuid7())
            return self._id

    @property
    def leaves(self) -> bool:
        """Whether a client that closes its sending side is taken to have left."""
        try:
            return self._leaves
        except AttributeError:
            return False

    def expect_leaving(self) -> None:
        """Take a client that closes its sending side to have left: the work is long, and for it."""
        self._leaves: bool = True

    @property
    def answered(self) -> bool:
        """Whether `reply` or `stream` was called."""
        return self._answered

    def reply(self, status: int, body: bytes, content_type: bytes, headers: Headers = ()) -> None:
        """Answer; quiet when the client is gone.

        Raises:
            RuntimeError: this request has been answered already.
        """
        if self._answered:
            raise RuntimeError("this request has been answered already")
        self._answered = True
        self.on_gone = None
        if not self.gone:
            self._connection.answered(self, status, body, content_type, headers)

    def stream(self, status: int, content_type: bytes, headers: Headers = ()) -> Stream:
        """Answer piece by piece.

        Raises:
            RuntimeError: this request has been answered already.
        """
        if self._answered:
            raise RuntimeError("this request has been answered already")
        self._answered = True
        self.on_gone = None
        return self._connection.streamed(self, status, content_type, headers)

    def streamed(self, status: int) -> None:
        """An answer that was sent piece by piece is over."""


class Echoing(Request):
    """A request that named itself by `X-Request-Id`: its answer repeats the name."""

    __slots__ = ()

    def reply(self, status: int, body: bytes, content_type: bytes, headers: Headers = ()) -> None:
        """See `Request`."""
        name = (b"X-Request-Id", self.headers[REQUEST_ID])
        super().reply(status, body, content_type, (*headers, name))

    def stream(self, status: int, content_type: bytes, headers: Headers = ()) -> Stream:
        """See `Request`."""
        name = (b"X-Request-Id", self.headers[REQUEST_ID])
        return super().stream(status, content_type, (*headers, name))


class Sampled(Request):
    """A request whose caller keeps a trace of it: whoever follows traces is told of its answer.

    Attributes:
        noted: what whoever follows traces keeps of it, and adds to later; None = nobody does.
    """

    __slots__ = ("noted",)

    def __init__(self, connection: Answers, head: Head, body: bytes) -> None:
        """See `Request`."""
        super().__init__(connection, head, body)
        self.noted: Any = None

    def reply(self, status: int, body: bytes, content_type: bytes, headers: Headers = ()) -> None:
        """See `Request`; a request that named itself is answered with the name."""
        if request_id_of(self.headers):
            headers = (*headers, (b"X-Request-Id", self.headers[REQUEST_ID]))
        super().reply(status, body, content_type, headers)
        self._connection.traced(self, status)

    def stream(self, status: int, content_type: bytes, headers: Headers = ()) -> Stream:
        """See `Request`; a request that named itself is answered with the name."""
        if request_id_of(self.headers):
            headers = (*headers, (b"X-Request-Id", self.headers[REQUEST_ID]))
        return super().stream(status, content_type, headers)

    def streamed(self, status: int) -> None:
        """See `Request`."""
        self._connection.traced(self, status)
