"""Boosted models kept as they are: what XGBoost and LightGBM share on the way to `native.json`."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.native import NATIVE, NativeModel, write_native
from modelworks.core.scans import Scan
from modelworks.core.tensor import Datatype, Layout, Role, Signature, Tensors, TensorSpec
from modelworks.ext.importers import samples

_MATRIX = "input"


@dataclass(frozen=True, slots=True)
class Boosted:
    """A model of either library.

    Attributes:
        library: loader and library name.
        width: columns that it takes.
        names: of them; empty = it knows none.
        classes: labels in the order of the probabilities; empty = it gives scores.
        real: datatype of numbers, in and out.
        values: rows -> probabilities [rows, classes] or [rows] of the second of two, or scores.
        scan: of the file, where reading it could run code.
        versions: of the libraries.
    """

    library: str
    width: int
    names: tuple[str, ...]
    classes: tuple[Any, ...]
    real: Datatype
    values: Callable[[Any], Any]
    scan: Scan | None
    versions: dict[str, str]


def labels(wrapper: Any, count: int) -> tuple[Any, ...]:
    """Classes in the order of the probabilities: the wrapper's, or the numbers from 0.

    Args:
        wrapper: fitted; None where there is only the booster.
        count: of classes, as the booster tells it; less than 2 for two.
    """
    known = getattr(wrapper, "classes_", None)
    items = np.asarray(known).tolist() if known is not None else list(range(max(2, count)))
    whole = all(isinstance(item, int | float) and float(item).is_integer() for item in items)
    return tuple(int(item) if whole else str(item) for item in items)


def keep(
    path: Path, into: Path, options: ImportOptions, source_format: str, model: Boosted
) -> Imported:
    """Copy the file into the artifact and describe it; errors as in `core.seams.Importer.read`."""
    sample = samples.read(options.sample) if options.sample else None
    layout = options.layout or Layout.MATRIX
    if layout is Layout.TENSORS:
        raise InvalidError("a table is taken as matrix or as columns", field="layout")
    names = model.names or tuple(f"x{i}" for i in range(model.width))
    if layout is Layout.MATRIX:
        inputs: tuple[TensorSpec, ...] = (TensorSpec(_MATRIX, model.real, (None, model.width)),)
        features = model.names
    else:
        inputs = tuple(TensorSpec(name, model.real, (None, 1)) for name in names)
        features = names
    bare = Signature(inputs, (), layout, features, model.classes)
    signature = Signature(inputs, _outputs(model, bare), layout, features, model.classes)
    shutil.copyfile(path, into / path.name)
    settings = {"format": source_format}
    write_native(into, NativeModel(model.library, path.name, signature, (), settings))
    return Imported(
        format=NATIVE,
        source_format=source_format,
        signature=signature,
        predict=predictor(model, signature),
        environment={**model.versions, "numpy": np.__version__},
        notes=(f"served by {model.library} itself, as it is",),
        sample=samples.tensors(sample, signature) if sample else None,
        scan=model.scan,
        wide_inputs=model.real is Datatype.FP64,
    )


def _outputs(model: Boosted, bare: Signature) -> tuple[TensorSpec, ...]:
    if not model.classes:
        answer = predictor(model, bare)
        zeros = {spec.name: np.zeros((2, spec.shape[1] or 1), np.float64) for spec in bare.inputs}
        columns = answer(zeros)["score"].shape[1]
        return (TensorSpec("score", model.real, (None, columns), Role.SCORE),)
    labels = Datatype.BYTES if isinstance(model.classes[0], str) else Datatype.INT64
    return (
        TensorSpec("label", labels, (None,), Role.LABEL),
        TensorSpec("probabilities", model.real, (None, len(model.classes)), Role.PROBABILITIES),
    )


def predictor(model: Boosted, signature: Signature) -> Callable[[Tensors], Tensors]:
    """The model behind its signature."""
    kind = np.float64 if model.real is Datatype.FP64 else np.float32
    classes = signature.classes
    labels = np.array(
        [item.encode() if isinstance(item, str) else item for item in classes],
        object if any(isinstance(item, str) for item in classes) else np.int64,
    )

    def predict(inputs: Tensors) -> Tensors:
        columns = [np.asarray(inputs[spec.name], kind) for spec in signature.inputs]
        rows = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
        values = np.asarray(model.values(rows), kind)
        if not classes:
            return {"score": values.reshape(len(rows), -1)}
        if values.ndim == 1:
            values = np.stack([1 - values, values], axis=1)
        return {"label": labels[values.argmax(axis=1)], "probabilities": values}

    return predict
