"""Open Inference Protocol v2 over HTTP: JSON and the binary tensor extension."""

from modelworks.protocol.oip.request import (
    InferRequest,
    RequestedOutput,
    decode_request,
    parse_header_length,
)
from modelworks.protocol.oip.response import encode_response

__all__ = [
    "InferRequest",
    "RequestedOutput",
    "decode_request",
    "encode_response",
    "parse_header_length",
]
