"""Tokens as text that may be sent: whole characters, and nothing that a stop string may begin."""

import codecs
from collections.abc import Sequence
from typing import Any, Protocol


class Spelling(Protocol):
    """Of one answer's tokens: those of one character may be several."""

    def next(self, token: Any) -> str:
        """The characters that are whole now that this token came."""
        ...


class Bytes:
    """Tokens that come as their bytes, each byte as the character of that number."""

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def next(self, token: str) -> str:
        """See `Spelling.next`."""
        return self._decoder.decode(token.encode("latin-1"))


class Writing:
    """The text of one answer.

    Args:
        spelling: of its tokens.
        stop: strings that end the answer and are no part of it.

    Attributes:
        stopped: one of them came.
    """

    __slots__ = ("_held", "_spelling", "_stop", "stopped")

    def __init__(self, spelling: Spelling, stop: Sequence[str]) -> None:
        self._spelling = spelling
        self._stop = tuple(text for text in stop if text)
        self._held = ""  # may be the beginning of a stop string
        self.stopped = False

    def add(self, token: Any) -> str:
        """What can be sent now that this token came."""
        if self.stopped:
            return ""
        text = self._held + self._spelling.next(token)
        if not self._stop:
            return text
        at = min((found for found in map(text.find, self._stop) if found >= 0), default=-1)
        if at >= 0:
            self.stopped = True
            self._held = ""
            return text[:at]
        keep = max(_begun(text, stop) for stop in self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> str:
        """What was held back, now that nothing comes any more."""
        text, self._held = self._held, ""
        return text


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text are the beginning of a stop string."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
