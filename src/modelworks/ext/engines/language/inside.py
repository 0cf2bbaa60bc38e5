"""A language model in this very process: in the sandbox at its import, where none can be begun."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from modelworks.core.errors import UNLOADED, CrashedError, InvalidError, UnavailableError
from modelworks.core.generation import Finish, Sampling
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Tensors
from modelworks.ext.engines.agreement import agree
from modelworks.ext.engines.language.computing import Computing
from modelworks.ext.engines.language.template import Template
from modelworks.ext.engines.language.texts import opened, texts_of, tokens_of
from modelworks.ext.engines.language.turns import Turns
from modelworks.ext.engines.language.writing import Writing
from modelworks.ext.formats import genai

_TOKENS: Final = 16  # of an answer: it is to be the same twice, not to be read


class InsideSession:
    """Answers rows one after the other."""

    apart = True

    def __init__(self, folder: Path, threads: int) -> None:
        self.signature = genai.SIGNATURE
        self._facts = genai.read(folder)
        Template(self._facts.template, self._facts.marks)
        self._tokenizer = opened(folder)
        decoder = Computing(folder, self._facts, threads)
        for adapter in self._facts.adapters:
            decoder.add(decoder.state(16, adapter), [self._facts.ends[0]])
        self._turns: Turns | None = Turns(decoder, self._facts, 1, 0)

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """See `core.seams.Session.infer`."""
        texts = texts_of(inputs)
        found = np.empty(len(texts), dtype=object)
        found[:] = [self._whole(text).encode() for text in texts]
        return [found]

    def _whole(self, text: str) -> str:
        turns = self._turns
        if turns is None:
            raise UnavailableError(UNLOADED)
        tokens = tokens_of(self._tokenizer, text, self._facts)
        writing = Writing(self._tokenizer, ())
        turns.enter(1, tokens, "", Sampling(max_tokens=_TOKENS, temperature=0.0))
        parts = []
        while turns.busy:
            for _, token, finish, _, why in turns.step():
                if token >= 0:
                    parts.append(writing.add(token))
                if finish == Finish.ERROR:
                    raise CrashedError(f"the model failed: {why}")
        return "".join([*parts, writing.rest()])

    def close(self) -> None:
        """Give the memory back. Twice is quiet."""
        self._turns = None


class InsideEngine:
    """The engine for it."""

    name: ClassVar[str] = "genai"
    formats: ClassVar[tuple[str, ...]] = ("genai",)
    experimental: ClassVar[bool] = True

    def load(self, path: Path, options: EngineOptions) -> InsideSession:
        """See `core.seams.Engine.load`."""
        if not Path(path).is_dir():
            raise InvalidError(f"no folder of a language model at {path}", field="path")
        if options.signature is not None:
            agree(options.signature, genai.SIGNATURE, "a language model", shapes=True)
        return InsideSession(Path(path), options.threads)
