"""Bytes to a client that may not read: what waits for it is bounded in size and in time."""

import asyncio
from collections.abc import Callable
from typing import Final

from modelworks.edge.exchange import Stream

PATIENT: Final = 64 * 1024
"""Bytes that may wait for as long as the edge allows."""
MOST: Final = 1024 * 1024
"""Bytes that may wait at all."""
SECONDS: Final = 10.0
"""How long more than `PATIENT` may wait."""


class Sending:
    """Writes to a stream; an engine cannot be held up, so whoever does not read is let go.

    Args:
        stream: of the answer.
        left: called once when the client leaves; `slow` says whether it was made to.

    Attributes:
        open: the client is there, and reads.
    """

    __slots__ = ("_left", "_stream", "_timer", "open")

    def __init__(self, stream: Stream, left: Callable[[bool], None]) -> None:
        self._stream = stream
        self._left: Callable[[bool], None] | None = left
        self._timer: asyncio.TimerHandle | None = None
        self.open = not stream.gone
        stream.on_gone = self._gone

    def write(self, data: bytes) -> None:
        """Send; quiet when the client is gone."""
        if not self.open:
            return
        stream = self._stream
        stream.write(data)
        waiting = stream.waiting
        if waiting <= PATIENT:
            return
        if waiting > MOST:
            self._slow()
        elif self._timer is None:
            stream.on_drained = self._drained
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._look)

    def finish(self, data: bytes = b"") -> None:
        """Send the last piece, however much waits: the body is whole, and the edge's to deliver."""
        if self.open:
            self._close()
            self._stream.write(data)
            self._stream.end()

    def cut(self) -> None:
        """The body cannot be made whole."""
        if self.open:
            self._close()
            self._stream.cut()

    def _look(self) -> None:
        self._timer = None
        if self._stream.waiting > PATIENT:
            self._slow()

    def _drained(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _slow(self) -> None:
        left = self._left
        self._close()
        self._stream.cut()
        if left is not None:
            left(True)  # noqa: FBT003 - a callback takes no keywords

    def _gone(self) -> None:
        left = self._left
        self._close()
        if left is not None:
            left(False)  # noqa: FBT003 - a callback takes no keywords

    def _close(self) -> None:
        self.open = False
        self._left = None
        self._drained()
        self._stream.on_gone = self._stream.on_drained = None
