"""A language model in this very process: in the sandbox at its import, where none can be begun."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from modelworks.core.errors import UNLOADED, CrashedError, UnavailableError
from modelworks.core.generation import Finish, Sampling
from modelworks.core.tensor import Tensors
from modelworks.ext.engines.language.opened import Opened, Wish, opened
from modelworks.ext.engines.language.texts import Here, Texts, There, fitting, texts_of
from modelworks.ext.engines.language.writing import Writing
from modelworks.ext.formats.language import SIGNATURE

_TOKENS: Final = 16  # of an answer: it is to be the same twice, not to be read


class InsideSession:
    """Answers rows one after the other.

    Args:
        by: name of the engine.
        folder: of the model.
        begin: token that a text begins with; None = the engine reads texts itself.
        threads: of one step.
    """

    apart = True

    def __init__(self, by: str, folder: Path, begin: int | None, threads: int) -> None:
        self.signature = SIGNATURE
        made = opened(by, Wish(folder, threads, slots=1, kept=0, check=True))
        self._made: Opened | None = made
        self._texts: Texts
        if made.read is not None:
            self._texts = There(made.read, made.widest, made.context)
        else:
            self._texts = Here(folder, -1 if begin is None else begin, made.context)

    def infer(self, inputs: Tensors) -> Sequence[object]:
        """See `core.seams.Session.infer`."""
        texts = texts_of(inputs)
        found = np.empty(len(texts), dtype=object)
        found[:] = [self._whole(text).encode() for text in texts]
        return [found]

    def _whole(self, text: str) -> str:
        made = self._made
        if made is None:
            raise UnavailableError(UNLOADED)
        tokens = self._texts.read(text)
        fitting(tokens, made.context)
        writing = Writing(self._texts.spelling(), ())
        generations = made.generations
        generations.enter(1, tokens, "", Sampling(max_tokens=_TOKENS, temperature=0.0))
        parts = []
        while generations.busy:
            for _, token, finish, _, why in generations.step():
                if token >= 0:
                    parts.append(writing.add(made.spelled(token)))
                if finish == Finish.ERROR:
                    raise CrashedError(f"the model failed: {why}")
        return "".join([*parts, writing.rest()])

    def close(self) -> None:
        """Give the memory back. Twice is quiet."""
        self._made = None
