"""Answers as bytes: the status line, the few headers, the body."""

from email.utils import formatdate
from http import HTTPStatus

import orjson

from modelworks.edge.exchange import Headers

JSON = b"application/json"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BODILESS = frozenset({204, 304})


class HeadWriter:
    """Builds answers; the part that is the same for a second is kept ready.

    `refresh` is called by the sweep, so no request formats a date.
    """

    __slots__ = ("_date", "_starts", "_usual")

    def __init__(self) -> None:
        self._starts: dict[int, bytes] = {}
        self._usual: dict[tuple[int, bytes], bytes] = {}
        self._date = b""
        self.refresh()

    def refresh(self) -> None:
        """Take the present second as `Date`."""
        date = formatdate(usegmt=True).encode()
        if date != self._date:
            self._date = date
            self._starts.clear()
            self._usual.clear()

    def start(self, status: int) -> bytes:
        """Status line and Date."""
        known = self._starts.get(status)
        if known is None:
            try:
                phrase = HTTPStatus(status).phrase.encode()
            except ValueError:
                phrase = b"Unknown"
            known = b"HTTP/1.1 %d %b\r\nDate: %b\r\n" % (status, phrase, self._date)
            self._starts[status] = known
        return known

    def usual(self, status: int, content_type: bytes, size: int) -> bytes:
        """The head of an answer with a body and no further headers."""
        known = self._usual.get((status, content_type))
        if known is None:
            if not content_type or len(self._usual) > 64:  # a bound: content types are few
                return self.head(status, size, content_type, (), b"")
            known = b"%bContent-Type: %b\r\nContent-Length: " % (self.start(status), content_type)
            self._usual[status, content_type] = known
        return b"%b%d\r\n\r\n" % (known, size)

    def head(
        self,
        status: int,
        size: int,
        content_type: bytes,
        headers: Headers,
        connection: bytes,
    ) -> bytes:
        """Everything before the body.

        Args:
            status: HTTP status.
            size: of the body in bytes, sent or (HEAD) not.
            content_type: empty = none.
            headers: further ones, trusted.
            connection: value of the Connection header; empty = none.
        """
        extra = b""
        if content_type:
            extra = b"Content-Type: %b\r\n" % content_type
        if headers:
            extra += b"".join([b"%b: %b\r\n" % header for header in headers])
        if connection:
            extra += b"Connection: %b\r\n" % connection
        if status in BODILESS:
            return b"%b%b\r\n" % (self.start(status), extra)
        return b"%b%bContent-Length: %d\r\n\r\n" % (self.start(status), extra, size)


def error_body(message: str) -> bytes:
    """`{"error": "..."}`."""
    return orjson.dumps({"error": message})
