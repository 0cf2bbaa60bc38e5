"""The child's side of what a model's process generates: a thread of its own is asked."""

import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from modelworks.core import codec
from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.generation import Finish, Piece, Prompt, Sampling
from modelworks.core.seams import Generating
from modelworks.sandbox import wire
from modelworks.sandbox.report import one_line
from modelworks.sandbox.wire import Word

_LONGEST = wire.LONGEST // 8  # characters of a piece: as JSON each may take six bytes


class Telling:
    """Passes on what the parent asks, and what the model makes of it.

    Args:
        handle: of the socket.
        generating: the model.
    """

    def __init__(self, handle: int, generating: Generating) -> None:
        self._socket = socket.socket(fileno=handle)
        self._generating = generating
        self._stops: dict[int, Callable[[], None]] = {}
        self._over: set[int] = set()  # that ended before their stopper was known
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin; ends with the process, or when the parent hangs up."""
        threading.Thread(target=self._run, name="telling", daemon=True).start()

    def _run(self) -> None:
        while message := self._socket.recv(wire.LONGEST):
            word, number, _, _ = wire.unpack(message)
            if word == Word.GENERATE:
                self._begin(number, wire.data_of(message))
            elif word == Word.STOP:
                stop = self._stops.get(number)
                if stop is not None:
                    stop()
            elif word == Word.COUNT:
                count = self._generating.count(wire.data_of(message)["text"])
                self._socket.send(wire.pack(Word.COUNTED, number, count))

    def _begin(self, number: int, asked: dict[str, Any]) -> None:
        prompt = codec.decode(Prompt, asked["prompt"])
        sampling = codec.decode(Sampling, asked["sampling"])
        try:
            stop = self._generating.generate(prompt, sampling, partial(self._tell, number))
        except ModelworksError as error:
            refused = isinstance(error, InvalidError)
            self._tell(number, Piece("", 0, Finish.ERROR, error.message, refused=refused))
            stop = _nothing
        with self._lock:
            if number in self._over:
                self._over.discard(number)
            else:
                self._stops[number] = stop

    def _tell(self, number: int, piece: Piece) -> None:
        text = piece.text
        while len(text) > _LONGEST:
            self._send(number, {"text": text[:_LONGEST], "tokens": 0})
            text = text[_LONGEST:]
        told: dict[str, Any] = {"text": text, "tokens": piece.tokens}
        if piece.finish is not None:
            told |= {
                "finish": piece.finish.value,
                "error": one_line(piece.error, 300),
                "refused": piece.refused,
                "prompt_tokens": piece.prompt_tokens,
                "cached_tokens": piece.cached_tokens,
            }
            with self._lock:
                if self._stops.pop(number, None) is None:
                    self._over.add(number)
        self._send(number, told)

    def _send(self, number: int, told: dict[str, Any]) -> None:
        self._socket.send(wire.pack(Word.PIECE, number, data=told))


def _nothing() -> None:
    """Stops what has ended."""
