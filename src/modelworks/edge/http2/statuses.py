"""Statuses of gRPC: those that the edge gives itself, and how they are written and noted."""

from typing import Final

OK: Final = 0
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
HTTP_OF: Final = (
    *(200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401),
)
"""As the access log tells them."""
_OF_HTTP: Final = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 413: 8, 429: 8, 503: 14}
_MOST_TOLD: Final = 4096  # bytes of a status message
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - {0x25}


def of_http(status: int) -> int:
    """The status for what HTTP would have refused with `status`."""
    return _OF_HTTP.get(status, INTERNAL)


def encoded(message: str) -> bytes:
    """A status message as a header's value: percent-encoded, shortened where it is very long."""
    raw = message.encode("utf-8", "backslashreplace")[:_MOST_TOLD]
    if not _PLAIN.issuperset(raw):
        raw = b"".join(b"%c" % byte if byte in _PLAIN else b"%%%02X" % byte for byte in raw)
    return raw.strip(b" ")
