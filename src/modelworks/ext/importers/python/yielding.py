"""A generator function of the owner's as a model that generates: several share it by turns."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from modelworks.core.endings import Ending
from modelworks.core.errors import CrashedError, InvalidError, UnavailableError
from modelworks.core.generation import Finish, Piece, Prompt, Sampling
from modelworks.ext.importers.usercode import failure

_MOST: Final = 1024
Make = Callable[[Prompt, Sampling], Iterator[Any]]
"""What begins a text: gives its pieces, one token each."""


class _Yield:
    """One text."""

    def __init__(
        self, prompt: Prompt, sampling: Sampling, tell: Callable[[Piece], None], tokens: int
    ) -> None:
        self.prompt = prompt
        self.sampling = sampling
        self.tell = tell
        self.tokens = tokens
        self.pieces: Iterator[Any] | None = None
        self.ending = Ending(sampling.stop)
        self.made = 0
        self.stopped = False


class Yielding:
    """Fulfils `core.seams.Generating`: one piece of each text in turn, so none waits for another.

    Args:
        make: the owner's function.
        lock: held while the owner's code runs: its `predict` takes it too.
        folder: of the code, for what is told of its errors.
    """

    def __init__(self, make: Make, lock: threading.Lock, folder: Path) -> None:
        self._make = make
        self._own = lock
        self._folder = folder
        self._turn = threading.Condition()
        self._open: list[_Yield] = []
        self._thread: threading.Thread | None = None

    def count(self, text: str) -> int:
        """Words: what a token is, only the owner's code knows."""
        return len(text.split())

    def generate(
        self, prompt: Prompt, sampling: Sampling, tell: Callable[[Piece], None]
    ) -> Callable[[], None]:
        """See `Generating`."""
        if prompt.adapter:
            raise InvalidError(f"no adapter '{prompt.adapter}' here", field="adapter")
        one = _Yield(prompt, sampling, tell, self.count(prompt.text))
        with self._turn:
            if len(self._open) >= _MOST:
                raise UnavailableError(f"{_MOST} texts are being made, and more are not begun")
            self._open.append(one)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="yielding", daemon=True)
                self._thread.start()
            self._turn.notify()

        def stop() -> None:
            one.stopped = True
            with self._turn:
                self._turn.notify()

        return stop

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._open)
                turn = list(self._open)
            for one in turn:
                last = self._step(one)
                if last is not None:
                    with self._turn:
                        self._open.remove(one)
                    one.tell(last)

    def _step(self, one: _Yield) -> Piece | None:
        """One piece further; the last piece where it ends."""
        ending = partial(Piece, prompt_tokens=one.tokens)
        if one.stopped:
            self._close(one)
            return ending("", 0, Finish.CANCELLED)
        try:
            text = self._next(one)
        except StopIteration:
            return ending(one.ending.rest(), 0, Finish.STOP)
        except Exception as error:  # noqa: BLE001 - the owner's code: whoever asked is told
            self._close(one)
            known = failure(error, self._folder)
            refused = isinstance(known, InvalidError)
            return ending("", 0, Finish.ERROR, known.message, refused=refused)
        one.made += 1
        sure = one.ending.feed(text)
        full = one.made >= one.sampling.max_tokens
        if not (full or one.ending.over):
            one.tell(Piece(sure))
            return None
        self._close(one)
        return ending(
            sure + one.ending.rest(), 1, Finish.STOP if one.ending.over else Finish.LENGTH
        )

    def _next(self, one: _Yield) -> str:
        with self._own:
            if one.pieces is None:
                one.pieces = iter(self._make(one.prompt, one.sampling))
            text = next(one.pieces)
        if not isinstance(text, str):
            raise CrashedError(
                f"generate() of model.py gave {type(text).__name__}: pieces of text are wanted"
            )
        return text

    def _close(self, one: _Yield) -> None:
        """Let the owner's function give back what it holds."""
        close = getattr(one.pieces, "close", None)
        if close is not None:
            with suppress(Exception), self._own:
                close()
