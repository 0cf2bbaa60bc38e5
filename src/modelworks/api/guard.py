"""Turns away what a browser may be tricked into sending, and bodies over the limit."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelworks.api import problems

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class TooLargeError(Exception):
    """The body went over its limit; `too_large` answers it."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"over {limit} bytes")
        self.limit = limit


class Guard:
    """ASGI middleware in front of everything.

    * A `Host` that is not ours is refused: a foreign name that resolves to this machine (DNS
      rebinding) reaches nothing.
    * A request that changes something and comes from another site's page is refused (CSRF).
    * A body over its limit is refused, whatever `Content-Length` said.

    Args:
        app: what is guarded.
        hosts: names, besides this machine's own, under which the control plane is known.
        limits: path -> bytes of its body; `""` for every other path.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], limits: dict[str, int]) -> None:
        self._app = app
        self._hosts = LOCAL_HOSTS | {host.lower() for host in hosts}
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.lower(): value.decode("latin-1") for name, value in reversed(scope["headers"])
        }
        refusal = self._refusal(scope["method"], headers)
        limit = self._limits.get(scope["path"], self._limits[""])
        if refusal is None and _announced(headers) > limit:
            refusal = too_large(limit)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)

    def _refusal(self, method: str, headers: dict[bytes, str]) -> Response | None:
        host = headers.get(b"host", "")
        if not self._ours(host):
            return problems.render(
                403,
                "Refused",
                f"host {host[:80]!r} is not this control plane: open it under the address it "
                "was started with, or start it with --allow-host",
                kind="RefusedError",
                field="host",
            )
        if method in _SAFE:
            return None
        origin = headers.get(b"origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        if foreign or headers.get(b"sec-fetch-site") in {"cross-site", "same-site"}:
            return problems.render(
                403,
                "Refused",
                "another site's page sent this request; only the console's own pages may",
                kind="RefusedError",
                field="origin",
            )
        return None

    def _ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._hosts or _loopback(name)


def _loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _announced(headers: dict[bytes, str]) -> int:
    text = headers.get(b"content-length", "0")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _counted(receive: Receive, limit: int) -> Receive:
    """`receive`, until the body is over the limit."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise TooLargeError(limit)
        return message

    return counted


def too_large(limit: int) -> Response:
    """The answer to a body over the limit."""
    answer = problems.render(
        413, "Too large", f"the body is over {limit} bytes", kind="InvalidError", field="body"
    )
    answer.headers["Connection"] = "close"  # the rest of the body is not read
    return answer
