"""A caller's request as it goes on: the head that an upstream gets.

What is about one connection ends here (RFC 9110, 7.6.1), and so does what a caller says of who it
is: `X-Forwarded-*` are ours, unless a proxy that we trust stands in front.
"""

from typing import Final

from modelworks.core.routes import Arm
from modelworks.edge.head import Head
from modelworks.edge.patience import TIMEOUT, timeout_ms
from modelworks.edge.trace import REQUEST_ID, TRACEPARENT, request_id_of, trace_of
from modelworks.gateway.answer_head import HOP
from modelworks.gateway.paths import Asked
from modelworks.gateway.place import Address

_FOR: Final = b"x-forwarded-for"
_OURS: Final = HOP | {
    *(b"host", b"content-length", b"expect", b"forwarded", _FOR, b"x-forwarded-host"),
    *(b"x-forwarded-proto", b"x-forwarded-port", REQUEST_ID, TRACEPARENT, TIMEOUT),
}


class Forward:
    """One request head, as far as it is the same each time the same bytes come.

    Args:
        head: as it was read.
        asked: what its path asks for.
        trusted: what it says of earlier proxies is passed on.
        keyless: `Authorization` was for us, and ends here.

    Raises:
        InvalidError: `X-Timeout-Ms` is no number.

    Attributes:
        timeout_ms: the caller's own deadline; 0 = none.
        named: the request's own id, empty without one.
        safe: it may be repeated.
    """

    __slots__ = ("_asked", "_head", "_headers", "_known", "_tail", "named", "safe", "timeout_ms")

    def __init__(self, head: Head, asked: Asked, *, trusted: bool, keyless: bool) -> None:
        self._head = head
        self._asked = asked
        headers = head.headers
        skipped = _OURS | {token.strip(b" \t") for token in _connection(headers)}
        if keyless:
            skipped |= {b"authorization"}
        self._headers = [(name, value) for name, value in headers.items() if name not in skipped]
        self._known: dict[tuple[int, bytes], bytes] = {}
        host = headers.get(b"host", b"")
        if trusted:
            kept = (b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"forwarded")
            self._headers += [(name, headers[name]) for name in kept if name in headers]
        tail = b""
        if host and not (trusted and b"x-forwarded-host" in headers):
            tail += b"X-Forwarded-Host: %b\r\n" % host
        if trace_of(headers) is not None:
            tail += b"traceparent: %b\r\n" % headers[TRACEPARENT]
        before = headers.get(_FOR, b"") if trusted else b""
        self._tail = tail + b"X-Forwarded-For: " + (before + b", " if before else b"")
        self.named = request_id_of(headers).encode()
        timeout = headers.get(TIMEOUT)
        self.timeout_ms = timeout_ms(timeout) if timeout is not None else 0
        method = head.method
        self.safe = asked.infers if method == b"POST" else method not in {b"PATCH", b"CONNECT"}

    @property
    def traced(self) -> bool:
        """Whether the caller brought a trace of its own."""
        return b"traceparent" in self._tail

    def begin(self, arm: Arm, address: Address) -> bytes:
        """Request line and headers, up to the value of `X-Forwarded-For`.

        Raises:
            UnsupportedError: see `Asked.at`.
        """
        key = (id(arm), address.authority)  # arms live as long as the snapshot that we are kept by
        known = self._known.get(key)
        if known is None:
            self._known[key] = known = self._made(arm, address)
        return known

    def _made(self, arm: Arm, address: Address) -> bytes:
        head = self._head
        path = self._asked.at(arm, head.path)
        query = b"?" + head.query if head.query else b""
        added = {name.lower(): (name, value) for name, value in arm.headers.items()}
        lines = [
            b"%b %b%b HTTP/1.1\r\nHost: %b\r\n" % (head.method, path, query, address.authority)
        ]
        lines += [
            b"%b: %b\r\n" % (name, value)
            for name, value in self._headers
            if name.decode("latin-1") not in added
        ]
        lines += [f"{name}: {value}\r\n".encode() for name, value in added.values()]
        return b"".join(lines) + self._tail


def _connection(headers: dict[bytes, bytes]) -> list[bytes]:
    value = headers.get(b"connection")
    return value.lower().split(b",") if value else []
