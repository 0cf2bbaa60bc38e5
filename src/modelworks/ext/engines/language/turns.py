"""Who computes next: every generation under way gets one step in its turn, the others wait.

A step is a token, or a part of a prompt: a long prompt holds nobody up for longer than that. Where
the engine can, one step is everybody's: the weights are read once for all.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from modelworks.core.generation import Finish, Sampling
from modelworks.ext.engines.language.choosing import Choosing
from modelworks.ext.engines.language.opened import Word
from modelworks.ext.engines.language.prefixes import Prefixes, State
from modelworks.ext.formats.language import Facts

CHUNK: Final = 128
"""Tokens of prompts in one step."""
_LEAST_ROOM: Final = 256


class Part(NamedTuple):
    """One generation's share of a step.

    Attributes:
        model: its state.
        tokens: to be computed, behind those that it holds.
        wanted: the logits behind the last one are.
    """

    model: Any
    tokens: list[int]
    wanted: bool


class Decoder(Protocol):
    """What computes.

    Attributes:
        joint: one step may be several generations' of one adapter, and a state takes as much as
            its tokens; otherwise they come one by one, and a state takes its room.
        states: that it can have at a time; 0 = any number.
    """

    joint: bool
    states: int

    def state(self, room: int, adapter: str) -> Any:
        """A new one, empty, for so many tokens."""
        ...

    def compute(self, parts: Sequence[Part]) -> list[Any]:
        """One step; for every part the logits [vocabulary], None where they are not wanted."""
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
    """All generations of one model, in its own process; see `opened.Generations`.

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
            kept,
            facts.token_bytes,
            lambda state, length: decoder.rewind(state.model, length),
            states=decoder.states - slots if decoder.states else None,
            grows=decoder.joint,
        )

    @property
    def busy(self) -> bool:
        """See `Generations.busy`."""
        return bool(self._active or self._waiting)

    def enter(self, number: int, prompt: list[int], adapter: str, sampling: Sampling) -> None:
        """See `Generations.enter`."""
        work = _Work(number, prompt, adapter, sampling, Choosing(sampling))
        self._waiting.append(work)

    def stop(self, number: int) -> list[Word]:
        """See `Generations.stop`."""
        for work in self._waiting:
            if work.number == number:
                self._waiting.remove(work)
                return [_last(work, Finish.CANCELLED)]
        for work in self._active:
            if work.number == number:
                return [self._ended(work, Finish.CANCELLED)]
        return []

    def step(self, between: Callable[[], None] | None = None) -> list[Word]:
        """One step of everyone whose turn it is; see `Generations.step`."""
        while self._waiting and len(self._active) < self._slots:
            self._active.append(self._waiting.popleft())
        told: list[Word] = []
        for place, group in enumerate(self._groups()):
            if place and between is not None:
                between()
            told += self._together([work for work in group if work in self._active])
        return told

    def _groups(self) -> list[list[_Work]]:
        """Who shares a step with whom."""
        if not self._decoder.joint:
            return [[work] for work in self._active]
        by: dict[str, list[_Work]] = {}
        for work in self._active:
            by.setdefault(work.adapter, []).append(work)
        return list(by.values())

    def _together(self, group: Sequence[_Work]) -> list[Word]:
        told: list[Word] = []
        reading = sum(not work.made for work in group)
        size = max(1, CHUNK // max(1, reading))
        ready: list[tuple[_Work, State, list[int]]] = []
        for work in group:
            try:
                state = work.state or self._begun(work)
            except Exception as error:  # noqa: BLE001 - the engine has no base of its own
                told.append(self._failed(work, error))
            else:
                ready.append((work, state, work.left[:size]))
        parts = [
            Part(state.model, part, wanted=len(part) == len(work.left))
            for work, state, part in ready
        ]
        try:
            found = self._decoder.compute(parts) if parts else []
        except Exception as error:  # noqa: BLE001 - the same
            return [*told, *(self._failed(work, error) for work, _, _ in ready)]
        for (work, state, part), logits in zip(ready, found, strict=True):
            try:
                told += self._after(work, state, part, logits)
            except Exception as error:  # noqa: BLE001 - the same
                told.append(self._failed(work, error))
        return told

    def _after(self, work: _Work, state: State, part: list[int], logits: Any) -> list[Word]:
        """One's step was computed: what he says now."""
        work.left = work.left[len(part) :]
        state.tokens += part
        if work.left:
            return []
        token = work.choosing.choose(logits, state.tokens)
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
        room = need = min(self._facts.context, most)
        if self._decoder.joint:
            room = self._facts.context
        else:
            room = min(self._facts.context, max(_LEAST_ROOM, 1 << (room - 1).bit_length()))
        state = self._prefixes.take(work.prompt, work.adapter, need)
        if state is None:
            state = State(self._decoder.state(room, work.adapter), work.adapter, room)
        work.cached = len(state.tokens)
        work.left = work.prompt[work.cached :]
        work.state = state
        return state

    def _failed(self, work: _Work, error: Exception) -> Word:
        work.state = None
        why = " ".join(str(error).split())[:300] or type(error).__name__
        return (*self._ended(work, Finish.ERROR)[:4], why)

    def _ended(self, work: _Work, finish: Finish) -> Word:
        self._active.remove(work)
        if work.state is not None:
            self._prefixes.keep(work.state)
            work.state = None
        return _last(work, finish)


def _last(work: _Work, finish: Finish) -> Word:
    return work.number, -1, finish.value, work.cached, ""
