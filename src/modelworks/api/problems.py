"""Errors as problem+json (RFC 9457): the only place where the control plane knows status codes."""

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from modelworks.core import errors
from modelworks.core.keys import CHALLENGE

MEDIA_TYPE = "application/problem+json"

STATUSES: tuple[tuple[type[errors.ModelworksError], int, str], ...] = (
    (errors.RefusedError, 422, "Refused"),
    (errors.InvalidError, 400, "Invalid input"),
    (errors.UnauthenticatedError, 401, "Not authenticated"),
    (errors.ForbiddenError, 403, "Not allowed"),
    (errors.NotFoundError, 404, "Not found"),
    (errors.ConflictError, 409, "Conflict"),
    (errors.UnsupportedError, 422, "Unsupported"),
    (errors.DeadlineError, 504, "Deadline passed"),
    (errors.LimitedError, 429, "Too many requests"),
    (errors.UnavailableError, 503, "Unavailable"),
    (errors.MissingExtraError, 501, "Not installed"),
    (errors.CorruptError, 500, "Damaged data"),
    (errors.CrashedError, 500, "Worker failed"),
)
"""Error -> status and title; the first that fits."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail", "kind"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What, where, and the cure, in one line."},
        "kind": {"type": "string", "description": "The error's class."},
        "field": {"type": "string", "description": "The offending input."},
        "extra": {"type": "string", "description": "The extra to install."},
        "missing": {"type": "string", "description": "The library that is missing."},
    },
}


def problem(error: errors.ModelworksError) -> Response:
    """An error as an answer."""
    fitting = ((status, title) for kind, status, title in STATUSES if isinstance(error, kind))
    status, title = next(fitting, (500, "Failed"))
    more = {"field": error.field} if error.field else {}
    if isinstance(error, errors.MissingExtraError):
        more |= {"extra": error.extra, "missing": error.missing}
    answer = render(status, title, error.message, kind=type(error).__name__, **more)
    if isinstance(error, errors.UnavailableError):
        answer.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.UnauthenticatedError):
        answer.headers["WWW-Authenticate"] = CHALLENGE
    return answer


def render(status: int, title: str, detail: str, *, kind: str, **more: str) -> Response:
    """A problem document."""
    body = {
        "type": f"urn:modelworks:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "kind": kind,
        **more,
    }
    # Escaped to ASCII: what callers sent may not be encodable otherwise.
    return Response(json.dumps(body).encode(), status_code=status, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem document, and none with a trace."""
    app.add_exception_handler(errors.ModelworksError, _known)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(Exception, _unexpected)


def _known(_request: Request, error: Exception) -> Response:
    if not isinstance(error, errors.ModelworksError):
        raise error
    return problem(error)


def _left(_request: Request, _error: Exception) -> Response:
    """The client went away in the middle of its request; nobody reads this."""
    return Response(status_code=400)


def _unreadable(_request: Request, error: Exception) -> Response:
    """Path and query parameters that FastAPI could not read."""
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    place = [str(part) for part in first.get("loc", ())][1:]
    field = ".".join(place) or "request"
    return problem(errors.InvalidError(f"{field}: {first.get('msg', 'invalid')}", field=field))


def _http(_request: Request, error: Exception) -> Response:
    """What the router says itself: no such path, no such method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(error.detail) if isinstance(error, HTTPException) else "failed"
    kind = {400: "InvalidError", 404: "NotFoundError"}.get(status, "HttpError")
    answer = render(status, detail.split("\n", 1)[0], detail, kind=kind)
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    return answer


def _unexpected(_request: Request, _error: Exception) -> Response:
    """A fault of ours; the server logs it with its trace."""
    return render(500, "Failed", "the control plane failed; its log says why", kind="CrashedError")
