"""One request that came by gRPC, as everything behind it knows requests: an `Exchange`."""

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, NoReturn, TypeAlias

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.edge.exchange import Headers, Stream
from modelworks.edge.http2.call import GrpcCall
from modelworks.edge.trace import TraceContext
from modelworks.protocol.oip_grpc.inference import CODEC
from modelworks.protocol.oip_grpc.requests import REQUEST, scalars
from modelworks.serving.grpc.statuses import refusal

Parts: TypeAlias = tuple[int, int, str]
"""What `templates.parts_of` finds."""


Tell: TypeAlias = Callable[["Asked", int], None]
"""Told of each answer to a request whose trace is kept: the request, and HTTP's status."""


class Asked:
    """A `ModelInferRequest`; fulfils `edge.exchange.Exchange`.

    Attributes:
        call: that it came by.
        named: its beginning, which names model and version; empty = it does not begin as usual.
        start: where its id ends; None = it does not begin as usual.
        own: its id, where it begins as usual.
        tell: told of its answer; None = nobody is.
        noted: what whoever follows traces keeps of it.
    """

    __slots__ = (
        *("body", "call", "headers", "named", "noted", "own", "path", "received_ns", "start"),
        *("__weakref__", "tell"),
    )

    method = b"POST"
    query = b""

    def __init__(self, call: GrpcCall, message: bytes, parts: Parts | None) -> None:
        self.call = call
        self.path = call.path
        self.headers = call.headers
        self.body = message
        self.start: int | None = None
        self.named, self.own = b"", ""
        if parts is not None:
            named, self.start, self.own = parts
            self.named = message[:named]
        self.received_ns = perf_counter_ns()
        self.tell: Tell | None = None
        self.noted: Any = None

    @property
    def gone(self) -> bool:
        """See `Exchange`."""
        return self.call.gone

    @property
    def on_gone(self) -> Callable[[], None] | None:
        """See `Exchange`."""
        return self.call.on_gone

    @on_gone.setter
    def on_gone(self, told: Callable[[], None] | None) -> None:
        self.call.on_gone = told

    @property
    def trace(self) -> TraceContext | None:
        """See `Exchange`."""
        return self.call.trace

    @property
    def request_id(self) -> str:
        """See `Exchange`."""
        return self.call.request_id

    def reply(self, status: int, body: bytes, content_type: bytes, headers: Headers = ()) -> None:
        """Answer: with a message where all is well, else with what HTTP would say."""
        del content_type
        if status == 200:
            self.call.answer(body)
        else:
            self.call.finish(*refusal(status, body, headers))
        if self.tell is not None:
            self.tell(self, status)

    def stream(self, status: int, content_type: bytes, headers: Headers = ()) -> Stream:
        """Nobody answers a prediction piece by piece."""
        refuse_pieces(status, content_type, headers)

    def parameter(self, name: str) -> str | None:
        """A parameter of the request as text; None where there is none that is a text or number."""
        try:
            given = CODEC.decode(REQUEST, self.body).get("parameters", {})
            value = scalars({name: given[name]}, "") if name in given else {}
        except InvalidError:
            return None  # what is wrong with it the model's own reader says
        found = value.get(name)
        return str(found) if isinstance(found, str | int) else None


def refuse_pieces(status: int, content_type: bytes, headers: Headers) -> NoReturn:
    """Whoever would answer a unary call piece by piece.

    Raises:
        UnsupportedError: always.
    """
    del status, content_type, headers
    raise UnsupportedError("this answer comes in pieces: ask for it by HTTP, /generate_stream")
