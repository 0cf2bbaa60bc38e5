"""A body whose length was announced."""


class SizedBody:
    """Collects exactly `length` bytes, as they come; the counterpart of `ChunkDecoder`."""

    __slots__ = ("_body", "_need")

    def __init__(self, length: int) -> None:
        """Nothing is set aside for what a client only announces."""
        self._body = bytearray()
        self._need = length

    @property
    def done(self) -> bool:
        """Whether the body is complete."""
        return not self._need

    @property
    def held(self) -> int:
        """Bytes received so far."""
        return len(self._body)

    def feed(self, data: bytes, position: int) -> int:
        """Take from `data` at `position`; the position behind what was used."""
        piece = data[position : position + self._need]
        self._body += piece
        self._need -= len(piece)
        return position + len(piece)

    def body(self) -> bytes:
        """The body."""
        return bytes(self._body)
