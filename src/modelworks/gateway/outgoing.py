"""What goes on besides the body: the head of one request, and the copies that shadows get of it."""

from typing import Final

import orjson

from modelworks.core.ids import uuid7
from modelworks.edge.head import Head
from modelworks.gateway.front import Front
from modelworks.gateway.pairs import Pair
from modelworks.gateway.shadows import Copy
from modelworks.gateway.table import Known
from modelworks.protocol.routes.policy import Copied

_JSON_LENGTH: Final = b"inference-header-content-length"
_DIGITS: Final = 10
_LONGEST: Final = 1024 * 1024
_WITH_BODY: Final = frozenset({b"POST", b"PUT", b"PATCH"})


class Names:
    """What a request is called on its way: its id, and the trace that it is a part of.

    Attributes:
        id: its own, or made here.
        lines: the headers that say so to an upstream.
    """

    __slots__ = ("id", "lines")

    def __init__(self, known: Known) -> None:
        forward = known.forward
        made = uuid7() if not forward.named or not forward.traced else ""
        self.id = forward.named or made.encode()
        self.lines = b"X-Request-Id: %b\r\n" % self.id
        if not forward.traced:
            trace = made.replace("-", "")
            self.lines += f"traceparent: 00-{trace}-{trace[16:]}-00\r\n".encode()


def framing(head: Head, body: bytes, *, whole: bool, chunked: bool) -> bytes:
    """What frames the body, and the end of the head.

    Args:
        head: of the request.
        body: as far as it is here.
        whole: that is all.
        chunked: it goes on in chunks.
    """
    if chunked:
        return b"Transfer-Encoding: chunked\r\n\r\n"
    size = len(body) if whole else head.length
    if size or head.method in _WITH_BODY:
        return b"Content-Length: %d\r\n\r\n" % size
    return b"\r\n"


def copy_to(
    front: Front, known: Known, head: Head, body: bytes | None, names: Names, to: Copied
) -> Pair | None:
    """Let a shadow have the request; nothing of it is waited for.

    Args:
        front: of the worker.
        known: where the request leads.
        head: of it.
        body: all of it; None = it is streamed, and cannot be copied.
        names: of it.
        to: the shadow.

    Returns:
        Where the caller's answer is wanted beside the shadow's; None = nowhere.
    """
    counts = known.state.counts
    if body is None:
        counts.dropped += 1
        return None
    shadows, pair = front.shadows, None
    if to.compare and shadows.pairs is not None:
        pair = Pair(shadows.pairs, names.id, known.state.route.name, head, body)
    seats = known.state.seats[to.arm.name]
    copy = Copy(counts.arm(to.arm.name), seats, known.forward, head, body, names.id, pair)
    if shadows.put(copy):
        return pair
    counts.dropped += 1
    return None


def field_of(head: Head, body: bytes, name: str) -> str | None:
    """A field of a body's `parameters`, as text; None where there is none, or it is not looked for.

    It is not in bodies that are compressed or whose JSON is longer than 1 MiB.
    """
    length = head.headers.get(_JSON_LENGTH, b"")
    if length.isdigit() and len(length) <= _DIGITS:
        body = body[: int(length)]
    if len(body) > _LONGEST or head.coding:
        return None
    try:
        value = orjson.loads(body)["parameters"][name]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return value if isinstance(value, str) else str(value) if value is not None else None
