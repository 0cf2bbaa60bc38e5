"""Asks every request of the control plane for an API key, or for a browser's session."""

from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from modelworks.api import problems
from modelworks.api.feedback import FEEDBACK
from modelworks.control.access import COOKIE, Access
from modelworks.core.errors import ModelworksError, UnauthenticatedError
from modelworks.core.keys import Role

CALLER: Final = "caller"
"""Of a request's state: the name of the key that was shown."""
LOGIN: Final = "/console/login"
_OPEN: Final = frozenset({"/api/v1/health", LOGIN, "/console/logout"})
_STATIC: Final = "/console/static/"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST: Final = 4096  # bytes of a Cookie header that is looked at


class KeyGuard:
    """ASGI middleware behind `Guard`.

    Looking takes a key of the role `read`, changing something one of the role `admin`; who may ask
    for predictions (`predict`) may tell what became of them. A browser that has neither key nor
    session is shown where to sign in.

    Args:
        app: what is guarded.
        access: who may.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        path, method = scope["path"], scope["method"]
        if path in _OPEN or path.startswith(_STATIC):
            return None
        headers = Headers(scope=scope)
        given = headers.getlist("authorization")
        role = Role.READ if method in _SAFE else Role.ADMIN
        role = Role.PREDICT if path == FEEDBACK else role
        try:
            key = self._access.require(
                ", ".join(given).encode("latin-1") if given else None, session_of(headers), role
            )
        except ModelworksError as error:
            return _answer(error, shown=method == "GET" and not given and _page(path, headers))
        scope["state"] = {**scope.get("state", {}), CALLER: key.name}
        return None


def session_of(headers: Headers) -> str:
    """The session that a browser brings; empty where it brings none."""
    text = headers.get("cookie", "")
    if len(text) > _LONGEST:
        return ""
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _page(path: str, headers: Headers) -> bool:
    """Whether a person waits for a page."""
    return not path.startswith("/api/") and "text/html" in headers.get("accept", "")


def _answer(error: ModelworksError, *, shown: bool) -> Response:
    if shown and isinstance(error, UnauthenticatedError):
        return RedirectResponse(LOGIN, status_code=303, headers={"Cache-Control": "no-store"})
    answer = problems.problem(error)
    answer.headers["Connection"] = "close"  # a body is not read
    answer.headers["Cache-Control"] = "no-store"
    return answer
