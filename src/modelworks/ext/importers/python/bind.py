"""A Python folder's `load` and `predict` as a function of named tensors."""

import inspect
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.generation import Prompt, Sampling
from modelworks.core.tensor import Signature, Tensors
from modelworks.ext.importers.python.yielding import Yielding
from modelworks.ext.importers.usercode import failure, module_of, told

TEXT_INPUT: Final = "text_input"
TEXT_OUTPUT: Final = "text_output"
_PREDICTED: Final = Sampling(max_tokens=16, temperature=0.0)
_KINDS = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


def bind(folder: Path, signature: Signature) -> "Bound":
    """The model of a folder as a function of named tensors.

    Args:
        folder: with `model.py`.
        signature: names its outputs; without any, whatever `predict` gives is named by its place.

    Raises:
        InvalidError: `model.py` lacks a function, or `load` failed: one line, with file and line.
    """
    module = module_of(folder, "model")
    predict, generate = getattr(module, "predict", None), getattr(module, "generate", None)
    if not callable(predict) and not callable(generate):
        raise InvalidError("model.py has no function predict(model, inputs)")
    for function, most, wanted in (
        (predict, 2, "predict of model.py takes {} arguments: (model, inputs) is wanted"),
        (generate, 3, "generate of model.py takes {} arguments: (model, text, sampling) is wanted"),
    ):
        takes = _arguments(function) if callable(function) else 1
        if not 1 <= takes <= most:
            raise InvalidError(wanted.format(takes))
    return Bound(folder, _loaded(module, folder), predict, generate, signature)


class Bound:
    """A folder's model as a function of named tensors.

    Args:
        folder: of its code.
        loaded: what `load` gave.
        predict: the owner's function; None = texts are predicted by `generate`.
        generate: the same; None = it does not generate.
        signature: of the model.

    Attributes:
        generating: fulfils `core.seams.Generating`; None = it does not generate.
    """

    def __init__(
        self, folder: Path, loaded: Any, predict: Any, generate: Any, signature: Signature
    ) -> None:
        self._folder = folder
        self._loaded = loaded
        self._predict = predict
        self._generate = generate
        self._takes = _arguments(predict if callable(predict) else generate)
        self._names = [spec.name for spec in signature.outputs]
        self._lock = threading.Lock()
        self.generating: Yielding | None = None
        if callable(generate):
            self.generating = Yielding(self._begin, self._lock, folder)

    def __call__(self, inputs: Tensors) -> Tensors:
        """Run once."""
        try:
            with self._lock:
                return named(self._answer(dict(inputs)), self._names)
        except MemoryError:
            raise
        except Exception as error:
            raise failure(error, self._folder) from error

    def _answer(self, given: dict[str, Any]) -> Any:
        if callable(self._predict):
            return self._predict(self._loaded, given) if self._takes == 2 else self._predict(given)
        texts = next(iter(given.values()))
        made = np.empty(len(texts), dtype=object)
        for row, text in enumerate(texts.ravel().tolist()):
            pieces = self._begin(Prompt(bytes(text).decode(errors="replace")), _PREDICTED)
            made[row] = "".join(islice(pieces, _PREDICTED.max_tokens)).encode()
        return {self._names[0] if self._names else TEXT_OUTPUT: made}

    def _begin(self, prompt: Prompt, sampling: Sampling) -> Iterator[Any]:
        takes = _arguments(self._generate)
        given = (self._loaded, prompt.text, sampling)
        found: Iterator[Any] = self._generate(*(given if takes == 3 else given[2 - takes : 2]))
        return found


def _loaded(module: Any, folder: Path) -> Any:
    load = getattr(module, "load", None)
    if load is None:
        return None
    if not callable(load):
        raise InvalidError("load of model.py is no function")
    try:
        return load(folder) if _arguments(load) else load()
    except MemoryError:
        raise
    except Exception as error:
        raise InvalidError(f"load() of model.py failed: {told(error, folder)}") from error


def _arguments(function: Callable[..., Any]) -> int:
    """How many values it wants by position."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    return sum(p.kind in _KINDS and p.default is p.empty for p in found)


def named(answer: Any, names: list[str]) -> dict[str, Any]:
    """What `predict` returned, as arrays by name.

    A dictionary has names already; a tuple of arrays has those of the signature, in
    order; one array is the only output.
    """
    if hasattr(answer, "keys"):
        return {str(name): answer[name] for name in answer}
    if isinstance(answer, tuple):
        names = names or [f"output_{place}" for place in range(len(answer))]
        return dict(zip(names, answer, strict=False))
    return {names[0] if names else "output": answer}
