"""`grpc.health.v1.Health`: whether the server answers, asked once or told at every change."""

from collections.abc import Callable, Iterable
from typing import Final

from modelworks.core.errors import ModelworksError
from modelworks.edge.http2.call import GrpcCall
from modelworks.protocol.oip_grpc.beside import CODEC
from modelworks.serving.grpc.statuses import INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED
from modelworks.serving.grpc.statuses import UNAVAILABLE as _UNAVAILABLE

MOST: Final = 1024
"""Watchers of one worker."""
_ASKED: Final = "grpc.health.v1.HealthCheckRequest"
_TOLD: Final = "grpc.health.v1.HealthCheckResponse"
_SERVING, _NOT_SERVING, _NO_SERVICE = "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"


class Health:
    """Of one worker.

    Args:
        ready: whether all models were loaded and nothing ends.
        services: names that are known, beside the empty one for the server.
    """

    def __init__(self, ready: Callable[[], bool], services: Iterable[str]) -> None:
        self._ready = ready
        self._services = {"", *services}
        self._watchers: dict[GrpcCall, str] = {}  # what each was told last
        self._ended = False

    @property
    def watchers(self) -> int:
        """How many are told of changes."""
        return len(self._watchers)

    def check(self, call: GrpcCall, message: bytes) -> None:
        """`Check`."""
        try:
            service = CODEC.decode(_ASKED, message).get("service", "")
        except ModelworksError as error:
            call.finish(INVALID_ARGUMENT, error.message)
            return
        if service in self._services:
            call.answer(_told(self._status()))
        else:
            call.finish(NOT_FOUND, f"there is no service '{service[:100]}' here")

    def watch(self, call: GrpcCall, message: bytes) -> None:
        """`Watch`."""
        call.on_message = None
        try:
            service = CODEC.decode(_ASKED, message).get("service", "")
        except ModelworksError as error:
            call.finish(INVALID_ARGUMENT, error.message)
            return
        if len(self._watchers) >= MOST:
            call.finish(RESOURCE_EXHAUSTED, f"{MOST} clients watch already")
            return
        known = service in self._services
        if self._ended:  # who was told of it watches anew at once, often on the same connection
            _part(call, known=known)
            return
        self._watchers[call] = first = self._status() if known else _NO_SERVICE
        call.on_gone = lambda: self._leave(call)
        call.on_drained = lambda: self._tell(call, self._status())
        call.send(_told(first))

    def changed(self) -> None:
        """Tell who watches, where it is another status than they know."""
        if not self._watchers:
            return
        status = self._status()
        for call in list(self._watchers):
            self._tell(call, status)

    def end(self) -> None:
        """The server ends: say so, and end the calls, which would keep it from ending."""
        self._ended = True
        watchers, self._watchers = self._watchers, {}
        for call, told in watchers.items():
            call.on_gone = None
            _part(call, known=told != _NO_SERVICE)

    def _leave(self, call: GrpcCall) -> None:
        self._watchers.pop(call, None)

    def _tell(self, call: GrpcCall, status: str) -> None:
        """Tell one of them; who has not read the last one is told when he has."""
        told = self._watchers.get(call, _NO_SERVICE)
        if told in {_NO_SERVICE, status} or call.waiting:
            return
        self._watchers[call] = status
        call.send(_told(status))

    def _status(self) -> str:
        return _SERVING if self._ready() else _NOT_SERVING


def _part(call: GrpcCall, *, known: bool) -> None:
    """Say that the server ends, and end the call."""
    if known:
        call.send(_told(_NOT_SERVING))
    call.finish(_UNAVAILABLE, "the server is ending")


def _told(status: str) -> bytes:
    return CODEC.encode(_TOLD, {"status": status})
