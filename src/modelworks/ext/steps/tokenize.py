"""The step `tokenize`: texts to token ids by Hugging Face's `tokenizers`, as its own file says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from modelworks.core.errors import InvalidError, MissingExtraError
from modelworks.core.steps import InputSteps, Padding, Side, Tokenize
from modelworks.core.tensor import Datatype, Signature, Tensors
from modelworks.protocol.tensors import DTYPES

try:
    from tokenizers import Tokenizer
except ModuleNotFoundError as error:
    raise MissingExtraError("the step 'tokenize'", "text", str(error.name)) from error


class TokenizeStep:
    """Opens tokenizers."""

    name: ClassVar[str] = "tokenize"
    extra: ClassVar[str] = "text"
    experimental: ClassVar[bool] = False

    def open(self, item: InputSteps, model: Signature, folder: Path) -> "OpenTokenizer":
        """Read the tokenizer's file; see `core.seams.StepRunner.open`."""
        if item.tokenize is None:
            raise InvalidError(f"'{item.name}' has nothing to tokenize", field="steps")
        tokenizer = _tokenizer(folder / item.tokenize.tokenizer, item.tokenize)
        kinds = {spec.name: spec.datatype for spec in model.inputs}
        return OpenTokenizer(tokenizer, item.name, item.tokenize, kinds[item.tokenize.ids])


def _tokenizer(file: Path, step: Tokenize) -> Tokenizer:
    if not file.is_file():
        raise InvalidError(f"the tokenizer's file {file.name} is missing", field="steps")
    try:
        tokenizer = Tokenizer.from_str(file.read_text())
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if step.truncation:
            tokenizer.enable_truncation(step.max_length, direction=step.cut.value)
        tokenizer.encode_batch_fast(["a"])
    except BaseException as error:
        raise InvalidError(
            f"{file.name} is no tokenizer that can be read: {_why(error)}", field="steps"
        ) from error
    return tokenizer


def _why(error: BaseException) -> str:
    """What the library complained of. A panic of its Rust code is no `Exception`, and ours too.

    Raises:
        BaseException: anything else, that is none of ours.
    """
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    return " ".join(str(error).split())[:200]


class OpenTokenizer:
    """One model's tokenizer; see `core.seams.OpenStep`."""

    def __init__(self, tokenizer: Tokenizer, name: str, step: Tokenize, datatype: Datatype) -> None:
        self.outputs = tuple(n for n in (step.ids, step.mask, step.types) if n)
        self._tokenizer = tokenizer
        self._name = name
        self._step = step
        self._dtype = DTYPES[datatype]

    def run(self, inputs: Tensors) -> Tensors:
        """Texts of all rows to ids, mask and types; see `core.seams.OpenStep.run`."""
        step = self._step
        texts: list[Any] = self._texts(inputs[self._name], self._name)
        if step.pair:
            second = self._texts(inputs[step.pair], step.pair)
            texts = list(zip(texts, second, strict=True))
        try:
            found = self._tokenizer.encode_batch_fast(texts)
        except BaseException as error:
            raise InvalidError(
                f"'{self._name}' cannot be tokenized: {_why(error)}", field=self._name
            ) from error
        return self._filled(found)

    def count_texts(self, texts: Sequence[str]) -> int:
        """See `core.seams.Counting`."""
        return sum(map(len, self._tokenizer.encode_batch_fast(list(texts))))

    def _texts(self, array: Any, name: str) -> list[str]:
        texts = []
        for row, item in enumerate(array.reshape(-1).tolist()):
            where = f"rows[{row}].{name}"
            try:
                text = item.decode()
            except UnicodeDecodeError as error:
                raise InvalidError(
                    f"{where}: the text is no UTF-8: {error}", field=where
                ) from error
            if len(text) > self._step.max_characters:
                raise InvalidError(
                    f"{where}: {len(text)} characters, at most {self._step.max_characters} are "
                    "taken (tokenize.max_characters)",
                    field=where,
                )
            texts.append(text)
        return texts

    def _filled(self, found: Sequence[Any]) -> dict[str, Any]:
        """The ids of all rows as matrices of one length."""
        step = self._step
        lengths = [len(encoding) for encoding in found]
        longest = max(lengths, default=0)
        if longest > step.max_length:
            row = lengths.index(longest)
            where = f"rows[{row}].{self._name}"
            raise InvalidError(
                f"{where}: {longest} tokens, at most {step.max_length} are taken "
                "(tokenize.max_length)",
                field=where,
            )
        width = step.max_length if step.padding is Padding.MAX_LENGTH else max(longest, 1)
        width = min(-(-width // step.multiple) * step.multiple, max(step.max_length, width))
        ids = np.full((len(found), width), step.pad_id, self._dtype)
        mask = np.zeros((len(found), width), self._dtype)
        types = np.full((len(found), width), step.pad_type, self._dtype)
        for row, encoding in enumerate(found):
            size = lengths[row]
            place = slice(width - size, width) if step.side is Side.LEFT else slice(size)
            ids[row, place] = encoding.ids
            mask[row, place] = 1
            types[row, place] = encoding.type_ids
        made = {step.ids: ids, step.mask: mask, step.types: types}
        return {name: array for name, array in made.items() if name}
