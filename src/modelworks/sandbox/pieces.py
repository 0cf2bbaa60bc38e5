"""The parent's side of what a model's process generates: a socket of its own beside its calls.

The child is taken for hostile: a message that is not as it must be ends the process.
"""

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from modelworks.core import codec
from modelworks.core.errors import (
    UNLOADED,
    CrashedError,
    DeadlineError,
    InvalidError,
    UnavailableError,
)
from modelworks.core.generation import Finish, Piece, Prompt, Sampling
from modelworks.sandbox import wire
from modelworks.sandbox.wire import Word

_FINISHES: Final = [kind.value for kind in Finish]  # what is compared may be anything
_MOST_TOKENS: Final = 1_000_000  # of one piece
_MOST_TEXT: Final = 32 << 20
"""Characters of one answer, and a further one a piece: whoever reads it whole holds all of it."""
_LOOK_MS: Final = 500
_COUNT_S: Final = 10.0
_MOST: Final = 1024  # texts under way: the process takes no more
_GRACE_S: Final = 5.0


class _Counting:
    """A text whose tokens are being counted; -1 = nobody has said."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.tokens = -1


class _Open:
    """What is being generated."""

    def __init__(self, tell: Callable[[Piece], None]) -> None:
        self.tell = tell
        self.size = 0


class Pieces:
    """Of one process; fulfils `core.seams.Generating`.

    Args:
        silence_s: that a process may say nothing while it generates; then it is ended.
        end: ends the process for a reason, in words that follow "the process".

    Attributes:
        theirs: the child's end, to be sent and closed.
    """

    def __init__(self, silence_s: float, end: Callable[[str], None]) -> None:
        self._silence_s = silence_s
        self._end_process = end
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)  # noqa: FBT003 - the library's signature
        self._lock = threading.Lock()
        self._number = 0
        self._open: dict[int, _Open] = {}
        self._counting: dict[int, _Counting] = {}
        self._unsaid: set[int] = set()  # to be stopped, as soon as the process takes a message
        self._heard = time.monotonic()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="pieces", daemon=True)
        self._thread.start()

    def count(self, text: str) -> int:
        """See `Generating`.

        Raises:
            DeadlineError: the process does not say.
            UnavailableError: it is gone.
        """
        waiting = _Counting()
        with self._lock:
            self._number += 1
            number = self._number
            self._counting[number] = waiting
        try:
            self._say(wire.pack(Word.COUNT, number, data={"text": text}))
            if not waiting.told.wait(_COUNT_S):
                raise DeadlineError(f"the model did not count tokens within {_COUNT_S:g} s")
            if waiting.tokens < 0:
                raise UnavailableError(UNLOADED)
            return waiting.tokens
        finally:
            with self._lock:
                self._counting.pop(number, None)

    def generate(
        self, prompt: Prompt, sampling: Sampling, tell: Callable[[Piece], None]
    ) -> Callable[[], None]:
        """See `Generating`; what the model itself refuses, its last piece says.

        Raises:
            UnavailableError: as many as may be are under way, or the process is gone.
        """
        with self._lock:
            if len(self._open) >= _MOST:
                raise UnavailableError(f"{_MOST} texts are being made, and more are not begun")
            if not self._open:
                self._heard = time.monotonic()
            self._number += 1
            number = self._number
            self._open[number] = _Open(tell)
        asked = {"prompt": codec.encode(prompt), "sampling": codec.encode(sampling)}
        try:
            self._say(wire.pack(Word.GENERATE, number, data=asked))
        except BaseException:
            with self._lock:
                self._open.pop(number, None)
            raise

        def stop() -> None:
            self._unsaid.add(number)
            self._say_stops()

        return stop

    def close(self) -> None:
        """Tell everyone that no more comes. Twice is quiet."""
        with self._lock:
            self._closed = True
        with suppress(OSError):
            self._ours.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is not self._thread:
            self._thread.join(_GRACE_S)
        self._ours.close()

    def _say(self, message: bytes) -> None:
        if len(message) > wire.LONGEST:
            raise InvalidError(
                f"the prompt takes {len(message)} bytes, and a model in a process of its own can "
                f"be told {wire.LONGEST}",
                field="prompt",
            )
        try:
            with self._lock:
                if self._closed:
                    raise UnavailableError(UNLOADED)
                self._ours.send(message)
        except BlockingIOError as error:
            raise UnavailableError("the model is too busy to take what it is asked") from error
        except OSError as error:
            raise UnavailableError("the model's process is gone; it is started again") from error

    def _say_stops(self) -> None:
        """Say what is to be stopped; what the process is too busy for, the thread says again."""
        for number in tuple(self._unsaid):
            if number in self._open:
                try:
                    self._say(wire.pack(Word.STOP, number))
                except UnavailableError:
                    return
            self._unsaid.discard(number)

    # -- the thread

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._ours, select.POLLIN)
        try:
            while True:
                if self._unsaid:
                    self._say_stops()
                if poll.poll(_LOOK_MS):
                    message = self._ours.recv(wire.LONGEST)
                    if not message:
                        break
                    self._take(message)
                if self._open and time.monotonic() - self._heard > self._silence_s:
                    self._end_process(f"generated nothing for {self._silence_s:g} s")
                    break
        except CrashedError as error:
            self._end_process(f"broke its protocol: {error.message.partition(': ')[2]}")
        except (OSError, ValueError):  # closed
            pass
        self._end()

    def _take(self, message: bytes) -> None:
        word, number, value, _ = wire.unpack(message)
        if word == Word.COUNTED:
            waiting = self._counting.get(number)
            if waiting is not None and waiting.tokens < 0:
                waiting.tokens = max(0, value)
                waiting.told.set()
            return
        if word != Word.PIECE:
            raise CrashedError("the model's process: it says what it may not say")
        one = self._open.get(number)
        if one is None:
            raise CrashedError("the model's process: a piece came that nobody asked for")
        piece = _piece(wire.data_of(message))
        self._heard = time.monotonic()  # what is counted, another thread of the process says
        one.size += 1 + len(piece.text)
        if one.size > _MOST_TEXT:
            raise CrashedError("the model's process: an answer has no end")
        if piece.finish is not None:
            with self._lock:
                del self._open[number]
        one.tell(piece)

    def _end(self) -> None:
        with self._lock:
            dismissed, self._closed = self._closed, True
            waiting, self._open = self._open, {}
            counting = list(self._counting.values())
        for count in counting:
            count.told.set()
        last = Piece("", 0, Finish.ERROR, "the model's process ended; it is started again")
        if dismissed:
            last = Piece("", 0, Finish.CANCELLED)
        for one in waiting.values():
            one.tell(last)


def _piece(data: dict[str, Any]) -> Piece:
    """What the child says, where it can be.

    Raises:
        CrashedError: it cannot.
    """
    text, error, finish = data.get("text", ""), data.get("error", ""), data.get("finish")
    numbers = [data.get(name, 0) for name in ("tokens", "prompt_tokens", "cached_tokens")]
    good = isinstance(text, str) and isinstance(error, str)
    good = good and all(type(n) is int and 0 <= n <= _MOST_TOKENS for n in numbers)
    good = good and (finish is None or finish in _FINISHES)
    if not good:
        raise CrashedError("the model's process: a piece is none")
    tokens, prompt_tokens, cached_tokens = numbers
    return Piece(
        text,
        tokens,
        None if finish is None else Finish(finish),
        error[:300],
        prompt_tokens,
        cached_tokens,
        data.get("refused") is True,
    )
