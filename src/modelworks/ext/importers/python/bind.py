"""A Python folder's `load` and `predict` as a function of named tensors."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Signature, Tensors
from modelworks.ext.importers.usercode import failure, module_of, told

_KINDS = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


def bind(folder: Path, signature: Signature) -> Callable[[Tensors], Tensors]:
    """The model of a folder as a function of named tensors.

    Args:
        folder: with `model.py`.
        signature: names its outputs; without any, whatever `predict` gives is named by its place.

    Raises:
        InvalidError: `model.py` lacks a function, or `load` failed: one line, with file and line.
    """
    module = module_of(folder, "model")
    predict = getattr(module, "predict", None)
    if not callable(predict):
        raise InvalidError("model.py has no function predict(model, inputs)")
    takes = _arguments(predict)
    if not 1 <= takes <= 2:
        raise InvalidError(
            f"predict of model.py takes {takes} arguments: (model, inputs) is wanted"
        )
    loaded = _loaded(module, folder)
    names = [spec.name for spec in signature.outputs]

    def call(inputs: Tensors) -> Tensors:
        try:
            given = dict(inputs)
            answer = predict(loaded, given) if takes == 2 else predict(given)
        except MemoryError:
            raise
        except Exception as error:
            raise failure(error, folder) from error
        return named(answer, names)

    return call


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
