"""What was computed for earlier prompts and is kept: a prompt that begins alike goes on from it.

Bounded in bytes; what was not used for longest goes first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_LEAST: Final = 4  # tokens: less is not worth a place in memory


@dataclass(slots=True, eq=False)
class State:
    """What a model keeps of a text.

    Attributes:
        model: the engine's own object; its memory goes with it.
        adapter: that it was computed with.
        room: tokens that it can hold.
        tokens: of the text that it holds.
    """

    model: Any
    adapter: str
    room: int
    tokens: list[int] = field(default_factory=list)


class Prefixes:
    """Those of one model.

    Args:
        most: bytes at most; 0 = nothing is kept.
        token_bytes: of one token's room.
        rewind: makes a state shorter; raises where the engine cannot.
        states: at most; None = any number.
        grows: a state takes as much as its tokens, whatever its room.
    """

    def __init__(
        self,
        most: int,
        token_bytes: int,
        rewind: Callable[[State, int], None],
        *,
        states: int | None = None,
        grows: bool = False,
    ) -> None:
        self._most = most
        self._token_bytes = token_bytes
        self._rewind = rewind
        self._states = states
        self._grows = grows
        self._kept: list[State] = []  # the last one was used last

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        tokens = sum(len(each.tokens) if self._grows else each.room for each in self._kept)
        return tokens * self._token_bytes

    def keep(self, state: State) -> None:
        """A generation is over: its state may serve another one."""
        self._kept = [each for each in self._kept if not _within(each, state)]
        if len(state.tokens) >= _LEAST:
            self._kept.append(state)
        while self._kept and (self.size > self._most or self._many()):
            del self._kept[0]

    def _many(self) -> bool:
        return self._states is not None and len(self._kept) > self._states

    def take(self, tokens: Sequence[int], adapter: str, room: int) -> State | None:
        """A state that holds a beginning of `tokens`, and nothing else; it is not kept any more.

        At least one token is left to compute: its logits are what is wanted.
        """
        best, common = None, _LEAST - 1
        for state in self._kept:
            if state.adapter == adapter and state.room >= room:
                alike = _common(state.tokens, tokens, len(tokens) - 1)
                if alike > common:
                    best, common = state, alike
        if best is None:
            return None
        self._kept.remove(best)
        if common < len(best.tokens):
            try:
                self._rewind(best, common)
            except Exception:  # noqa: BLE001 - the engine has no base of its own, and not all can
                return None
            del best.tokens[common:]
        return best


def _within(each: State, state: State) -> bool:
    """Whether a state is of no use beside another one."""
    if each.adapter != state.adapter or each.room > state.room:
        return False
    return each.tokens == state.tokens[: len(each.tokens)]


def _common(left: Sequence[int], right: Sequence[int], most: int) -> int:
    """How many tokens two texts have in common at their beginnings."""
    end = min(len(left), len(right), most)
    if left[:end] == right[:end]:
        return end
    return next(place for place in range(end) if left[place] != right[place])
