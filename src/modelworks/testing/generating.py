"""Contract suite for sessions that generate, and `Words`: one without a model.

Subclass `GeneratingContract`, give it the fixture `session`, run it by pytest.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import pytest

from modelworks.core.errors import (
    UNLOADED,
    InvalidError,
    UnavailableError,
)
from modelworks.core.generation import Finish, Piece, Prompt, Sampling
from modelworks.core.seams import Generating, Session
from modelworks.core.tensor import Datatype, Signature, Tensors, TensorSpec
from modelworks.testing.engines import one_line

_SECONDS = 60.0
_GREEDY = Sampling(max_tokens=8, temperature=0.0)
TEXT = Signature(
    (TensorSpec("text", Datatype.BYTES, (None,)),), (TensorSpec("text", Datatype.BYTES, (None,)),)
)


class Told:
    """Keeps what is told; waits for the last piece."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.first, self.over = threading.Event(), threading.Event()

    def __call__(self, piece: Piece) -> None:
        assert not self.over.is_set(), "a piece came behind the last one"
        self.pieces.append(piece)
        if piece.finish is not None:
            self.over.set()
        self.first.set()

    def wait(self) -> Piece:
        """The last piece."""
        assert self.over.wait(_SECONDS), "no last piece came"
        return self.pieces[-1]

    @property
    def text(self) -> str:
        """Of all pieces."""
        return "".join(piece.text for piece in self.pieces)


def generated(session: Generating, text: str, sampling: Sampling = _GREEDY) -> Told:
    """A whole generation."""
    told = Told()
    session.generate(Prompt(text), sampling, told)
    told.wait()
    return told


