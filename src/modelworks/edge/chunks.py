"""Chunked bodies (RFC 9112, 7.1), decoded strictly and with exact message ends.

httptools cannot say where in its input a message ended, which a connection must know to bound
pipelining; hence a decoder of our own. The tests hold it against llhttp on random input.
"""

import re
from enum import StrEnum

from modelworks.edge.head import Refusal

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# Extensions as the RFC has them, but for white space, which programs read in different ways.
_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,8})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb'|"[\x20!#-\[\]-\x7e]*"))?)*'
)
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_FRAMING = (b"content-length:", b"transfer-encoding:", b"host:")
_MAX_LINE = 1024


class _Part(StrEnum):
    SIZE = "size"
    DATA = "data"
    END = "end"  # the CR LF behind a chunk's data
    TRAILER = "trailer"
    DONE = "done"


class ChunkDecoder:
    """Takes bytes as they come and collects the body.

    Attributes:
        done: the last chunk and its trailers were read.
        size: body bytes so far.
    """

    __slots__ = ("_body", "_line", "_need", "_part", "_spare", "limit", "size")

    def __init__(self, limit: int, max_trailer_bytes: int) -> None:
        """Bound the body and the trailers, both in bytes."""
        self.limit = limit
        self.size = 0
        self._part = _Part.SIZE
        self._need = 0
        self._line = b""
        self._body = bytearray()  # one buffer: millions of tiny chunks stay cheap
        self._spare = max_trailer_bytes

    @property
    def done(self) -> bool:
        """Whether the message is complete."""
        return self._part is _Part.DONE

    @property
    def held(self) -> int:
        """Body bytes received so far."""
        return len(self._body)

    def body(self) -> bytes:
        """The de-chunked body."""
        return bytes(self._body)

    def take(self) -> bytes:
        """What was decoded since the last time; for bodies that are passed on as they come."""
        taken = bytes(self._body)
        self._body.clear()
        return taken

    def feed(self, data: bytes, position: int) -> int:
        """Decode `data` from `position`; the position behind what was used.

        Raises:
            Refusal: malformed chunks (400), too large a body (413) or trailers (431).
        """
        end = len(data)
        while position < end and self._part is not _Part.DONE:
            if self._part is _Part.DATA:
                taken = data[position : position + self._need]
                self._body += taken
                position += len(taken)
                self._need -= len(taken)
                if not self._need:
                    self._part = _Part.END
            else:
                position = self._lines(data, position)
        return position

    def _lines(self, data: bytes, position: int) -> int:
        """Collect one line that ends in CR LF, and act on it."""
        stop = data.find(b"\n", position)
        stop = len(data) if stop < 0 else stop + 1
        self._line += data[position:stop]
        if len(self._line) > _MAX_LINE:
            raise Refusal(431, f"a chunk or trailer line is longer than {_MAX_LINE} bytes")
        if self._line.endswith(b"\n"):
            line, self._line = self._line, b""
            if not line.endswith(b"\r\n"):
                raise Refusal(400, "malformed chunk: lines end in CR LF")
            self._act(line[:-2])
        elif self._part is _Part.END and self._line not in {b"", b"\r"}:
            raise Refusal(400, "malformed chunk: its data is longer than its size")
        return stop

    def _act(self, line: bytes) -> None:
        if self._part is _Part.SIZE:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise Refusal(400, "malformed chunk size")
            self._need = int(match[1], 16)
            self.size += self._need
            if self.size > self.limit:
                raise Refusal(413, f"body longer than {self.limit} bytes")
            self._part = _Part.DATA if self._need else _Part.TRAILER
        elif self._part is _Part.END:
            if line:
                raise Refusal(400, "malformed chunk: its data is longer than its size")
            self._part = _Part.SIZE
        elif not line:
            self._part = _Part.DONE
        else:
            self._spare -= len(line)
            if self._spare < 0:
                raise Refusal(431, "trailers too large")
            if _TRAILER.fullmatch(line) is None or line.lower().startswith(_FRAMING):
                raise Refusal(400, "malformed trailer")
