"""Who computes next: every generation under way gets one step in its turn, the others wait.

A step is a token, or a part of a prompt: a long prompt holds nobody up for longer than that.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from modelworks.core.generation import Finish, Sampling
from modelworks.ext.engines.language.choosing import Choosing
from modelworks.ext.engines.language.prefixes import Prefixes, State
from modelworks.ext.formats.genai import Facts

CHUNK: Final = 128
"""Tokens of a prompt in one step."""
_LEAST_ROOM: Final = 256

Word = tuple[int, int, str, int, str]
"""Of a generation: its number, the token (-1 = none), how it ended ("" = it goes on), tokens of the
prompt that were not computed again, what went wrong."""


class Decoder(Protocol):
    """What computes."""

    def state(self, room: int, adapter: str) -> Any:
        """A new one, empty, for so many tokens."""
        ...

    def add(self, model: Any, tokens: list[int]) -> None:
        """Compute the next tokens of a text."""
        ...

    def logits(self, model: Any) -> Any:
        """[vocabulary] after the last token."""
        ...

    def rewind(self, model: Any, length: int) -> None:
        """Forget what comes after the first tokens."""
        ...


@dataclass(slots=True, eq=False)
class _Work:
    number: int
    prompt: list[int]
    adapter: str
    sampling: Sampling
    choosing: Choosing
    made: int = 0
    cached: int = 0
    left: list[int] = field(default_factory=list)  # of the prompt, or the token chosen last
    state: State | None = None


class Turns:
    """All generations of one model, in its own process.

    Args:
        decoder: what computes.
        facts: of the model.
        slots: generations that compute in turn; the others wait in order.
        kept: bytes for the states of earlier prompts.
    """

    def __init__(self, decoder: Decoder, facts: Facts, slots: int, kept: int) -> None:
        self._decoder = decoder
        self._facts = facts
        self._slots = slots
        self._waiting: deque[_Work] = deque()
        self._active: list[_Work] = []
        self._prefixes = Prefixes(
            kept, facts.token_bytes, lambda state, length: decoder.rewind(state.model, length)
        )

    @property
    def busy(self) -> bool:
        """Whether there is something to compute."""
        return bool(self._active or self._waiting)

    def enter(self, number: int, prompt: list[int], adapter: str, sampling: Sampling) -> None:
        """One more; `prompt` has at least one token and fits the context."""
        work = _Work(number, prompt, adapter, sampling, Choosing(sampling))
        self._waiting.append(work)

    def stop(self, number: int) -> list[Word]:
        """Nobody wants it any more; quiet when it is over."""
        for work in self._waiting:
            if work.number == number:
                self._waiting.remove(work)
                return [_last(work, Finish.CANCELLED)]
        for work in self._active:
            if work.number == number:
                return [self._ended(work, Finish.CANCELLED)]
        return []

    def step(self, between: Callable[[], None] | None = None) -> list[Word]:
        """One step of everyone whose turn it is.

        Args:
            between: called between one's step and the next one's; may call `enter` and `stop`.
        """
        while self._waiting and len(self._active) < self._slots:
            self._active.append(self._waiting.popleft())
        told: list[Word] = []
        for place, work in enumerate(list(self._active)):
            if place and between is not None:
                between()
            if work not in self._active:  # stopped meanwhile
                continue
            try:
                told += self._one(work)
            except Exception as error:  # noqa: BLE001 - the engine has no base of its own
                work.state = None
                why = " ".join(str(error).split())[:300] or type(error).__name__
                told.append((*self._ended(work, Finish.ERROR)[:4], why))
        return told

    def _one(self, work: _Work) -> list[Word]:
        state = work.state or self._begun(work)
        part, work.left = work.left[:CHUNK], work.left[CHUNK:]
        self._decoder.add(state.model, part)
        state.tokens += part
        if work.left:
            return []
        token = work.choosing.choose(self._decoder.logits(state.model), state.tokens)
        if token in self._facts.ends:
            return [self._ended(work, Finish.STOP)]
        work.made += 1
        whole = len(work.prompt) + work.made
        if work.made >= work.sampling.max_tokens or whole >= self._facts.context:
            return [(work.number, token, *self._ended(work, Finish.LENGTH)[2:])]
        work.left = [token]
        return [(work.number, token, "", work.cached, "")]

    def _begun(self, work: _Work) -> State:
        most = len(work.prompt) + work.sampling.max_tokens
        room = min(self._facts.context, max(_LEAST_ROOM, 1 << (most - 1).bit_length()))
        need = min(self._facts.context, most)
        state = self._prefixes.take(work.prompt, work.adapter, need)
        if state is None:
            state = State(self._decoder.state(room, work.adapter), work.adapter, room)
        work.cached = len(state.tokens)
        work.left = work.prompt[work.cached :]
        work.state = state
        return state

    def _ended(self, work: _Work, finish: Finish) -> Word:
        self._active.remove(work)
        if work.state is not None:
            self._prefixes.keep(work.state)
            work.state = None
        return _last(work, finish)


def _last(work: _Work, finish: Finish) -> Word:
    return work.number, -1, finish.value, work.cached, ""
