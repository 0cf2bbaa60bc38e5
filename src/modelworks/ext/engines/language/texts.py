"""Texts as tokens: by `tokenizers`, as the model's own file says, or by the model's process."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Tensors
from modelworks.ext.engines.language.writing import Bytes, Spelling
from modelworks.ext.formats.language import TOKENIZER

_REMEMBERED: Final = 16
LONGEST_READ: Final = 1 << 20
"""Characters of a text that a process is asked to read: a message holds them, and its stack."""


class Texts(Protocol):
    """How one model's texts are read and spelled.

    Attributes:
        distant: another process is asked, and waited for.
    """

    distant: bool

    def read(self, text: str) -> list[int]:
        """A text as tokens.

        Raises:
            InvalidError: no text of that length fits the context.
        """
        ...

    def spelling(self) -> Spelling:
        """Of a new answer."""
        ...


class Here:
    """By the folder's tokenizer.

    Args:
        folder: of the model.
        begin: token that a text begins with; -1 = none.
        context: of the model.

    Raises:
        InvalidError: the file is no tokenizer.
    """

    distant = False

    def __init__(self, folder: Path, begin: int, context: int) -> None:
        from modelworks.ext.engines.language.tokens import (  # noqa: PLC0415 - not all have it
            OfTokenizer,
        )

        self._tokenizer = OfTokenizer(folder / TOKENIZER)
        self._begin = begin
        self._context = context
        # A token stands for no more characters than its name has; normalizing may take some away,
        # so it is four times as many.
        self._longest = 4 * context * self._tokenizer.widest + 1024

    def read(self, text: str) -> list[int]:
        """See `Texts.read`."""
        refuse_longer(text, self._longest, self._context)
        return once(self._tokenizer.read(text), self._begin)

    def spelling(self) -> Spelling:
        """See `Texts.spelling`."""
        return self._tokenizer.spelling()


class There:
    """By the model's process. What it read last is remembered: who counts a text generates next.

    Args:
        ask: it, for the tokens of a text.
        widest: characters that one token stands for at most.
        context: of the model.
    """

    distant = True

    def __init__(self, ask: Callable[[str], list[int]], widest: int, context: int) -> None:
        self._ask = ask
        self._context = context
        self._longest = min(4 * context * widest + 1024, LONGEST_READ)
        self._lock = threading.Lock()
        self._read: OrderedDict[str, list[int]] = OrderedDict()

    def read(self, text: str) -> list[int]:
        """See `Texts.read`."""
        refuse_longer(text, self._longest, self._context)
        with self._lock:
            found = self._read.get(text)
        if found is None:
            found = self._ask(text)
            with self._lock:
                self._read[text] = found
                if len(self._read) > _REMEMBERED:
                    self._read.popitem(last=False)
        return list(found)

    def spelling(self) -> Spelling:
        """See `Texts.spelling`."""
        return Bytes()


def once(tokens: list[int], begin: int) -> list[int]:
    """The token that begins a text stands there once: chat templates write it too."""
    if len(tokens) > 1 and tokens[0] == tokens[1] == begin:
        del tokens[0]
    return tokens


def refuse_longer(text: str, most: int, context: int) -> None:
    """Refuse a text unread: parting a long word into tokens takes far longer than its length.

    Raises:
        InvalidError: no text of that length fits the context.
    """
    if len(text) > most:
        raise InvalidError(
            f"the prompt has {len(text)} characters, and this model with its context of {context} "
            f"tokens never takes more than {most}",
            field="prompt",
        )


def fitting(tokens: Sequence[int], context: int) -> None:
    """Refuse a prompt that nothing can follow.

    Raises:
        InvalidError: it is empty, or leaves no room for an answer.
    """
    if not tokens:
        raise InvalidError("the prompt is empty", field="prompt")
    if len(tokens) >= context:
        raise InvalidError(
            f"the prompt has {len(tokens)} tokens and the model's context {context}: "
            "there is no room for an answer",
            field="prompt",
        )


def texts_of(inputs: Tensors) -> list[str]:
    """The rows of `text_input`.

    Raises:
        InvalidError: it is missing, no BYTES of one axis, or no UTF-8.
    """
    if set(inputs) != {"text_input"}:
        wrong = next(iter(set(inputs) ^ {"text_input"}))
        raise InvalidError("the model takes one input, text_input", field=wrong)
    array: Any = np.asarray(inputs["text_input"])
    if array.dtype != object or array.ndim != 1:
        raise InvalidError("text_input: BYTES of one axis are wanted", field="text_input")
    try:
        return [bytes(value).decode() for value in array.tolist()]
    except (UnicodeDecodeError, TypeError) as error:
        raise InvalidError("text_input: texts in UTF-8 are wanted", field="text_input") from error
