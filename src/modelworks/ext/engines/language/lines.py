"""JSON, a line a message, over the socket between a server and a model's process."""

import json
import socket
from typing import Any, Final

LONGEST: Final = 32 << 20
"""Bytes of one message."""
LONGEST_TEXT: Final = LONGEST // 16
"""Characters of a text in one: JSON takes 12 bytes for some of them."""
_PART: Final = 1 << 16


class Lines:
    """One end.

    Args:
        stream: of the socket.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._rest = bytearray()

    def send(self, *messages: Any) -> None:
        """All of them.

        Raises:
            OSError: the other end is gone.
        """
        text = "\n".join(json.dumps(message, separators=(",", ":")) for message in messages)
        self._stream.sendall(text.encode() + b"\n")

    def read(self) -> list[Any] | None:
        """What came, once something has; None = the other end is gone.

        Raises:
            OSError: the socket was closed here.
            ValueError: what came is no JSON, or too long.
        """
        while True:
            part = self._stream.recv(_PART)
            if not part:
                return None
            self._rest += part
            end = self._rest.rfind(b"\n")
            if end >= 0:
                whole, self._rest = bytes(self._rest[:end]), self._rest[end + 1 :]
                return [json.loads(line) for line in whole.split(b"\n")]
            if len(self._rest) > LONGEST:
                raise ValueError("a message is too long")
