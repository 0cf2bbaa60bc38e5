"""Tries a Python folder in the sandbox and says what it takes and gives."""

import platform
import re
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.native import NATIVE, NativeModel, write_native
from modelworks.core.tensor import Datatype, Layout, Signature, Tensors, TensorSpec
from modelworks.evaluation.probes import generate, narrow
from modelworks.ext.importers import samples
from modelworks.ext.importers.python import declared
from modelworks.ext.importers.python.bind import TEXT_INPUT, bind
from modelworks.ext.importers.python.requirements import pinned_lines
from modelworks.ext.importers.usercode import module_of
from modelworks.sandbox.tensors import DTYPES

_LOOK = 5
_DATATYPES = {
    dtype: datatype
    for datatype, dtype in DTYPES.items()
    if datatype not in {Datatype.BF16, Datatype.BYTES}
}
_FLOATS = {Datatype.FP16, Datatype.FP32, Datatype.FP64}
_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".git", ".venv", "*.pyc")


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Copy the folder, load it, run it; errors as in `core.seams.Importer.read`."""
    lines = pinned_lines(path)
    said = declared.read(path)
    sample = samples.read(options.sample) if options.sample else None
    inputs, layout, features, notes = _inputs(path, said, options, sample)
    taken = Signature(inputs, (), layout, features)
    rows = samples.tensors(sample, taken) if sample else None
    look = rows or generate(taken, {}, options.seed, _LOOK)[0].inputs
    look = narrow({name: array[:_LOOK] for name, array in look.items()}, taken)
    predict = bind(path.resolve(), Signature((), said.outputs))
    outputs = said.outputs or _outputs(predict, look, taken)
    signature = Signature(inputs, outputs, layout, features, said.classes)
    shutil.copytree(path, into / "model", ignore=_LEFT_OUT)
    write_native(into, NativeModel("python", "model", signature, lines, said.settings))
    return Imported(
        format=NATIVE,
        source_format="python-folder",
        signature=signature,
        predict=None,
        environment=_environment(lines),
        notes=("served by its own code, as it is", *notes),
        sample=rows,
    )


def _inputs(
    path: Path, said: declared.Declared, options: ImportOptions, sample: samples.Sample | None
) -> tuple[tuple[TensorSpec, ...], Layout, tuple[str, ...], tuple[str, ...]]:
    """Inputs, layout, features and notes: from `signature.json`, else --input, else the sample.

    Raises:
        InvalidError: nobody says it, or two do.
    """
    if said.inputs and options.inputs:
        raise InvalidError(
            f"--input means nothing for {path.name}: its signature.json has the inputs; leave it "
            "out",
            field="inputs",
        )
    given = said.inputs or options.inputs
    if given:
        return given, said.layout, said.features, ()
    if sample is not None:
        return _sampled(sample)
    if callable(getattr(module_of(path.resolve(), "model"), "generate", None)):
        text = TensorSpec(TEXT_INPUT, Datatype.BYTES, (None,))
        return (text,), Layout.TENSORS, (), ("it generates: one text goes in",)
    raise InvalidError(
        f"{path.name}: nothing says what goes in: a signature.json in the folder, --input "
        "x:FP32[-1,3], or --sample FILE",
        field="inputs",
    )


def _sampled(
    sample: samples.Sample,
) -> tuple[tuple[TensorSpec, ...], Layout, tuple[str, ...], tuple[str, ...]]:
    columns = sample.columns
    flat = all(column.ndim == 1 for column in columns.values())
    if flat and sample.named:
        specs = tuple(TensorSpec(n, _kind(c), (None, 1)) for n, c in columns.items())
        return specs, Layout.COLUMNS, tuple(columns), ("one input a column of the sample",)
    if flat and all(column.dtype != object for column in columns.values()):
        spec = TensorSpec("input", Datatype.FP64, (None, len(columns)))
        return (spec,), Layout.MATRIX, (), ("one matrix, as the sample is",)
    if not sample.named:
        (only,) = columns.values()
        spec = TensorSpec("input", _kind(only), (None, *only.shape[1:]))
        return (spec,), Layout.TENSORS, (), ("one tensor, as the sample is",)
    specs = tuple(TensorSpec(n, _kind(c), (None, *c.shape[1:])) for n, c in columns.items())
    return specs, Layout.TENSORS, (), ("one input an array of the sample",)


def _kind(column: Any) -> Datatype:
    kinds = {"b": Datatype.BOOL, "i": Datatype.INT64, "u": Datatype.INT64, "f": Datatype.FP64}
    return kinds.get(column.dtype.kind, Datatype.BYTES)


def _outputs(
    predict: Callable[[Tensors], Tensors], look: Tensors, taken: Signature
) -> tuple[TensorSpec, ...]:
    """Run it on two sizes: an axis that changes is dynamic.

    Raises:
        InvalidError: it refuses such rows: its own words, with file and line.
        RefusedError: what it gives cannot be served.
    """
    first = predict(look)
    batched = all(spec.shape[:1] == (None,) for spec in taken.inputs)
    fewer = {name: array[:2] if batched else array for name, array in look.items()}
    second = predict(fewer)
    rows = len(next(iter(look.values()))) if batched else 0
    found = []
    for name in first:
        array, other = np.asarray(first[name]), np.asarray(second.get(name))
        datatype = Datatype.BYTES if _texts(array) else _DATATYPES.get(array.dtype)
        if datatype is None or array.ndim != other.ndim:
            raise RefusedError(
                f"output '{name}' of predict is {array.dtype} of {array.ndim} axes, then "
                f"{other.ndim}; tensors of numbers or texts are wanted, of one rank",
                field="file",
            )
        sizes = zip(array.shape, other.shape, strict=True)
        shape = tuple(None if n != m else n for n, m in sizes)
        if rows == 2 and shape[:1] == (rows,):  # two sizes were not to be had
            shape = (None, *shape[1:])
        found.append(TensorSpec(name, datatype, shape))
    if not found:
        raise RefusedError("predict gave no output at all", field="file")
    return tuple(found)


def _texts(array: Any) -> bool:
    if array.dtype.kind == "O":
        return all(isinstance(item, str | bytes) for item in array.ravel().tolist())
    return array.dtype.kind in "US"


def _environment(lines: tuple[str, ...]) -> dict[str, str]:
    """What is installed of what was asked for."""
    found = {"python": platform.python_version(), "numpy": np.__version__}
    for line in lines:
        name = re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0]
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a marker of another system
            continue
    return found
