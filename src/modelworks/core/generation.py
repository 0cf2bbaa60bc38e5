"""Answers that come in pieces: what is asked of a model that generates, and what it gives."""

from dataclasses import dataclass
from enum import StrEnum


class Finish(StrEnum):
    """Why a generation ended; the words of the OpenAI API where it has one."""

    STOP = "stop"  # the model ended it, or a stop string came
    LENGTH = "length"  # `max_tokens`, or the context is full
    CANCELLED = "cancelled"  # nobody wanted more
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        max_tokens: new tokens at most, 1 or more.
        temperature: 0 = the likeliest token every time.
        top_p: nucleus; 1 = all tokens.
        top_k: of the likeliest; 0 = all.
        repetition_penalty: 1 = none.
        seed: None = a new one every time.
        stop: strings that end the answer; they are not part of it.
    """

    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is continued.

    Attributes:
        text: as the model wants it, any chat template applied.
        adapter: which adapter (LoRA) of the base answers; empty = the base itself.
    """

    text: str
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """What came since the last piece.

    Attributes:
        text: whole characters only; may be empty.
        tokens: new tokens that it is made of.
        finish: set on the last piece and on no other.
        error: why, where `finish` is ERROR; one line.
        refused: where `finish` is ERROR: what the caller asked is why.
        prompt_tokens: of the prompt; on the last piece.
        cached_tokens: of those, how many were not computed again; on the last piece.
    """

    text: str
    tokens: int = 1
    finish: Finish | None = None
    error: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    refused: bool = False
