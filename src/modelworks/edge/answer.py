"""Answers as bytes: the status line, the few headers, the body."""

from email.utils import formatdate
from http import HTTPStatus

import orjson

from modelworks.edge.exchange import Headers

JSON = b"application/json"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BODILESS = frozenset({204, 304})
_KEPT = 64  # kinds of answers with their heads ready; headers may be the callers' choice


class HeadWriter:
    """Builds answers; the part that is the same for a second is kept ready.

    `refresh` is called by the sweep, so no request formats a date.

    Attributes:
        usual: by content type, or content type and further headers: the head of a 200 up to the
            number of its bytes.
    """

    __slots__ = ("_date", "_starts", "usual")

    def __init__(self) -> None:
        self._starts: dict[int, bytes] = {}
        self.usual: dict[bytes | tuple[bytes, Headers], bytes] = {}
        self._date = b""
        self.refresh()

    @property
    def date(self) -> bytes:
        """The present second, as of the last `refresh`."""
        return self._date

    def refresh(self) -> None:
        """Take the present second as `Date`."""
        date = formatdate(usegmt=True).encode()
        if date != self._date:
            self._date = date
            self._starts.clear()
            self.usual.clear()

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

    def keep(self, content_type: bytes, headers: Headers) -> None:
        """Have the beginning of a 200 of that kind ready in `usual`, as long as there is room."""
        if len(self.usual) < _KEPT:
            key = (content_type, headers) if headers else content_type
            head = self.head(200, 0, content_type, headers, b"")
            self.usual[key] = head.removesuffix(b"0\r\n\r\n")

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
            size: of the body in bytes, sent or (HEAD) not; -1 = nobody knows yet.
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
        if status in BODILESS or size < 0:
            return b"%b%b\r\n" % (self.start(status), extra)
        return b"%b%bContent-Length: %d\r\n\r\n" % (self.start(status), extra, size)


def error_body(message: str) -> bytes:
    """`{"error": "..."}`."""
    return orjson.dumps({"error": message})
