"""Messages of gRPC that do not begin and end with a frame: put together, within a bound."""

from struct import Struct
from typing import Final

PREFIX: Final = 5
"""Bytes before each message: whether it is compressed, and its length."""
LENGTH: Final = Struct(">L")


class TooLongError(ValueError):
    """A message is longer than allowed; nothing of it is kept.

    Args:
        length: that was announced.
    """

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length


class Gathering:
    """The unfinished messages of one call.

    Attributes:
        held: bytes that are kept.
    """

    __slots__ = ("_most", "_need", "_pieces", "held")

    def __init__(self, most: int) -> None:
        """Nothing is kept.

        Args:
            most: bytes of one message.
        """
        self._most = most
        self._pieces: list[bytes] = []
        self._need = PREFIX  # bytes from which more can be read
        self.held = 0

    def add(self, payload: bytes) -> list[tuple[int, bytes]]:
        """Take the bytes of a frame.

        Returns:
            The messages that are whole now, each with the flag that says whether it is compressed.

        Raises:
            TooLongError: one is announced that is too long.
        """
        self._pieces.append(payload)
        self.held += len(payload)
        if self.held < self._need:
            return []
        if self.held == self._need > PREFIX:
            return [self._one()]
        data = payload if len(self._pieces) == 1 else b"".join(self._pieces)
        size, position = len(data), 0
        self._need = PREFIX
        found: list[tuple[int, bytes]] = []
        while size - position >= PREFIX:
            length: int = LENGTH.unpack_from(data, position + 1)[0]
            if length > self._most:
                raise TooLongError(length)
            end = position + PREFIX + length
            if end > size:
                self._need = end - position
                break
            found.append((data[position], data[position + PREFIX : end]))
            position = end
        self._pieces = [data[position:]] if position < size else []
        self.held = size - position
        return found

    def _one(self) -> tuple[int, bytes]:
        """The message that just ended, with a frame: its bytes are copied once."""
        pieces, self._pieces = self._pieces, []
        self.held, self._need = 0, PREFIX
        first = pieces[0]
        pieces[0] = first[PREFIX:]
        return first[0], b"".join(pieces)
