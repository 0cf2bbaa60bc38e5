"""One connection of the load generator: what is under way on it, and where its answer ends."""

import socket
import ssl
from typing import Final

from httptools import HttpParserError, HttpResponseParser

from modelworks.core.errors import InvalidError
from modelworks.measure.message import HEAD_LIMIT, Ending, Head, parse_head

_KNOWN: dict[bytes, Head] = {}  # heads seen: servers repeat them byte for byte
_MOST_KNOWN: Final = 512
RECEIVE: Final = 16_384


class Link:
    """A connection and its one request under way.

    Args:
        sock: connected, or connecting; made non-blocking.
    """

    __slots__ = (
        "_buffer",
        "_left",
        "_parser",
        "busy",
        "connecting",
        "fd",
        "freed",
        "head",
        "intended",
        "kept",
        "recv",
        "send",
        "sent",
        "sock",
        "tls",
        "turn",
        "unsent",
    )

    def __init__(self, sock: socket.socket, *, connecting: bool = False) -> None:
        sock.settimeout(0)
        self.sock = sock
        self.fd = sock.fileno()
        self.recv = sock.recv
        self.send = sock.send
        self.tls = isinstance(sock, ssl.SSLSocket)
        self.connecting = connecting
        self.busy = False
        self.intended = 0  # ns; when the request was due
        self.sent = 0  # ns; when it left
        self.freed = 0  # ns; when the connection could have taken it
        self.turn = 0  # which of the requests it is
        self.unsent: memoryview | None = None
        self.kept: list[bytes] | None = None  # the body's pieces, where it is wanted
        self.head: Head | None = None
        self._left = -1  # bytes of the body to come; -1 = the head is awaited
        self._buffer = b""
        self._parser: _Chunked | None = None

    def begin(self) -> None:
        """A request leaves: the next bytes are its answer's head."""
        self.busy = True
        self._left = -1
        self._buffer = b""
        self._parser = None

    def feed(self, data: bytes) -> bool:
        """Take bytes of the answer; whether it is whole.

        Raises:
            InvalidError: this is no answer of HTTP/1, or there is more than one answer.
        """
        if self._left >= 0:
            return self._further(data)
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > HEAD_LIMIT:
                raise InvalidError(f"an answer's head of over {HEAD_LIMIT} bytes")
            self._buffer = data
            return False
        text = data[:end]
        head = _KNOWN.get(text) or _remember(text)
        if head.status < 200:
            self._buffer = b""
            rest = data[end + 4 :]
            return self.feed(rest) if rest else False
        self.head = head
        if head.ending is not Ending.LENGTH:
            return self._other(head, data, end + 4)
        self._left = head.length + end + 4 - len(data)
        if self.kept is not None:
            self.kept.append(data[end + 4 :])
        return self._ended()

    def _further(self, data: bytes) -> bool:
        """Bytes of a body whose head was there before."""
        if self._parser is not None:
            return self._parser.feed(data, self.kept)
        self._left -= len(data)
        if self.kept is not None:
            self.kept.append(data)
        return self._ended()

    def _ended(self) -> bool:
        if self._left > 0:
            return False
        if self._left < 0:
            raise InvalidError(f"{-self._left} bytes follow an answer that nobody asked for")
        return True

    def _other(self, head: Head, data: bytes, start: int) -> bool:
        """A body in chunks, or one that ends with the connection."""
        if head.ending is Ending.CLOSE:
            self._left = 2**62
            if self.kept is not None:
                self.kept.append(data[start:])
            return False
        self._left = 0
        self._parser = _Chunked()
        return self._parser.feed(data, self.kept)  # it wants the head too

    def finished_by_closing(self) -> bool:
        """Whether an end of the connection now is the end of a whole answer."""
        return (
            self.busy
            and self._left > 0
            and self.head is not None
            and self.head.ending is Ending.CLOSE
        )


class _Chunked:
    """The end of an answer in chunks."""

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._whole = False
        self._kept: list[bytes] | None = None

    def on_body(self, data: bytes) -> None:
        """A piece of the body, without its frame."""
        if self._kept is not None:
            self._kept.append(data)

    def on_message_complete(self) -> None:
        """The last chunk was there."""
        self._whole = True

    def feed(self, data: bytes, kept: list[bytes] | None) -> bool:
        """Take bytes; whether the answer is whole."""
        self._kept = kept
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            raise InvalidError(f"an answer's chunks are broken: {error}") from error
        return self._whole


def _remember(text: bytes) -> Head:
    head = parse_head(text)
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    _KNOWN[text] = head
    return head
