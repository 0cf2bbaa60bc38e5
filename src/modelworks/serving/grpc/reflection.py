"""Server reflection, in both versions: what can be called here, for tools such as grpcurl."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from modelworks.core.errors import ModelworksError
from modelworks.edge.http2.call import GrpcCall
from modelworks.protocol.oip_grpc.beside import CODEC, HEALTH, REFLECTIONS, V1, V1ALPHA
from modelworks.protocol.oip_grpc.describing import File
from modelworks.protocol.oip_grpc.descriptors import file_descriptor
from modelworks.protocol.oip_grpc.inference import FILE
from modelworks.serving.grpc.statuses import INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED

FILES: Final = (FILE, HEALTH, *REFLECTIONS)
BYTES: Final = 1 << 20
"""Of answers that the client has not taken; beyond, no further question is read."""
SERVICES: Final = tuple(service.name for file in FILES for service in file.services)


class Reflection:
    """`ServerReflectionInfo` of one version.

    Args:
        package: `grpc.reflection.v1` or `v1alpha`: they differ in nothing else.
    """

    def __init__(self, package: str) -> None:
        self._asked = f"{package}.ServerReflectionRequest"
        self._told = f"{package}.ServerReflectionResponse"

    def begin(self, call: GrpcCall, ended: Callable[[GrpcCall], None]) -> None:
        """Answer every question of a call; `ended` is told when it has ended it."""
        call.state = ended
        call.on_message = self.message
        call.on_half_closed = _end
        call.on_drained = call.go_on

    def message(self, call: GrpcCall, message: bytes) -> None:
        """One question."""
        try:
            asked = CODEC.decode(self._asked, message)
        except ModelworksError as error:
            call.on_message = None
            call.state(call)
            call.finish(INVALID_ARGUMENT, error.message)
            return
        told = {"valid_host": asked.get("host", ""), "original_request": asked, **answer(asked)}
        call.send(CODEC.encode(self._told, told))
        if call.waiting > BYTES:
            call.hold()


V1_CALLS: Final = Reflection(V1)
V1ALPHA_CALLS: Final = Reflection(V1ALPHA)


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What is told to one question."""
    if "list_services" in asked:
        return {"list_services_response": {"service": [{"name": name} for name in SERVICES]}}
    if "file_by_filename" in asked:
        name = asked["file_by_filename"]
        return _file(next((file for file in FILES if file.name == name), None), name)
    if "file_containing_symbol" in asked:
        name = asked["file_containing_symbol"]
        return _file(_symbols().get(name.removeprefix(".")), name)
    if "all_extension_numbers_of_type" in asked:
        name = asked["all_extension_numbers_of_type"]
        known = name.removeprefix(".") in _symbols()
        numbers = {"all_extension_numbers_response": {"base_type_name": name}}
        return numbers if known else _error(NOT_FOUND, f"there is no '{name[:100]}' here")
    if "file_containing_extension" in asked:
        return _error(NOT_FOUND, "no message here has extensions")
    return _error(UNIMPLEMENTED, "the question is none that is known")


def _file(found: File | None, name: str) -> dict[str, Any]:
    if found is None:
        return _error(NOT_FOUND, f"there is no '{name[:100]}' here")
    return {"file_descriptor_response": {"file_descriptor_proto": [_described(found.name)]}}


@cache
def _described(name: str) -> bytes:
    """The file of that name as it is told: made once, for it takes milliseconds."""
    return file_descriptor(next(file for file in FILES if file.name == name))


def _error(code: int, why: str) -> dict[str, Any]:
    return {"error_response": {"error_code": code, "error_message": why}}


@cache
def _symbols() -> Mapping[str, File]:
    """Every name, and the file that defines it."""
    return {name: file for file in FILES for name in file.known()}


def _end(call: GrpcCall) -> None:
    call.state(call)
    call.finish(0)
