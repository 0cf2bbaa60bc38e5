"""The head of an upstream's answer: parsed by llhttp, held to what it leaves open.

Pure. An answer whose framing two programs could read in different ways is refused whole: its
connection may hold bytes that were meant for somebody else.
"""

from http import HTTPStatus
from typing import Final

import httptools

from modelworks.edge.answer import BODILESS
from modelworks.gateway.bodies import Body, Chunked, Sized, ToEnd

MOST: Final = 64 * 1024
"""Bytes of an answer's head."""
_LONGEST: Final = 1 << 62  # an answer may be as long as it likes: it is passed on, not kept
HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate"),
        *(b"proxy-authorization", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
"""Headers that are about one connection (RFC 9110, 7.6.1) and end where it ends."""
_LINES: Final = {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}


class BadAnswer(Exception):  # noqa: N818 - said of an upstream, answered 502
    """An upstream's answer that cannot be passed on; the message says why."""


class _Collector:
    __slots__ = ("complete", "headers")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


class AnswerHead:
    """What an upstream's head says.

    Attributes:
        status: HTTP status.
        lines: status line and headers as they go on, without framing and what is of the hop.
        length: of the body; -1 = chunked, -2 = until the connection ends.
        keep: the connection serves another request behind this body.
        empty: no body follows, whatever the headers say.
    """

    __slots__ = ("empty", "keep", "length", "lines", "status")

    def __init__(self, raw: bytes, *, bare: bool) -> None:
        """Parse one.

        Args:
            raw: from the status line to the empty line, both included.
            bare: it answers a HEAD request.

        Raises:
            BadAnswer: it is none, or its framing is not plain.
        """
        collector = _Collector()
        parser = httptools.HttpResponseParser(collector)
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade as error:
            raise BadAnswer("it switches protocols unasked") from error
        except httptools.HttpParserError as error:
            raise BadAnswer(f"it is no HTTP: {error}") from error
        if not collector.complete or not raw.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
            raise BadAnswer("it is neither HTTP/1.1 nor HTTP/1.0")
        self.status = status = parser.get_status_code()
        self.lines = b""
        self.length, self.keep = -2, False
        self._read(collector.headers, modern=raw[7] == 0x31)
        self.empty = bare or status in BODILESS or status < 200
        if self.empty:
            self.keep = self.keep or self.length == -2
        elif self.length == -2:
            self.keep = False

    def _read(self, headers: list[tuple[bytes, bytes]], *, modern: bool) -> None:
        """Framing, and what goes on."""
        length, keep = -2, modern
        lines = [_LINES.get(self.status) or b"HTTP/1.1 %d Unknown\r\n" % self.status]
        named: set[bytes] = set()
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-length":
                length = int(value)
            elif lower == b"transfer-encoding":
                if value.lower() != b"chunked" or length != -2 or not modern:
                    raise BadAnswer("its Transfer-Encoding is not plain chunked")
                length = -1
            elif lower == b"connection":
                tokens = {token.strip(b" \t") for token in value.lower().split(b",")}
                keep = b"close" not in tokens and (modern or b"keep-alive" in tokens)
                named |= tokens
            elif lower not in HOP:
                lines.append(b"%b: %b\r\n" % (name, value))
        self.length, self.keep = length, keep
        named -= {b"close", b"keep-alive"}
        if named:
            lines = [line for line in lines if line.partition(b":")[0].lower() not in named]
        self.lines = b"".join(lines)

    def body(self) -> Body:
        """What reads its body."""
        if self.empty or not self.length:
            return Sized(0)
        if self.length > 0:
            return Sized(self.length)
        if self.length == -1:
            return Chunked(_LONGEST)
        return ToEnd()

    def framing(self, *, modern: bool) -> tuple[bytes, bool, bool]:
        """How the body goes on to a client.

        Returns:
            The header that frames it, whether it is chunked, whether the connection ends with it.
        """
        if self.length >= 0:
            return b"Content-Length: %d\r\n" % self.length, False, False
        if self.empty:
            # Of HEAD, a body that would have been chunked is not told of: it is not sent.
            return b"", False, False
        if modern:
            return b"Transfer-Encoding: chunked\r\n", True, False
        return b"", False, True
