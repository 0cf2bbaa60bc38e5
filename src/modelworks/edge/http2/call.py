"""What the HTTP/2 edge hands to a gRPC service: a call, its messages, the place for its answer."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from modelworks.edge.exchange import Headers
from modelworks.edge.head import Head
from modelworks.edge.trace import TraceContext


class GrpcCall(Protocol):
    """One gRPC call on one HTTP/2 stream; everything on the loop's thread, no coroutine.

    The service gets it when the request's headers have come, sets `on_message`, and returns; the
    messages follow, often before the loop turns. What it sets is called with the call itself: one
    bound method serves all calls, and nothing need be made for each.

    A unary call is answered by `answer(message)`, or by `finish(status, message)` where it fails.
    A stream is `send(message)` any number of times and `finish(0)`. `answer` or `finish` may come
    at any time, before the client has sent everything too: what still comes is thrown away.

    Attributes:
        head: as the edge read it. With it a message can be made a request like any other:
            `Request(answers, call.head, message)`, whose answer then goes to `answers`.
        path: `b"/inference.GRPCInferenceService/ModelInfer"`.
        headers: lower-case names, pseudo-headers left out; values of a repeated one are joined by
            `, `. Shared with other calls: read only. Values of names in `-bin` are as they came,
            in base64.
        received_ns: `time.perf_counter_ns()` when the headers had come.
        timeout_us: what `grpc-timeout` grants, from `received_ns` on; 0 = any. Whoever queues the
            call keeps to it; a call that is answered by nobody is ended by the edge, a second late
            or so, with status 4.
        gone: the client left or cancelled, or the edge ended the call: nobody reads an answer;
            `send`, `answer` and `finish` are then quiet.
        state: the service's own; None at first.
        awaited: set by a service that can do nothing before the first message: where that has not
            begun to come within `body_timeout_s`, the edge ends the call with status 4. A message
            ends it; False at first, for a stream may be quiet as long as it likes.
        on_message: gets each message, inflated and without its prefix; None = thrown away.
        on_half_closed: called once behind the last message, when the client sends no more; not
            called when the call was answered before.
        on_gone: called once when the client leaves or cancels before the call is answered, or the
            edge ends it: no time is left, a message is too long or damaged.
        on_drained: called when what waited has been taken, each time.
    """

    head: Head
    path: bytes
    headers: dict[bytes, bytes]
    received_ns: int
    timeout_us: int
    gone: bool
    state: Any
    awaited: bool
    on_message: "Callable[[GrpcCall, bytes], None] | None"
    on_half_closed: "Callable[[GrpcCall], None] | None"
    on_gone: Callable[[], None] | None
    on_drained: Callable[[], None] | None

    @property
    def waiting(self) -> int:
        """Bytes sent that the client has not granted room for, or not taken yet.

        Whoever sends many messages stops above a bound of its own until `on_drained`.
        """
        ...

    @property
    def trace(self) -> TraceContext | None:
        """The W3C trace context that came with it; found out when asked."""
        ...

    @property
    def request_id(self) -> str:
        """`X-Request-Id` as it came, else one made up at the first asking."""
        ...

    def hold(self) -> None:
        """No further message for now: what the client still sends is bounded by its window."""
        ...

    def go_on(self) -> None:
        """Messages again; those that came meanwhile follow when the loop turns."""
        ...

    def send(self, message: bytes) -> None:
        """One message of several; it leaves when the loop turns, together with its neighbours."""
        ...

    def answer(self, message: bytes) -> None:
        """The only message, and status 0. Cheaper than `send` and `finish`.

        Raises:
            RuntimeError: something was sent, or it was answered already.
        """
        ...

    def finish(self, status: int, message: str = "", trailers: Headers = ()) -> None:
        """End the call.

        Args:
            status: of gRPC, 0 to 16.
            message: one line for the client; written percent-encoded.
            trailers: further ones; lower-case names.

        Raises:
            RuntimeError: it was answered already.
        """
        ...


GrpcHandler: TypeAlias = Callable[[GrpcCall], None]
"""Called on the loop's thread. An exception that escapes ends the call with status 13."""

OPEN_CALLS = frozenset(
    {
        b"/grpc.health.v1.Health/Check",
        b"/grpc.health.v1.Health/Watch",
        b"/inference.GRPCInferenceService/ServerLive",
        b"/inference.GRPCInferenceService/ServerReady",
    }
)
"""Calls that need no key, as health paths of HTTP do; all others are checked before the service."""
