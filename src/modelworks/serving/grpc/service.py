"""The gRPC calls of one worker: one look-up by path, and for predictions one by model."""

from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Final, TypeAlias, cast

from modelworks.core.errors import ModelworksError, UnauthenticatedError
from modelworks.edge.exchange import Exchange
from modelworks.edge.http2.call import GrpcCall
from modelworks.edge.key_gate import AUTHORIZATION
from modelworks.edge.trace import perhaps_sampled
from modelworks.protocol.oip_grpc.beside import V1, V1ALPHA
from modelworks.protocol.oip_grpc.inference import CODEC, SERVICE
from modelworks.protocol.oip_grpc.requests import REQUEST
from modelworks.protocol.oip_grpc.templates import behind, parts_of
from modelworks.protocol.problems import problem
from modelworks.serving.app import App
from modelworks.serving.grpc.exchange import Asked
from modelworks.serving.grpc.health import Health
from modelworks.serving.grpc.inferring import infer_message
from modelworks.serving.grpc.reflection import SERVICES, V1_CALLS, V1ALPHA_CALLS, Reflection
from modelworks.serving.grpc.relay import WAYS, model_path, relay
from modelworks.serving.grpc.statuses import INTERNAL, UNAVAILABLE, UNIMPLEMENTED, refusal
from modelworks.serving.grpc.stream import Line
from modelworks.serving.live import Live

Take: TypeAlias = Callable[[GrpcCall, bytes], None]
_NAMES: Final = 4096  # of models and versions that are remembered; clients choose them
_NOTHING: Final = b""
_UNOFFERED: Final = {
    "TraceSetting": "traces are set where the server is started: see --otlp",
    "LogSettings": "logs are set where the server is started",
    "SystemSharedMemoryRegister": "shared memory is not offered: send tensors as raw bytes",
    "CudaSharedMemoryRegister": "shared memory is not offered: send tensors as raw bytes",
}
_QUIET: Final = (
    *("SystemSharedMemoryStatus", "SystemSharedMemoryUnregister"),
    *("CudaSharedMemoryStatus", "CudaSharedMemoryUnregister"),
)
"""Answered with an empty message: nothing is registered."""


