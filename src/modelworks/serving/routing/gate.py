"""Keeps out the bodies of those whom no route will let in."""

from typing import Final

from modelworks.core.errors import UnauthenticatedError
from modelworks.core.keys import CHALLENGE
from modelworks.edge.exchange import Handler
from modelworks.edge.head import Head, Refusal
from modelworks.serving.routing.routed import AUTHORIZATION
from modelworks.serving.routing.router import Router

_CHALLENGE: Final = ((b"WWW-Authenticate", CHALLENGE.encode()),)


class RouteGate:
    """Fulfils `edge.key_gate.Gate`. Whole requests are asked behind it, path by path."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def before(self, handler: Handler) -> Handler:
        """The handler itself: it asks its router."""
        return handler

    def name_of(self, headers: dict[bytes, bytes]) -> str:
        """Whose request it was, for the access log."""
        return self._router.name_of(headers)

    def admit(self, head: Head) -> None:
        """Look at a head whose body is still to come: who is not known need not send it.

        Raises:
            Refusal: 401.
        """
        if self._router.closed:
            try:
                self._router.who(head.headers.get(AUTHORIZATION))
            except UnauthenticatedError as error:
                raise Refusal(401, error.message, _CHALLENGE) from error
