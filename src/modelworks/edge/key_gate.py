"""Who is let through to a handler: requests with a good API key, and what is open to all."""

from typing import Final, Protocol

from modelworks.core.keys import CHALLENGE
from modelworks.edge.answer import JSON, error_body
from modelworks.edge.exchange import Exchange, Handler
from modelworks.edge.head import Head, Refusal
from modelworks.edge.key_ring import KeyRing

AUTHORIZATION: Final = b"authorization"
OPEN: Final = frozenset({b"/v2/health/live", b"/v2/health/ready", b"/metrics"})
"""Paths that need no key, letter by letter: every other spelling of them needs one."""
_LOOKING: Final = frozenset({b"GET", b"HEAD"})
_CHALLENGE: Final = ((b"WWW-Authenticate", CHALLENGE.encode()),)


class Gate(Protocol):
    """What stands in front of a handler."""

    def before(self, handler: Handler) -> Handler:
        """The handler, of requests that may pass."""
        ...

    def admit(self, head: Head) -> None:
        """Look at a head whose body is still to come; raises a `Refusal`."""
        ...


class NamingGate(Gate, Protocol):
    """One that knows whom it let in."""

    def name_of(self, headers: dict[bytes, bytes]) -> str:
        """Who sent a request that was answered just now; empty where nobody is known."""
        ...


class KeyGate:
    """In front of a handler.

    A caller sends the same header again and again: it is checked once, and found by one look
    into a dictionary from then on, until the file changes.

    Args:
        ring: the keys.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def before(self, handler: Handler) -> Handler:
        """The handler, of requests that may pass."""
        ring = self._ring

        def checked(exchange: Exchange) -> None:
            given = exchange.headers.get(AUTHORIZATION)
            if given in ring.keys.known or self._may(exchange.method, exchange.path, given):
                handler(exchange)
            else:
                exchange.reply(401, error_body(ring.refused(given)), JSON, _CHALLENGE)

        return checked

    def admit(self, head: Head) -> None:
        """Look at a head whose body is still to come: who has no key need not send it.

        Raises:
            Refusal: 401.
        """
        given = head.headers.get(AUTHORIZATION)
        if not self._may(head.method, head.path, given):
            raise Refusal(401, self._ring.refused(given), _CHALLENGE)

    def _may(self, method: bytes, path: bytes, given: bytes | None) -> bool:
        return self._ring.keys.find(given) is not None or (path in OPEN and method in _LOOKING)
