"""Whose a job is: by the server's own key, or by that of its routes."""

from collections.abc import Callable

from modelworks.edge.exchange import Exchange
from modelworks.edge.key_gate import AUTHORIZATION
from modelworks.edge.key_ring import KeyRing
from modelworks.serving.routing.router import Router


def owner_of(ring: KeyRing | None, router: Router | None) -> Callable[[Exchange], str]:
    """Says whose a request is that was let in; empty where callers are not asked who they are.

    A key is known by its name: who gets a new key under the old name keeps the jobs.
    """

    def who(exchange: Exchange) -> str:
        given = exchange.headers.get(AUTHORIZATION)
        own = ring.name_of(exchange.headers) if ring is not None else ""
        if own or router is None or not router.closed:
            return f"key {own}" if own else ""
        caller = router.who(given)
        tenant = caller.tenant.replace("%", "%25").replace("/", "%2F")  # both may have any sign
        return f"caller {tenant}/{caller.name}"

    return who
