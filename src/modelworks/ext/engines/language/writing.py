"""Tokens as text that may be sent: whole characters, and nothing that a stop string may begin."""

from collections.abc import Sequence
from typing import Any

from tokenizers.decoders import DecodeStream


class Writing:
    """The text of one answer.

    Args:
        tokenizer: of the model.
        stop: strings that end the answer and are no part of it.

    Attributes:
        stopped: one of them came.
    """

    __slots__ = ("_held", "_stop", "_stream", "_tokenizer", "stopped")

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._stop = tuple(text for text in stop if text)
        self._held = ""  # may be the beginning of a stop string
        self.stopped = False

    def add(self, token: int) -> str:
        """What can be sent now that this token came."""
        if self.stopped:
            return ""
        text = self._held + self._next(token)
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

    def _next(self, token: int) -> str:
        try:
            text = self._stream.step(self._tokenizer, token)
        except Exception:  # noqa: BLE001 - the library raises bare ones
            # Bytes that are no UTF-8 made other text of what was sent: go on behind them. A token
            # that is none fails again.
            self._stream = DecodeStream(skip_special_tokens=True)
            text = self._stream.step(self._tokenizer, token)
        return text or ""

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
