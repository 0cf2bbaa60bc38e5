"""A language model as its process has it: what computes, and what the server's side is told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol

from modelworks.core.generation import Sampling
from modelworks.ext.engines.language.template import Template

Word = tuple[int, int, str, int, str]
"""Of a generation: its number, the token (-1 = none), how it ended ("" = it goes on), tokens of the
prompt that were not computed again, what went wrong."""
_BY: Final = {
    name: f"modelworks.ext.engines.language.{name}.computing"
    for name in ("genai", "llamacpp", "vllm")
}


@dataclass(frozen=True, slots=True)
class Wish:
    """How a model is to be opened.

    Attributes:
        folder: of the model.
        threads: of one step.
        slots: generations that compute at a time.
        kept: bytes for what was computed of earlier prompts.
        context: tokens of a prompt and its answer at most; 0 = what the engine takes unsaid.
        check: look at all of it, as one does when it comes from elsewhere.
    """

    folder: Path
    threads: int
    slots: int
    kept: int
    context: int = 0
    check: bool = False


class Generations(Protocol):
    """All generations of one model. Its process calls it from one thread."""

    @property
    def busy(self) -> bool:
        """Whether there is something to compute."""
        ...

    def enter(self, number: int, prompt: list[int], adapter: str, sampling: Sampling) -> None:
        """One more; `prompt` has at least one token and fits the context."""
        ...

    def stop(self, number: int) -> list[Word]:
        """Nobody wants it any more; quiet when it is over."""
        ...

    def step(self, between: Callable[[], None] | None = None) -> list[Word]:
        """Compute for as long as one step takes.

        Args:
            between: called while somebody's step is over and another one's is to come; may call
                `enter` and `stop`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A model in memory.

    Attributes:
        generations: of it.
        template: how a conversation is written.
        context: tokens that a prompt and its answer may have together.
        adapters: names.
        widest: characters that one token stands for at most; 0 = the server's side knows.
        read: a text as tokens; None = the server's side reads it, by the folder's tokenizer.
        spell: a token as bytes; None = the same.
    """

    generations: Generations
    template: Template
    context: int
    adapters: tuple[str, ...] = ()
    widest: int = 0
    read: Callable[[str], list[int]] | None = field(default=None, compare=False)
    spell: Callable[[int], bytes] | None = field(default=None, compare=False)

    def spelled(self, token: int) -> int | str:
        """A token as the server's side wants it: itself, or its bytes, each as a character.

        JSON has no bytes, so each is sent as the character of its number.
        """
        return token if self.spell is None else self.spell(token).decode("latin-1")


def opened(by: str, wish: Wish) -> Opened:
    """Load a model; only where its library may be loaded: in its own process.

    Args:
        by: which of the engines.
        wish: how.

    Raises:
        ModelworksError: it does not load.
    """
    made: Opened = import_module(_BY[by]).opened(wish)
    return made