class GeneratingContract:
    """What every session that generates does. Fixture: `session`; it closes it.

    Attributes:
        prompt: that goes on for twenty tokens and more, with temperature 0.
    """

    prompt = "one two three"

    @pytest.fixture
    def session(self) -> Any:
        """A loaded session."""
        raise NotImplementedError

    def test_is_generating(self, session: Session) -> None:
        assert isinstance(session, Generating)

    def test_counts_tokens(self, session: Generating) -> None:
        assert session.count(self.prompt) >= 1
        assert session.count(self.prompt * 3) > session.count(self.prompt)

    def test_the_last_piece_says_so_and_no_other(self, session: Generating) -> None:
        told = generated(session, self.prompt)
        last = told.pieces[-1]
        assert last.finish in {Finish.STOP, Finish.LENGTH}
        assert all(piece.finish is None for piece in told.pieces[:-1])
        assert last.prompt_tokens == session.count(self.prompt)
        assert 0 <= last.cached_tokens <= last.prompt_tokens

    @pytest.mark.parametrize("most", [1, 5])
    def test_no_more_tokens_than_asked_for(self, session: Generating, most: int) -> None:
        told = generated(session, self.prompt, replace(_GREEDY, max_tokens=most))
        assert told.pieces[-1].finish is Finish.LENGTH
        assert sum(piece.tokens for piece in told.pieces) == most

    def test_without_chance_it_says_the_same_again(self, session: Generating) -> None:
        first = generated(session, self.prompt).text
        assert first
        assert generated(session, self.prompt).text == first

    def test_a_stop_string_ends_it_and_is_no_part_of_it(self, session: Generating) -> None:
        whole = generated(session, self.prompt).text
        stop = whole[len(whole) // 2 :][:3]
        told = generated(session, self.prompt, replace(_GREEDY, stop=(stop,)))
        assert told.pieces[-1].finish is Finish.STOP
        assert told.text == whole[: whole.index(stop)]

    def test_stopped_it_says_cancelled(self, session: Generating) -> None:
        told = Told()
        stop = session.generate(Prompt(self.prompt), replace(_GREEDY, max_tokens=100_000), told)
        assert told.first.wait(_SECONDS)
        stop()
        stop()
        last = told.wait()
        assert last.finish in {Finish.CANCELLED, Finish.LENGTH}  # the context may have ended first
        stop()

    def test_stopped_at_once_it_still_ends(self, session: Generating) -> None:
        told = Told()
        session.generate(Prompt(self.prompt), replace(_GREEDY, max_tokens=100_000), told)()
        assert told.wait().finish is not None

    def test_several_at_once_are_each_as_alone(self, session: Generating) -> None:
        texts = [self.prompt, self.prompt + " four", self.prompt + " four five"]
        alone = [generated(session, text).text for text in texts]
        many = [Told() for _ in texts * 2]
        for told, text in zip(many, texts * 2, strict=True):
            session.generate(Prompt(text), _GREEDY, told)
        for told in many:
            told.wait()
        assert [told.text for told in many] == alone * 2

    def test_an_unknown_adapter_is_refused(self, session: Generating) -> None:
        with pytest.raises(InvalidError) as caught:
            session.generate(Prompt(self.prompt, "nobody's"), _GREEDY, Told())
        assert one_line(caught.value)

    def test_closed_it_ends_what_is_open_and_begins_nothing(self, session: Any) -> None:
        told = Told()
        session.generate(Prompt(self.prompt), replace(_GREEDY, max_tokens=100_000), told)
        session.close()
        assert told.wait().finish is not None
        with pytest.raises(UnavailableError):
            session.generate(Prompt(self.prompt), _GREEDY, Told())
        session.close()


class _Saying:
    """One generation of `Words`."""

    def __init__(
        self, words: Sequence[str], sampling: Sampling, tell: Callable[[Piece], None]
    ) -> None:
        self.words = cycle(words or ["nothing"])
        self.count = len(words)
        self.sampling = sampling
        self.tell = tell
        self.text = ""
        self.sent = 0  # characters of it
        self.kept = max((len(stop) - 1 for stop in sampling.stop), default=0)
        self.made = 0
        self.stopped = False


class Words:
    """Says the words of its prompt again and again, from one thread; fulfils `Session` too.

    A prompt with the word `boom` fails at its third token.

    Args:
        most: generations at once.
        context: words of a prompt at most.
        pace_s: between two tokens of a generation.
    """

    apart = True
    signature = TEXT

    def __init__(self, most: int = 64, context: int = 1000, pace_s: float = 0.0) -> None:
        self.begun = self.cancelled = 0
        self._most, self._context, self._pace_s = most, context, pace_s
        self._allowed: int | None = None
        self._open: list[_Saying] = []
        self._lock = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="words", daemon=True)
        self._thread.start()

    @property
    def open(self) -> int:
        """Generations that have not ended."""
        return len(self._open)

    def hold(self) -> None:
        """Make no token before `allow`."""
        with self._lock:
            self._allowed = 0

    def allow(self, rounds: int) -> None:
        """Make so many tokens more of each generation."""
        with self._lock:
            self._allowed = (self._allowed or 0) + rounds
            self._lock.notify()

    def count(self, text: str) -> int:
        """See `Generating`."""
        return len(text.split())

    def generate(
        self, prompt: Prompt, sampling: Sampling, tell: Callable[[Piece], None]
    ) -> Callable[[], None]:
        """See `Generating`."""
        if prompt.adapter:
            raise InvalidError(f"no adapter '{prompt.adapter}' here", field="adapter")
        words = prompt.text.split()
        if len(words) > self._context:
            raise InvalidError(f"{len(words)} words are more than {self._context}", field="prompt")
        saying = _Saying(words, sampling, tell)
        with self._lock:
            if self._closed:
                raise UnavailableError(UNLOADED)
            if len(self._open) >= self._most:
                raise UnavailableError(f"{self._most} generations are under way", retry_after=2)
            self.begun += 1
            self._open.append(saying)
            self._lock.notify()

        def stop() -> None:
            with self._lock:
                saying.stopped = True
                self._lock.notify()

        return stop

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Whole answers of eight tokens."""
        texts = [generated(self, bytes(row).decode()).text for row in inputs["text"].tolist()]
        return [np.array([text.encode() for text in texts], dtype=object)]

    def close(self) -> None:
        """See `Session`."""
        with self._lock:
            self._closed = True
            self._lock.notify()
        self._thread.join(_SECONDS)

    # -- the thread

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(self._due)
                if self._closed:
                    break
                if self._allowed is not None and self._allowed > 0:
                    self._allowed -= 1
                    go = True
                else:
                    go = self._allowed is None
                turn = list(self._open)
            for saying in turn:
                if saying.stopped or go:
                    self._step(saying)
            if self._pace_s:
                with self._lock:
                    self._lock.wait_for(lambda: self._closed, self._pace_s)
        for saying in self._open:
            saying.tell(Piece("", 0, Finish.CANCELLED))
        self._open.clear()

    def _due(self) -> bool:
        if self._closed:
            return True
        if self._allowed == 0:
            return any(saying.stopped for saying in self._open)
        return bool(self._open)

    def _step(self, saying: _Saying) -> None:
        ending = partial(Piece, prompt_tokens=saying.count)
        if saying.stopped:
            self.cancelled += 1
            self._end(saying, ending("", 0, Finish.CANCELLED))
            return
        word = next(saying.words)
        if word == "boom" and saying.made >= 2:
            self._end(saying, ending("", 0, Finish.ERROR, "the third word was too much"))
            return
        saying.made += 1
        saying.text += word + " "
        found = [at for stop in saying.sampling.stop if (at := saying.text.find(stop)) >= 0]
        if found:
            self._end(saying, ending(saying.text[saying.sent : min(found)], 1, Finish.STOP))
        elif saying.made >= saying.sampling.max_tokens:
            self._end(saying, ending(saying.text[saying.sent :], 1, Finish.LENGTH))
        else:
            sure = max(saying.sent, len(saying.text) - saying.kept)
            text, saying.sent = saying.text[saying.sent : sure], sure
            saying.tell(Piece(text))

    def _end(self, saying: _Saying, piece: Piece) -> None:
        with self._lock, suppress(ValueError):
            self._open.remove(saying)
        saying.tell(piece)
