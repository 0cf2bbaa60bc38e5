"""A custom model (`mlflow.pyfunc`): Python code, kept as it is and run by MLflow itself."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.imports import Imported, ImportOptions, Runtime
from modelworks.core.native import NATIVE, NativeModel, write_native
from modelworks.core.seams import Loader
from modelworks.core.tensor import Datatype, Layout, Role, Signature, Tensors, TensorSpec
from modelworks.ext.formats.mlmodel import Column, MlModel
from modelworks.ext.importers import samples
from modelworks.ext.importers.mlflow import example
from modelworks.ext.importers.mlflow.flavors import format_of
from modelworks.ext.importers.mlflow.requirements import logged, needed
from modelworks.plugins import load as plugins

_FLOATS = {Datatype.FP16, Datatype.FP32, Datatype.FP64}
_WHOLE = {Datatype.INT32, Datatype.INT64, Datatype.BOOL}
_KINDS = {"b": "boolean", "i": "long", "u": "long", "f": "double"}
_SIZES = (2, 3)
_NUMPY = {
    Datatype.BOOL: np.bool_, Datatype.UINT8: np.uint8, Datatype.UINT16: np.uint16,
    Datatype.UINT32: np.uint32, Datatype.UINT64: np.uint64, Datatype.INT8: np.int8,
    Datatype.INT16: np.int16, Datatype.INT32: np.int32, Datatype.INT64: np.int64,
    Datatype.FP16: np.float16, Datatype.FP32: np.float32, Datatype.FP64: np.float64,
    Datatype.BYTES: np.object_,
}  # fmt: skip
_DATATYPES = {np.dtype(kind): datatype for datatype, kind in _NUMPY.items()}


def check(model: MlModel, options: ImportOptions) -> None:
    """Whether the owner wants it run.

    Raises:
        RefusedError: it runs code, and nobody vouched for it or asked for it to be kept.
    """
    if options.trust and options.runtime is Runtime.NATIVE:
        return
    settings = model.flavors.get("python_function", {})
    what = settings.get("python_model") or settings.get("model_code_path")
    kind = f"Python code ({Path(str(what)).name})" if what else str(settings.get("loader_module"))
    raise RefusedError(
        f"{model.folder.name}: a model that only MLflow can run: {kind[:120]}, which cannot be "
        "converted; --trust --runtime native keeps it as it is and serves it by MLflow in a "
        "process of its own, with the requirements that it was logged with",
        field="trust",
    )


def read(model: MlModel, into: Path, options: ImportOptions) -> Imported:
    """Copy the folder, run it on the sample, and say what it takes and gives.

    Raises:
        RefusedError: as `check`.
        InvalidError: no signature and no sample, or MLflow cannot load or run it.
    """
    check(model, options)
    if options.factory:
        raise InvalidError("--factory means nothing for a custom model of MLflow", field="factory")
    with tempfile.TemporaryDirectory() as folder:
        file = options.sample or example.write(model, Path(folder))
        sample = samples.read(file) if file else None
    taken, settings = _inputs(model, options, sample)
    shutil.copytree(model.folder, into / "model", copy_function=shutil.copyfile)
    native = NativeModel("mlflow", "model", taken, needed(model), settings)
    loader: Loader = plugins.load("loaders", "mlflow")()
    answer = loader.load(into, native)
    rows = samples.tensors(sample, taken) if sample else None
    outputs, notes = _outputs(answer, taken, rows)
    signature = replace(taken, outputs=outputs)
    write_native(into, replace(native, signature=signature))
    return Imported(
        format=NATIVE,
        source_format=format_of(model),
        signature=signature,
        predict=None,
        environment=_versions(logged(model)),
        notes=(*_notes(model, native), *notes),
        sample=rows,
        origin=model.origin,
    )


def _inputs(
    model: MlModel, options: ImportOptions, sample: samples.Sample | None
) -> tuple[Signature, dict[str, str]]:
    """Inputs by the logged signature, by --input, or as the sample has them."""
    columns = model.inputs.columns
    if model.inputs and options.inputs:
        raise InvalidError(
            "--input means nothing for this folder: its signature is in MLmodel; leave it out",
            field="inputs",
        )
    tensors = model.inputs.tensors or options.inputs
    if tensors:
        return _of_tensors(tensors, options.layout), {"feed": "array"}
    if not columns and sample is not None:
        columns = tuple(
            Column(name if sample.named else "", _KINDS.get(array.dtype.kind, "string"))
            for name, array in sample.columns.items()
        )
    if not columns:
        raise InvalidError(
            f"{model.folder.name}: MLmodel has neither a signature nor an example: log the model "
            "with signature=infer_signature(x, y), or give --sample FILE",
            field="sample",
        )
    kinds = {
        column.name or str(at): [column.kind, column.required] for at, column in enumerate(columns)
    }
    settings = {"feed": "frame", "kinds": json.dumps(kinds)}
    if not all(column.name for column in columns):
        settings["unnamed"] = "true"
    return _of_columns(columns, options.layout), settings


def _of_columns(columns: tuple[Column, ...], layout: Layout | None) -> Signature:
    """Numbers of one type are a matrix; anything else a tensor of `[rows, 1]` a column."""
    names = tuple(column.name or str(at) for at, column in enumerate(columns))
    kinds = {_datatype(column) for column in columns}
    even = len(kinds) == 1 and Datatype.BYTES not in kinds
    if layout is Layout.TENSORS or (layout is Layout.MATRIX and not even):
        raise InvalidError(f"columns of these types are no {layout}", field="layout")
    if even and layout is not Layout.COLUMNS:
        spec = TensorSpec("x", kinds.pop(), (None, len(columns)))
        return Signature((spec,), (), Layout.MATRIX, names)
    specs = (
        TensorSpec(name, _datatype(column), (None, 1))
        for name, column in zip(names, columns, strict=True)
    )
    return Signature(tuple(specs), (), Layout.COLUMNS, names)


def _datatype(column: Column) -> Datatype:
    """A whole number that may be left out travels as a real one: NaN says that it was."""
    if not column.required and column.datatype in _WHOLE:
        return Datatype.FP64
    return column.datatype


def _of_tensors(tensors: tuple[TensorSpec, ...], layout: Layout | None) -> Signature:
    only = tensors[0]
    matrix = len(tensors) == 1 and len(only.shape) == 2 and only.datatype in _FLOATS
    if layout is Layout.COLUMNS or (layout is Layout.MATRIX and not matrix):
        raise InvalidError("the model takes tensors, not columns", field="layout")
    return Signature(tensors, (), layout or (Layout.MATRIX if matrix else Layout.TENSORS))


def _outputs(
    answer: Callable[[Tensors], Tensors], taken: Signature, rows: Tensors | None
) -> tuple[tuple[TensorSpec, ...], list[str]]:
    """Run on two sizes: an axis that changes is dynamic."""
    first, last = (answer(_rows(taken, size, rows)) for size in _SIZES)
    again = answer(_rows(taken, _SIZES[0], rows))
    notes = []
    if rows is None:
        notes.append("The outputs were found with made-up rows: no example was logged.")
    if any(not _same(first[name], again.get(name)) for name in first):
        notes.append("The model does not give the same answer twice.")
    specs = []
    for name, array in first.items():
        other = np.shape(last[name]) if name in last else ()
        if len(other) != array.ndim:
            raise InvalidError(f"output {name} has another rank for another number of rows")
        shape = tuple(n if n == m else None for n, m in zip(array.shape, other, strict=True))
        score = shape in {(None, 1), (None,)} and array.dtype.kind == "f"
        role = Role.SCORE if score else Role.TENSOR
        specs.append(TensorSpec(name, _DATATYPES[array.dtype], shape, role))
    return tuple(specs), notes


def _rows(taken: Signature, size: int, given: Tensors | None) -> dict[str, Any]:
    """So many rows of the sample, over and over; zeros and `a` where there is none."""
    found: dict[str, Any] = {}
    for spec in taken.inputs:
        kind = _NUMPY[spec.datatype]
        if given is not None:
            array = np.asarray(given[spec.name])
            array = array[np.arange(size) % len(array)] if spec.shape[:1] == (None,) else array
        else:
            extents = [size if at == 0 else 1 for at in range(len(spec.shape))]
            shape = [m if n is None else n for n, m in zip(spec.shape, extents, strict=True)]
            array = np.full(shape, b"a" if spec.datatype is Datatype.BYTES else 0, kind)
        found[spec.name] = array.astype(kind)
    return found


def _same(one: Any, other: Any) -> bool:
    if other is None or np.shape(one) != np.shape(other):
        return False
    exact = bool(np.all(one == other))
    return exact or (one.dtype.kind == "f" and bool(np.allclose(one, other, equal_nan=True)))


def _notes(model: MlModel, native: NativeModel) -> list[str]:
    notes = ["Kept as it is: MLflow runs it, in a process of its own."]
    if native.requirements:
        notes.append(f"Its environment: {', '.join(native.requirements)[:300]}.")
    if model.params:
        held = ", ".join(f"{name}={default!r}" for name, default in model.params.items())
        notes.append(f"Inference parameters are held at their defaults: {held[:200]}.")
    optional = [column.name for column in model.inputs.columns if not column.required]
    if optional:
        notes.append(
            "Optional columns are left out where a request has null (numbers) or empty text in "
            f"every row: {', '.join(optional)[:200]}."
        )
    if model.more:
        notes.append(f"Not carried over from MLmodel: {', '.join(model.more)[:160]}.")
    return notes


def _versions(lines: tuple[str, ...]) -> dict[str, str]:
    """Name -> version of the pinned lines."""
    pairs = (line.partition("==") for line in lines if "==" in line)
    return {name.strip(): version.strip() for name, _, version in pairs}
