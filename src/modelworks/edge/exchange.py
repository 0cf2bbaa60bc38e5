"""What the HTTP edge hands to an application: one request, and the place for its answer."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from modelworks.edge.trace import TraceContext

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


class Stream(Protocol):
    """An answer whose body is sent piece by piece, on the loop's thread.

    Attributes:
        gone: the client left; what is written is then thrown away.
        waiting: bytes that the client has not taken yet. Whoever writes stops above a bound of its
            own, and goes on when `on_drained` is called.
        on_gone: called once when the client leaves before `end`.
        on_drained: called when what waited has been taken, each time.
    """

    gone: bool
    on_gone: Callable[[], None] | None
    on_drained: Callable[[], None] | None

    @property
    def waiting(self) -> int:
        """See above."""
        ...

    def write(self, data: bytes) -> None:
        """Send a piece; it leaves at once. Empty is quiet."""
        ...

    def end(self) -> None:
        """The body is whole."""
        ...

    def cut(self) -> None:
        """The body cannot be made whole: the client is to see that it is not."""
        ...


class Exchange(Protocol):
    """One request on one connection.

    No coroutine: the handler returns at once and anything may call `reply` later, on the loop's
    thread, exactly once. Replies leave in the order of requests.

    Attributes:
        method: `b"POST"`.
        path: raw target without the query, still percent-encoded: `b"/v2/models/m/infer"`.
        query: raw, without the question mark.
        headers: lower-case names; a repeated header's values are joined by `, `.
        body: the whole body, de-chunked. A large one with binary tensors may begin with up to 15
            spaces that the client did not send; the header that tells the JSON's length says so.
        received_ns: `time.perf_counter_ns()` when the request was complete.
        gone: the client left; nobody reads an answer, `reply` is then quiet.
        on_gone: set by whoever holds the exchange in a queue; called once when the client leaves
            before the reply.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    received_ns: int
    gone: bool
    on_gone: Callable[[], None] | None

    @property
    def trace(self) -> TraceContext | None:
        """The W3C trace context that came with it; found out when asked."""
        ...

    @property
    def request_id(self) -> str:
        """`X-Request-Id` as it came, else one made up at the first asking."""
        ...

    def reply(self, status: int, body: bytes, content_type: bytes, headers: Headers = ()) -> None:
        """Answer. A second call on the same exchange is an error of the caller."""
        ...

    def stream(self, status: int, content_type: bytes, headers: Headers = ()) -> Stream:
        """Answer piece by piece, in place of `reply`: the head leaves, the body comes later."""
        ...


Handler: TypeAlias = Callable[[Exchange], None]
"""Called on the loop's thread. An exception that escapes is answered 500 and logged."""
