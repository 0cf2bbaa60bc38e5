"""Messages and calls of the services beside inference: health, and reflection in both versions."""

from typing import Final

from modelworks.protocol.oip_grpc.codec import Codec
from modelworks.protocol.oip_grpc.describing import (
    Enum,
    File,
    Message,
    Method,
    Service,
    Types,
    message,
)

_HEALTH: Final = "grpc.health.v1"
STATUS: Final = f"{_HEALTH}.HealthCheckResponse.ServingStatus"
HEALTH: Final = File(
    "grpc/health/v1/health.proto",
    _HEALTH,
    (
        message(f"{_HEALTH}.HealthCheckRequest", "1 service string"),
        message(f"{_HEALTH}.HealthCheckResponse", "1 status .ServingStatus"),
    ),
    (Enum(STATUS, ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")),),
    (
        Service(
            f"{_HEALTH}.Health",
            (
                Method("Check", f"{_HEALTH}.HealthCheckRequest", f"{_HEALTH}.HealthCheckResponse"),
                Method(
                    *("Watch", f"{_HEALTH}.HealthCheckRequest", f"{_HEALTH}.HealthCheckResponse"),
                    gives_many=True,
                ),
            ),
        ),
    ),
)
V1: Final = "grpc.reflection.v1"
V1ALPHA: Final = "grpc.reflection.v1alpha"


def _reflection(package: str, name: str) -> File:
    asked, told = f"{package}.ServerReflectionRequest", f"{package}.ServerReflectionResponse"
    request, response = "(message_request)", "(message_response)"
    messages: tuple[Message, ...] = (
        message(
            asked,
            "1 host string",
            f"3 file_by_filename string {request}",
            f"4 file_containing_symbol string {request}",
            f"5 file_containing_extension ExtensionRequest {request}",
            f"6 all_extension_numbers_of_type string {request}",
            f"7 list_services string {request}",
        ),
        message(
            f"{package}.ExtensionRequest", "1 containing_type string", "2 extension_number int32"
        ),
        message(
            told,
            "1 valid_host string",
            "2 original_request ServerReflectionRequest",
            f"4 file_descriptor_response FileDescriptorResponse {response}",
            f"5 all_extension_numbers_response ExtensionNumberResponse {response}",
            f"6 list_services_response ListServiceResponse {response}",
            f"7 error_response ErrorResponse {response}",
        ),
        message(f"{package}.FileDescriptorResponse", "1 file_descriptor_proto bytes*"),
        message(
            f"{package}.ExtensionNumberResponse",
            *("1 base_type_name string", "2 extension_number int32*"),
        ),
        message(f"{package}.ListServiceResponse", "1 service ServiceResponse*"),
        message(f"{package}.ServiceResponse", "1 name string"),
        message(f"{package}.ErrorResponse", "1 error_code int32", "2 error_message string"),
    )
    method = Method("ServerReflectionInfo", asked, told, takes_many=True, gives_many=True)
    return File(
        name, package, messages, services=(Service(f"{package}.ServerReflection", (method,)),)
    )


REFLECTIONS: Final = (
    _reflection(V1, "grpc/reflection/v1/reflection.proto"),
    _reflection(V1ALPHA, "grpc/reflection/v1alpha/reflection.proto"),
)
CODEC: Final = Codec(Types(HEALTH, *REFLECTIONS))
