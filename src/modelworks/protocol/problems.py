"""Errors of the house as HTTP answers of the data plane: the one table.

| error | status | why |
|---|---|---|
| InvalidError, RefusedError | 400 | the caller's input |
| UnauthenticatedError | 401 | with WWW-Authenticate: an API key is wanted |
| ForbiddenError | 403 | the API key's role |
| NotFoundError | 404 | |
| ConflictError | 409 | |
| UnsupportedError, MissingExtraError | 501 | known, not offered here |
| LimitedError | 429 | with Retry-After: the caller's rate or quota |
| UnavailableError | 503 | with Retry-After: the same request may succeed later |
| DeadlineError | 504 | the caller's own time ran out; repeating at once would end the same way |
| CorruptError, CrashedError, anything else | 500 | ours |
"""

import orjson

from modelworks.core.errors import (
    ConflictError,
    DeadlineError,
    ForbiddenError,
    InvalidError,
    LimitedError,
    MissingExtraError,
    ModelworksError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.keys import CHALLENGE

Headers = tuple[tuple[bytes, bytes], ...]

# The first that fits: a class stands before its bases.
STATUSES: tuple[tuple[type[ModelworksError], int], ...] = (
    (InvalidError, 400),
    (UnauthenticatedError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (UnsupportedError, 501),
    (MissingExtraError, 501),
    (DeadlineError, 504),
    (LimitedError, 429),
    (UnavailableError, 503),
)
_FOUND: dict[type[Exception], int] = {}  # a server that refuses is short of time


def status_of(error: Exception) -> int:
    """The HTTP status of an error; 500 for what is not the caller's."""
    kind = type(error)
    status = _FOUND.get(kind)
    if status is None:
        status = next((status for known, status in STATUSES if issubclass(kind, known)), 500)
        _FOUND[kind] = status
    return status


def problem(error: Exception) -> tuple[int, bytes, Headers]:
    """Status, JSON body and headers of an error.

    The message of an error that is not of the house stays in the log: it may tell a stranger
    more than he should know.
    """
    status = status_of(error)
    if not isinstance(error, ModelworksError):
        return status, error_body("internal error: see the server's log"), ()
    headers: Headers = ()
    if status in {429, 503} and isinstance(error, UnavailableError):
        headers = ((b"Retry-After", b"%d" % error.retry_after),)
    elif status == 401:
        headers = ((b"WWW-Authenticate", CHALLENGE.encode()),)
    return status, error_body(error.message, error.field), headers


def error_body(message: str, field: str | None = None) -> bytes:
    """`{"error": "...", "field": "..."}`; `field` only where it is known."""
    body = {"error": message} if field is None else {"error": message, "field": field}
    return orjson.dumps(body, default=str)
