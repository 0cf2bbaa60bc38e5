"""Calls beside inference: asked of the server as HTTP asks, and the answer's JSON as a message.

So who may ask, what waits for a model that is loaded on demand, what stands in the answer and why
something is refused is written once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote

import orjson

from modelworks.core.errors import InvalidError
from modelworks.edge.exchange import Exchange, Handler, Headers, Stream
from modelworks.edge.http2.call import GrpcCall
from modelworks.edge.trace import TraceContext
from modelworks.protocol.oip_grpc.inference import CODEC
from modelworks.protocol.oip_grpc.requests import scalars
from modelworks.serving.grpc.exchange import refuse_pieces
from modelworks.serving.grpc.statuses import refusal

Document: TypeAlias = dict[str, Any]
_NAMES: Final = "@:"  # as they stand in names


@dataclass(frozen=True, slots=True)
class Way:
    """How a call is asked and answered.

    Attributes:
        method: of HTTP.
        path: of a request.
        body: of it, as JSON.
        told: status and document of the answer -> what the message says; None = it is a refusal.
    """

    method: bytes
    path: Callable[[Document], str]
    body: Callable[[Document], Any] = lambda _: None
    told: Callable[[int, Document], Document | None] = lambda s, d: d if s == 200 else None


class Relayed:
    """One such call; fulfils `edge.exchange.Exchange`."""

    __slots__ = (
        *("_call", "_gives", "_told", "body", "headers", "method", "path", "received_ns"),
        "__weakref__",
    )

    query = b""

    def __init__(self, call: GrpcCall, way: Way, asked: Document, gives: str) -> None:
        self._call = call
        self._gives = gives
        self._told = way.told
        self.method = way.method
        self.path = way.path(asked).encode()
        body = way.body(asked)
        self.body = b"" if body is None else orjson.dumps(body)
        self.headers = call.headers
        self.received_ns = perf_counter_ns()

    @property
    def gone(self) -> bool:
        """See `Exchange`."""
        return self._call.gone

    @property
    def on_gone(self) -> Callable[[], None] | None:
        """See `Exchange`."""
        return self._call.on_gone

    @on_gone.setter
    def on_gone(self, told: Callable[[], None] | None) -> None:
        self._call.on_gone = told

    @property
    def trace(self) -> TraceContext | None:
        """See `Exchange`."""
        return self._call.trace

    @property
    def request_id(self) -> str:
        """See `Exchange`."""
        return self._call.request_id

    def reply(self, status: int, body: bytes, content_type: bytes, headers: Headers = ()) -> None:
        """Put the document into the message."""
        del content_type
        document: Any = orjson.loads(body) if body else {}
        told = self._told(status, {"models": document} if type(document) is list else document)
        if told is None:
            self._call.finish(*refusal(status, body, headers))
        else:
            self._call.answer(CODEC.encode(self._gives, told))

    def stream(self, status: int, content_type: bytes, headers: Headers = ()) -> Stream:
        """No document comes piece by piece."""
        refuse_pieces(status, content_type, headers)


def relay(handler: Handler, call: GrpcCall, method: str, message: bytes) -> None:
    """Ask the server.

    Args:
        handler: of HTTP requests.
        call: that is answered.
        method: of `WAYS`.
        message: the request.

    Raises:
        InvalidError: the message is damaged, or names no model where one is wanted.
    """
    asked = CODEC.decode(f"inference.{method}Request", message)
    exchange = Relayed(call, WAYS[method], asked, f"inference.{method}Response")
    handler(cast("Exchange", exchange))


def model_path(name: str, version: str, rest: str = "") -> str:
    """Where a model is asked by HTTP.

    Raises:
        InvalidError: no name.
    """
    if not name:
        raise InvalidError("the name of a model is wanted", field="name")
    path = f"/v2/models/{quote(name, safe=_NAMES)}"
    if version:
        path += f"/versions/{quote(version, safe=_NAMES)}"
    return path + rest


def _of_model(rest: str) -> Callable[[Document], str]:
    return lambda asked: model_path(asked.get("name", ""), asked.get("version", ""), rest)


def _statistics(asked: Document) -> str:
    if not asked.get("name"):
        return "/v2/models/stats"
    return model_path(asked["name"], asked.get("version", ""), "/stats")


def _acting(verb: str) -> Callable[[Document], str]:
    def path(asked: Document) -> str:
        name = asked.get("model_name", "")
        if not name:
            raise InvalidError("the name of a model is wanted", field="model_name")
        return f"/v2/repository/models/{quote(name, safe=_NAMES)}/{verb}"

    return path


def _parameters(asked: Document) -> Document:
    given: Mapping[str, Any] = asked.get("parameters", {})
    found = scalars(given, "parameters")
    # A file's bytes are refused by the name they come under; JSON could not carry them.
    shown = {key: "" if isinstance(value, memoryview) else value for key, value in found.items()}
    return {"parameters": shown}


def _whether(key: str) -> Callable[[int, Document], Document | None]:
    """A plain yes or no: what is not ready, or not there, is no error here."""

    def told(status: int, document: Document) -> Document | None:
        if status == 200:
            return {key: bool(document.get(key))}
        return {key: False} if status in {404, 503} else None

    return told


WAYS: Final[Mapping[str, Way]] = {
    "ServerLive": Way(b"GET", lambda _: "/v2/health/live", told=_whether("live")),
    "ServerReady": Way(b"GET", lambda _: "/v2/health/ready", told=_whether("ready")),
    "ModelReady": Way(b"GET", _of_model("/ready"), told=_whether("ready")),
    "ServerMetadata": Way(b"GET", lambda _: "/v2"),
    "ModelMetadata": Way(b"GET", _of_model("")),
    "ModelConfig": Way(
        b"GET", _of_model("/config"), told=lambda s, d: {"config": d} if s == 200 else None
    ),
    "ModelStatistics": Way(b"GET", _statistics),
    "RepositoryIndex": Way(
        b"POST",
        lambda _: "/v2/repository/index",
        lambda asked: {"ready": asked.get("ready", False)},
    ),
    "RepositoryModelLoad": Way(b"POST", _acting("load"), _parameters),
    "RepositoryModelUnload": Way(b"POST", _acting("unload"), _parameters),
}
"""By name of the call."""
