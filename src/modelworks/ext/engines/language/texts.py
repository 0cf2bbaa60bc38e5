"""Texts as tokens, by `tokenizers`, as the model's own file says."""

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Tensors
from modelworks.ext.formats.genai import TOKENIZER, Facts


def opened(folder: Path) -> Any:
    """The tokenizer of a folder, which neither cuts nor fills up.

    Raises:
        InvalidError: the file is none.
    """
    try:
        found = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # the library raises bare ones
        raise InvalidError(
            f"{TOKENIZER} is no tokenizer: {' '.join(str(error).split())[:200]}", field="file"
        ) from error
    found.no_truncation()
    found.no_padding()
    return found


def longest_of(tokenizer: Any, context: int) -> int:
    """Characters beyond which no text fits the context, whatever it says.

    A token stands for no more characters than its name has; normalizing may take some away, so it
    is four times as many.
    """
    names = tokenizer.get_vocab(with_added_tokens=True)
    return 4 * context * max(map(len, names), default=1) + 1024


def refuse_longer(text: str, most: int, context: int) -> None:
    """Refuse a text unread: parting a long word into tokens takes far longer than its length.

    Raises:
        InvalidError: no text of that length fits the context.
    """
    if len(text) > most:
        raise InvalidError(
            f"the prompt has {len(text)} characters, and the model's context of {context} tokens "
            f"never takes more than {most}",
            field="prompt",
        )


def encoded(tokenizer: Any, text: str, begin: int) -> list[int]:
    """A text as tokens; the token that begins one stands there once."""
    found = list(tokenizer.encode(text).ids)
    if len(found) > 1 and found[0] == found[1] == begin:
        del found[0]  # chat templates write it too
    return found


def tokens_of(tokenizer: Any, text: str, facts: Facts) -> list[int]:
    """A prompt as tokens.

    Raises:
        InvalidError: it is empty, or leaves no room for an answer.
    """
    tokens = encoded(tokenizer, text, facts.begin)
    if not tokens:
        raise InvalidError("the prompt is empty", field="prompt")
    if len(tokens) >= facts.context:
        raise InvalidError(
            f"the prompt has {len(tokens)} tokens and the model's context {facts.context}: "
            "there is no room for an answer",
            field="prompt",
        )
    return tokens


def texts_of(inputs: Tensors) -> list[str]:
    """The rows of `text_input`.

    Raises:
        InvalidError: it is missing, no BYTES of one axis, or no UTF-8.
    """
    if set(inputs) != {"text_input"}:
        wrong = next(iter(set(inputs) ^ {"text_input"}))
        raise InvalidError("the model takes one input, text_input", field=wrong)
    array = np.asarray(inputs["text_input"])
    if array.dtype != object or array.ndim != 1:
        raise InvalidError("text_input: BYTES of one axis are wanted", field="text_input")
    try:
        return [bytes(value).decode() for value in array.tolist()]
    except (UnicodeDecodeError, TypeError) as error:
        raise InvalidError("text_input: texts in UTF-8 are wanted", field="text_input") from error
