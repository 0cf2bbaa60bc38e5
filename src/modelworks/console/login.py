"""Signing in and out: a browser shows its API key once and gets a session for it."""

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from modelworks.control.access import COOKIE, SESSION_S, Access

_LONGEST: Final = 4096  # bytes of the form
_FORM: Final = "application/x-www-form-urlencoded"
Show = Callable[[str, int], Response]
"""The page with the form, a message on it, its status."""


class Login:
    """The form and what it sends.

    The cookie holds a session, never the key; no script can read it, no other site's request
    brings it, and over HTTPS it never leaves in clear.

    Args:
        access: who may.
        show: renders the page.
    """

    def __init__(self, access: Access, show: Show) -> None:
        self._access = access
        self._show = show

    def router(self) -> APIRouter:
        """Both routes; neither is part of the API's description."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/console/login", self.form)
        router.add_api_route("/console/login", self.sign_in, methods=["POST"])
        router.add_api_route("/console/logout", self.sign_out, methods=["POST"])
        return router

    def form(self) -> Response:
        """An empty form."""
        return self._show("", 200)

    async def sign_in(self, request: Request) -> Response:
        """A session for a good key."""
        body = await request.body()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _FORM or len(body) > _LONGEST:
            return self._show("The form was not filled in.", 400)
        try:
            fields = parse_qs(body.decode("ascii"), max_num_fields=4)
        except ValueError:
            fields = {}
        session = self._access.begin(fields.get("key", [""])[0].strip())
        if session is None:
            return self._show("This key is not known here, or may not look at the console.", 401)
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(
            COOKIE,
            session,
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    def sign_out(self, request: Request) -> Response:
        """The session ends here and in the browser."""
        self._access.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/console/login", status_code=303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer
