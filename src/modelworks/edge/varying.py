"""Heads that differ from an earlier one only in what names the single request.

A client that traces sends another `traceparent` each time, so its heads are never the same bytes
twice and every one would be parsed in full. Here a head that was parsed once is kept as a *shape*:
the bytes between the values of the per-request headers. Another head has that shape when all these
bytes are the same and every value in between is of visible characters alone: no CR, LF, NUL or
white space, so no value can end its line or begin another, and both readings are one.
`Content-Length` and `X-Timeout-Ms` may vary in a shape too; what is accepted of the former is a
plain number within the limit.
"""

from dataclasses import replace
from typing import Final

from modelworks.edge.head import Head
from modelworks.edge.limits import Limits
from modelworks.edge.patience import TIMEOUT
from modelworks.edge.trace import REQUEST_ID, TRACEPARENT, TRACESTATE, perhaps_sampled

PER_REQUEST: Final = frozenset(
    {
        *(TRACEPARENT, TRACESTATE, REQUEST_ID, b"x-correlation-id", b"x-amzn-trace-id"),
        *(b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid", b"b3"),
        *(b"x-cloud-trace-context", b"uber-trace-id"),
    }
)
_LENGTH: Final = b"content-length"
_ALSO: Final = frozenset({_LENGTH, b"inference-header-content-length", TIMEOUT})
_VISIBLE: Final = bytes(range(0x21, 0x7F))  # what `strip` leaves of a value holds something else
_DIGITS: Final = 10
_LINES: Final = 256  # request lines that are remembered
_SHAPES: Final = 4  # of each
_LONGEST: Final = 4096


class _Shape:
    """One head, cut at its varying values: the bytes before the first, and behind each."""

    __slots__ = ("_begin", "_head", "_parts", "_traced")

    def __init__(self, head: Head, fixed: tuple[bytes, ...], names: tuple[bytes, ...]) -> None:
        self._head = head
        self._begin = fixed[0]
        self._traced = TRACEPARENT in names
        behind = fixed[1:]
        self._parts = [(n, b, len(b)) for n, b in zip(names, behind, strict=True)]

    def read(self, raw: bytes, most: int) -> Head | None:
        """The head of these bytes, when they are of this shape and the body is no longer."""
        if not raw.startswith(self._begin):
            return None
        at = len(self._begin)
        head = self._head
        length = head.length
        headers = head.headers.copy()
        for name, behind, size in self._parts:
            end = raw.find(b"\r", at)
            value = raw[at:end]
            if not value or value.strip(_VISIBLE) or not raw.startswith(behind, end):
                return None
            if name is _LENGTH:
                length = int(value) if value.isdigit() and len(value) <= _DIGITS else -1
                if not 0 <= length <= most:
                    return None
            headers[name] = value
            at = end + size
        if at != len(raw):
            return None
        made = head.with_values(headers, length)
        if self._traced and perhaps_sampled(headers):
            made.sampled, made.usual = True, False
        return made


class Shapes:
    """The shapes of one listener, bounded."""

    __slots__ = ("_lines", "_longest", "_most")

    def __init__(self, limits: Limits) -> None:
        self._most = limits.max_body_bytes
        self._longest = min(_LONGEST, limits.max_header_bytes)
        self._lines: dict[bytes, list[_Shape]] = {}

    def read(self, raw: bytes) -> Head | None:
        """The head of these bytes, where an earlier one had their shape."""
        shapes = self._lines.get(raw[: raw.find(b"\r")])
        if shapes is None or len(raw) > self._longest:
            return None
        for shape in shapes:
            head = shape.read(raw, self._most)
            if head is not None:
                return head
        return None

    def keep(self, raw: bytes, head: Head) -> bool:
        """Remember the shape of a head that was just parsed; False when nothing in it varies."""
        if PER_REQUEST.isdisjoint(head.headers):
            return False
        if len(raw) > self._longest:
            return True  # varies all the same: not worth keeping whole
        cut = _cut(raw)
        if cut is None:
            return True
        if len(self._lines) >= _LINES:
            self._lines.clear()
        shapes = self._lines.setdefault(raw[: raw.find(b"\r")], [])
        shapes.insert(0, _Shape(replace(head, headers=dict(head.headers), sampled=False), *cut))
        del shapes[_SHAPES:]
        return True


def _cut(raw: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...]] | None:
    """Fixed pieces and the names between them; None for a head with two lines of one name."""
    fixed: list[bytes] = []
    names: list[bytes] = []
    begin, at = 0, raw.find(b"\r\n") + 2
    while (end := raw.find(b"\r\n", at)) > at:
        colon = raw.find(b":", at, end)
        name = raw[at:colon].lower()
        value = raw[colon + 1 : end].strip(b" \t")
        if name in PER_REQUEST or name in _ALSO:
            if name in names or not value or value.strip(_VISIBLE):
                return None
            if name == _LENGTH and len(value) > _DIGITS:
                return None
            start = raw.find(value, colon + 1)
            fixed.append(raw[begin:start])
            names.append(_LENGTH if name == _LENGTH else name)
            begin = start + len(value)
        at = end + 2
    return (*fixed, raw[begin:]), tuple(names)
