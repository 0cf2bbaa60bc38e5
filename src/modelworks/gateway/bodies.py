"""Bodies on their way through: where one ends, in pieces that are passed on as they come."""

from typing import Protocol

from modelworks.edge.chunks import ChunkDecoder

_MAX_TRAILERS = 32 * 1024
LAST_CHUNK = b"0\r\n\r\n"


class Body(Protocol):
    """Tells a body's bytes from what follows it.

    Attributes:
        done: nothing more belongs to it.
    """

    done: bool

    def feed(self, data: bytes, position: int) -> tuple[bytes, int]:
        """Take from `data` at `position`: the content, and the position behind what was used.

        Raises:
            Refusal: malformed, or longer than allowed.
        """
        ...


class Sized:
    """Exactly `length` bytes."""

    __slots__ = ("_need", "done")

    def __init__(self, length: int) -> None:
        self._need = length
        self.done = not length

    def feed(self, data: bytes, position: int) -> tuple[bytes, int]:
        """See `Body`; never raises."""
        need = self._need
        size = len(data) - position
        size = min(size, need)
        self._need = need - size
        self.done = size == need
        whole = not position and size == len(data)
        return (data if whole else data[position : position + size]), position + size


class Chunked:
    """A chunked body, decoded: it is chunked anew where it goes, so no two parsers can disagree."""

    __slots__ = ("_decoder", "done")

    def __init__(self, limit: int) -> None:
        self._decoder = ChunkDecoder(limit, _MAX_TRAILERS)
        self.done = False

    def feed(self, data: bytes, position: int) -> tuple[bytes, int]:
        """See `Body`."""
        position = self._decoder.feed(data, position)
        self.done = self._decoder.done
        return self._decoder.take(), position


class ToEnd:
    """All that comes until the connection ends; only answers may be so."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes, position: int) -> tuple[bytes, int]:
        """See `Body`; never raises."""
        return (data[position:] if position else data), len(data)


def chunk(piece: bytes) -> bytes:
    """One chunk of a chunked body; empty for an empty piece, which would end it."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
