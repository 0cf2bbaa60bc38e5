"""A body whose length was announced."""

from typing import Final

_LARGE: Final = 16 * 1024


class SizedBody:
    """Collects exactly `length` bytes, as they come; the counterpart of `ChunkDecoder`.

    Large pieces are kept as they came and joined once, at the end: every byte of a large body is
    copied a single time. Small ones are gathered, so that a client that sends byte by byte costs
    no more memory than its bytes.
    """

    __slots__ = ("_need", "_pieces", "_small", "held")

    def __init__(self, length: int) -> None:
        """Nothing is set aside for what a client only announces.

        Attributes:
            held: bytes received so far.
        """
        self.held = 0
        self._pieces: list[bytes] = []
        self._small = bytearray()
        self._need = length

    @property
    def done(self) -> bool:
        """Whether the body is complete."""
        return not self._need

    def feed(self, data: bytes, position: int) -> int:
        """Take from `data` at `position`; the position behind what was used."""
        whole = not position and len(data) <= self._need
        piece = data if whole else data[position : position + self._need]
        size = len(piece)
        if size < _LARGE:
            self._small += piece
            if len(self._small) >= _LARGE:
                self._flush()
        else:
            if self._small:
                self._flush()
            self._pieces.append(piece)
        self.held += size
        self._need -= size
        return position + size

    def body(self) -> bytes:
        """The body."""
        if self._small:
            self._flush()
        return b"".join(self._pieces)

    def _flush(self) -> None:
        self._pieces.append(bytes(self._small))
        self._small.clear()
