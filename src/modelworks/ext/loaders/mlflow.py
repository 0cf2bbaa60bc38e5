"""Runs a custom model of MLflow by MLflow itself: frames and arrays in, tensors out."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.native import NativeModel
from modelworks.core.tensor import Layout, Tensors

_OUTPUT = "predictions"
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}


class MlflowLoader:
    """Calls `predict` of what `mlflow.pyfunc.load_model` gives."""

    name: ClassVar[str] = "mlflow"
    extra: ClassVar[str] = ""  # MLflow comes with the model's own requirements
    experimental: ClassVar[bool] = False

    def load(self, folder: Path, model: NativeModel) -> Callable[[Tensors], Tensors]:
        """As `core.seams.Loader.load`.

        Raises:
            InvalidError: MLflow is not in this environment, or cannot load it.
        """
        os.environ.update(_QUIET)  # before MLflow is imported; this process is the model's own
        try:
            from mlflow import pyfunc  # noqa: PLC0415 - of the model's own environment
        except ModuleNotFoundError as error:
            raise InvalidError(
                f"the environment of this model lacks {error.name}: its requirements must name "
                "mlflow and what it needs"
            ) from error
        try:
            loaded = pyfunc.load_model(str(folder / model.source), suppress_warnings=True)
        except Exception as error:
            raise InvalidError(f"MLflow cannot load the model: {_short(error)}") from error

        def answer(inputs: Tensors) -> Tensors:
            given = _given(inputs, model)
            try:
                found = loaded.predict(given)
            except Exception as error:
                raise InvalidError(f"the model refuses these rows: {_short(error)}") from error
            return tensors(found)

        return answer


def _given(inputs: Tensors, model: NativeModel) -> Any:
    """What `predict` takes: a frame, an array, or arrays by name."""
    if model.settings.get("feed") == "frame":
        return _frame(inputs, model)
    specs = model.signature.inputs
    if len(specs) == 1:
        return inputs[specs[0].name]
    return {spec.name: inputs[spec.name] for spec in specs}


def _frame(inputs: Tensors, model: NativeModel) -> Any:
    import pandas as pd  # noqa: PLC0415 - MLflow brings it

    signature = model.signature
    if signature.layout is Layout.MATRIX:
        matrix = inputs[signature.inputs[0].name]
        parts = {name: matrix[:, at] for at, name in enumerate(signature.features)}
    else:
        parts = {spec.name: np.asarray(inputs[spec.name])[:, 0] for spec in signature.inputs}
    kinds = json.loads(model.settings["kinds"])
    series = {}
    for name, values in parts.items():
        kind, required = kinds[name]
        if required or not _left_out(values):
            series[name] = _series(values, kind, pd)
    frame = pd.DataFrame(series)
    if model.settings.get("unnamed"):
        frame.columns = pd.RangeIndex(len(frame.columns))
    return frame


def _left_out(values: Any) -> bool:
    if values.dtype == object:
        return not any(values)
    return bool(values.dtype.kind == "f" and np.isnan(values).all())


def _series(values: Any, kind: str, pd: Any) -> Any:
    """A column in the dtype that MLflow wants to see."""
    plain = {"boolean": bool, "integer": np.int32, "long": np.int64}
    if kind in plain:
        missing = values.dtype.kind == "f" and np.isnan(values).any()
        return pd.Series(values if missing else values.astype(plain[kind]))
    if kind == "binary":
        return pd.Series(list(values), dtype=object)
    if values.dtype != object:
        return pd.Series(values)
    texts = [value.decode() if isinstance(value, bytes) else value for value in values]
    if kind == "datetime":
        return pd.to_datetime(pd.Series(texts))
    if kind == "json":
        texts = [json.loads(text) for text in texts]
    return pd.Series(texts, dtype=object)


def tensors(found: Any) -> dict[str, Any]:
    """What a model answers, as tensors: frames by column, arrays as they are, the rest as JSON.

    Args:
        found: frame, series, array, sparse matrix, list, or a dictionary of them.

    Returns:
        Name -> array of a datatype that is served; one answer is called `predictions`.
    """
    if hasattr(found, "toarray"):
        found = found.toarray()
    if hasattr(found, "columns") and hasattr(found, "to_numpy"):
        return {str(name): _array(found[name].to_numpy()) for name in found.columns}
    if isinstance(found, dict) and found and all(_plural(value) for value in found.values()):
        return {str(name): _array(value) for name, value in found.items()}
    return {_OUTPUT: _array(found)}


def _plural(value: Any) -> bool:
    return isinstance(value, list | np.ndarray) or hasattr(value, "to_numpy")


def _array(found: Any) -> Any:
    if hasattr(found, "detach"):
        found = found.detach().cpu()
    if hasattr(found, "to_numpy"):
        found = found.to_numpy()
    if isinstance(found, list) and any(isinstance(each, dict | list) for each in found):
        array = _numbers(found)
        return (
            array if array is not None else _texts([_text(each) for each in found], (len(found),))
        )
    if isinstance(found, dict | str | bytes) or found is None:
        return _texts([_text(found)], (1,))
    array = np.asarray(found)
    if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
        return array
    if array.dtype.kind == "M":
        array = np.datetime_as_string(array)
    return _texts([_text(each) for each in array.ravel().tolist()], array.shape)


def _numbers(found: list[Any]) -> Any:
    """A list of lists of numbers as an array; None where it is none."""
    try:
        array = np.asarray(found)
    except ValueError:
        return None
    return array if array.dtype.kind in "biuf" else None


def _text(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value, default=str).encode()


def _texts(values: list[bytes], shape: tuple[int, ...]) -> Any:
    flat = np.empty(len(values), dtype=object)
    flat[:] = values
    return flat.reshape(shape)


def _short(error: BaseException) -> str:
    text = f"{type(error).__name__}: {' '.join(str(error)[:2000].split())}"
    return text if len(text) <= 300 else text[:297] + "..."
