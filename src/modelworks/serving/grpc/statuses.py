"""Refusals as gRPC says them.

Whatever refuses a request here says so as HTTP does; this is the one table between the two.

| HTTP | gRPC | |
|---|---|---|
| 400 | INVALID_ARGUMENT | 3 |
| 401 | UNAUTHENTICATED | 16 |
| 403 | PERMISSION_DENIED | 7 |
| 404, 405 | NOT_FOUND | 5 |
| 409 | FAILED_PRECONDITION | 9 |
| 429 | RESOURCE_EXHAUSTED | 8, with `grpc-retry-pushback-ms` |
| 501 | UNIMPLEMENTED | 12 |
| 503 | UNAVAILABLE | 14, with `grpc-retry-pushback-ms` |
| 504 | DEADLINE_EXCEEDED | 4 |
| anything else | INTERNAL | 13 |
"""

from typing import Any, Final

import orjson

from modelworks.edge.exchange import Headers

OK: Final = 0
INVALID_ARGUMENT: Final = 3
NOT_FOUND: Final = 5
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
RESOURCE_EXHAUSTED: Final = 8
_STATUSES: Final = {
    400: INVALID_ARGUMENT,
    401: 16,
    403: 7,
    404: NOT_FOUND,
    405: NOT_FOUND,
    409: 9,
    429: RESOURCE_EXHAUSTED,
    501: UNIMPLEMENTED,
    503: UNAVAILABLE,
    504: 4,
}


def refusal(status: int, body: bytes, headers: Headers) -> tuple[int, str, Headers]:
    """The status, message and trailers of a refusal.

    Args:
        status: of HTTP, 400 or more.
        body: JSON, `{"error": ..., "field": ...}`. The field stands before the message.
        headers: `Retry-After` becomes the pause that gRPC's retries keep to.
    """
    try:
        told: Any = orjson.loads(body)
        message = str(told["error"])
        field = told.get("field")
        if field and field not in message:
            message = f"{field}: {message}"
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"HTTP status {status}"
    trailers: Headers = ()
    for name, value in headers:
        if name == b"Retry-After":
            trailers = ((b"grpc-retry-pushback-ms", b"%d000" % int(value)),)
    return _STATUSES.get(status, INTERNAL), message, trailers
