"""W3C trace context (Trace Context, level 2) and request ids, read from a request's headers.

What does not follow the grammar is ignored, as the recommendation asks: a broken `traceparent`
voids the whole context, a broken `tracestate` only itself.
"""

import re
from dataclasses import dataclass

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_NO_TRACE, _NO_PARENT = b"0" * 32, b"0" * 16
_SAMPLED = 0x01
_FLAG = 54  # where the last digit of the flags stands
_ODD = b"13579bdf"
_KEY = rb"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER = re.compile(_KEY + rb"=[ !-+\x2d-<>-~]{0,255}[!-+\x2d-<>-~]")
_MOST_MEMBERS = 32
_REQUEST_ID = re.compile(rb"[!-~]{1,200}")
TRACEPARENT, TRACESTATE, REQUEST_ID = b"traceparent", b"tracestate", b"x-request-id"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Of which trace a request is a part.

    Attributes:
        trace_id: 32 hexadecimal digits.
        parent_id: 16 hexadecimal digits: the caller's span.
        sampled: the caller may have recorded its part.
        state: the vendors' list as it came, checked; empty without one.
    """

    trace_id: str
    parent_id: str
    sampled: bool
    state: str = ""


def trace_of(headers: dict[bytes, bytes]) -> TraceContext | None:
    """The context that a request carries; None without a valid one."""
    text = headers.get(TRACEPARENT)
    if text is None:
        return None
    match = _PARENT.fullmatch(text)
    if match is None:
        return None
    version, trace, parent, flags, further = match.groups()
    # Only versions to come may carry more, and ff is none.
    if version == b"ff" or (version == b"00" and further is not None):
        return None
    if trace == _NO_TRACE or parent == _NO_PARENT:
        return None
    return TraceContext(
        trace.decode(),
        parent.decode(),
        bool(int(flags, 16) & _SAMPLED),
        _state(headers.get(TRACESTATE, b"")),
    )


def perhaps_sampled(headers: dict[bytes, bytes]) -> bool:
    """Whether the flags of a context say that its trace is kept; it may be broken all the same."""
    flag = headers.get(TRACEPARENT, b"")[_FLAG : _FLAG + 1]
    return bool(flag) and flag in _ODD


def request_id_of(headers: dict[bytes, bytes]) -> str:
    """`X-Request-Id` as the client sent it; empty without one, or with one that is no token."""
    text = headers.get(REQUEST_ID)
    if text is None or _REQUEST_ID.fullmatch(text) is None:
        return ""
    return text.decode()


def _state(text: bytes) -> str:
    """The list when all of it is well-formed, else nothing."""
    members = [member.strip(b" \t") for member in text.split(b",")]
    members = [member for member in members if member]
    keys = {member.partition(b"=")[0] for member in members}
    if len(members) > _MOST_MEMBERS or len(keys) < len(members):
        return ""
    if not all(_MEMBER.fullmatch(member) for member in members):
        return ""
    return ",".join(member.decode() for member in members)
