"""A `tokenizer.json`, by the library `tokenizers`."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from modelworks.core.errors import InvalidError


class OfTokenizer:
    """One, which neither cuts nor fills up.

    Args:
        file: that holds it.

    Attributes:
        widest: characters of its longest token.

    Raises:
        InvalidError: the file is none.
    """

    def __init__(self, file: Path) -> None:
        try:
            found = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare ones
            said = " ".join(str(error).split())[:200]
            raise InvalidError(f"{file.name} is no tokenizer: {said}", field="file") from error
        found.no_truncation()
        found.no_padding()
        self._tokenizer = found
        self.widest = max(map(len, found.get_vocab(with_added_tokens=True)), default=1)

    def read(self, text: str) -> list[int]:
        """A text as tokens, special ones included."""
        whole = text.encode("utf-8", "replace").decode()  # half a character has no tokens
        return list(self._tokenizer.encode(whole).ids)

    def spelling(self) -> "Tokens":
        """Of a new answer."""
        return Tokens(self._tokenizer)


class Tokens:
    """Tokens as the tokenizer's decoder spells them; see `writing.Spelling`.

    Args:
        tokenizer: of the library's.
    """

    __slots__ = ("_stream", "_tokenizer")

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def next(self, token: int) -> str:
        """See `Spelling.next`."""
        try:
            text = self._stream.step(self._tokenizer, token)
        except Exception:  # noqa: BLE001 - the library raises bare ones
            # Bytes that are no UTF-8 made other text of what was sent: go on behind them. A token
            # that is none fails again.
            self._stream = DecodeStream(skip_special_tokens=True)
            text = self._stream.step(self._tokenizer, token)
        return text or ""