class GrpcService:
    """Answers every gRPC call of one worker; fulfils `edge.http2.call.GrpcHandler`.

    Args:
        app: answers the same by HTTP.

    Attributes:
        health: who is told of changes.
        streams: open `ModelStreamInfer` calls.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._hot: dict[bytes, Callable[[Exchange], None]] = {}
        self.health = Health(lambda: app.ready, SERVICES)
        self.streams: set[Line] = set()
        self._described: set[GrpcCall] = set()  # open calls of reflection
        self._ending = False
        begin = {f"/{SERVICE}/ModelInfer": self._unary(self._infer)}
        begin[f"/{SERVICE}/ModelStreamInfer"] = self._stream
        for name in WAYS:
            begin[f"/{SERVICE}/{name}"] = self._unary(partial(self._relay, name))
        for name, why in _UNOFFERED.items():
            begin[f"/{SERVICE}/{name}"] = partial(_unoffered, why)
        for name in _QUIET:
            begin[f"/{SERVICE}/{name}"] = self._unary(_empty)
        begin["/grpc.health.v1.Health/Check"] = self._unary(self.health.check)
        begin["/grpc.health.v1.Health/Watch"] = self._unary(self.health.watch)
        for package, told in ((V1, V1_CALLS), (V1ALPHA, V1ALPHA_CALLS)):
            path = f"/{package}.ServerReflection/ServerReflectionInfo"
            begin[path] = partial(self._describe, told)
        self._begin = {path.encode(): act for path, act in begin.items()}
        app.follow(self.refresh)

    def __call__(self, call: GrpcCall) -> None:
        """Take a call whose headers have come."""
        begin = self._begin.get(call.path)
        if begin is None:
            path = call.path[:200].decode("latin-1")
            call.finish(UNIMPLEMENTED, f"there is no call {path} here: ask the server's reflection")
        else:
            begin(call)

    def refresh(self) -> None:
        """What is served has changed, or is about to end."""
        self._hot.clear()
        self.health.changed()

    def drain(self) -> None:
        """The server ends: streams take nothing more, and those who watch are told."""
        self._ending = True
        self.health.end()
        for line in list(self.streams):
            line.leave()
        described, self._described = self._described, set()
        for call in described:
            call.finish(UNAVAILABLE, "the server is ending")

    def _unary(self, take: Take) -> Callable[[GrpcCall], None]:
        def begin(call: GrpcCall) -> None:
            call.on_message = first
            call.on_half_closed = _without
            call.awaited = True

        def first(call: GrpcCall, message: bytes) -> None:
            call.on_message = call.on_half_closed = None
            take(call, message)

        return begin

    # -- predictions

    def _infer(self, call: GrpcCall, message: bytes) -> None:
        self._take(Asked(call, message, parts_of(message)))

    def _stream(self, call: GrpcCall) -> None:
        take = self._take if self._app.ring is None else self._held_to_keys
        line = Line(call, take, self.streams.discard)
        self.streams.add(line)
        if self._ending:
            line.leave()

    def _held_to_keys(self, asked: Asked) -> None:
        """A request of a stream: its key may have been revoked since the stream began."""
        ring, given = self._app.ring, asked.headers.get(AUTHORIZATION)
        if ring is None or ring.keys.find(given) is not None:
            self._take(asked)
            return
        error = UnauthenticatedError(ring.refused(given), field="Authorization")
        status, body, headers = problem(error)
        asked.reply(status, body, b"", headers)

    def _take(self, asked: Asked) -> None:
        answer = self._hot.get(asked.named)
        if self._app.traces is not None and perhaps_sampled(asked.headers):
            asked.tell = self._traced
        if answer is not None:
            answer(cast("Exchange", asked))
            return
        try:
            given = CODEC.decode(REQUEST, asked.body)
            if asked.start is not None:
                behind(asked.body, asked.start)  # what is remembered is its beginning alone
            name, version = given.get("model_name", ""), given.get("model_version", "")
            asked.path = model_path(name, version, "/infer").encode()
        except ModelworksError as error:
            status, body, headers = problem(error)
            asked.reply(status, body, b"", headers)
            return
        found = self._app.ask(cast("Exchange", asked), name, version, infer_message)
        asked.path = asked.call.path
        if found is not None and asked.named:
            if len(self._hot) >= _NAMES:
                self._hot.clear()
            self._hot[asked.named] = found

    def _traced(self, asked: Asked, status: int) -> None:
        self._app.note(asked, status, _model_of(self._hot.get(asked.named)))

    # -- everything else

    def _describe(self, told: Reflection, call: GrpcCall) -> None:
        """Reflection. Its calls may stay open for long: one would keep the server from ending."""
        if self._ending:
            call.finish(UNAVAILABLE, "the server is ending")
            return
        self._described.add(call)
        call.on_gone = partial(self._described.discard, call)
        told.begin(call, self._described.discard)

    def _relay(self, name: str, call: GrpcCall, message: bytes) -> None:
        try:
            relay(self._app, call, name, message)
        except ModelworksError as error:
            call.finish(*refusal(*problem(error)))


def _model_of(answer: Callable[[Exchange], None] | None) -> Live | None:
    """The model that an answer is bound to; None where a route decides."""
    return cast("Live", answer.__self__) if isinstance(answer, MethodType) else None


def _without(call: GrpcCall) -> None:
    call.finish(INTERNAL, "the call ended without its message")


def _unoffered(why: str, call: GrpcCall) -> None:
    call.finish(UNIMPLEMENTED, why)


def _empty(call: GrpcCall, message: bytes) -> None:
    del message
    call.answer(_NOTHING)
