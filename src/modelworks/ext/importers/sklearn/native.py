"""Brings a scikit-learn model in as it is: signature from what it says, bytes copied, no ONNX."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from modelworks.core.errors import InvalidError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.native import NATIVE, NativeModel, write_native
from modelworks.core.tensor import Datatype, Layout, Signature, Tensors, TensorSpec
from modelworks.evaluation.probes import generate
from modelworks.ext.importers import samples
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.sklearn import boosted
from modelworks.ext.importers.sklearn import columns as finding
from modelworks.ext.importers.sklearn import ranges as ranging
from modelworks.ext.importers.sklearn.columns import Column, Columns
from modelworks.ext.importers.sklearn.load import load
from modelworks.ext.importers.sklearn.source import Answer, Source, answers

_LOOK = 11
_SUFFIXES = frozenset({".pkl", ".pickle", ".joblib", ".skops"})
_KINDS = {"i": Datatype.INT64, "u": Datatype.INT64, "b": Datatype.BOOL, "O": Datatype.BYTES}


def model_file(path: Path) -> Path:
    """The model in a folder that also holds the modules of its classes; a file is itself."""
    if not path.is_dir():
        return path
    found = [item for item in path.iterdir() if item.suffix.lower() in _SUFFIXES]
    if len(found) != 1:
        raise InvalidError(f"{path.name}: one model file is wanted in it, there are {len(found)}")
    return found[0]


def read(path: Path, into: Path, options: ImportOptions, source_format: str) -> Imported:
    """Copy the file and say what it takes and gives; errors as in `core.seams.Importer.read`."""
    if path.is_dir():
        sys.path.insert(0, str(path))  # the modules of its own classes, by the owner's word
    loaded = load(model_file(path), source_format, trust=options.trust)
    estimator = loaded.estimator
    sample = samples.read(options.sample) if options.sample is not None else None
    columns = finding.find(estimator, options, sample)
    ranges = ranging.find(estimator, columns, sample)
    inputs = columns.inputs(Datatype.FP64)
    taken = Signature(inputs, (), columns.layout, columns.features)
    rows = samples.tensors(sample, taken) if sample is not None else None
    source = Source(estimator, columns)
    look = _look(source, taken, rows, generate(taken, ranges, rows=_LOOK)[0].inputs)
    chosen = _choose(source, look)
    outputs = tuple(given.spec for given in chosen)
    signature = Signature(inputs, outputs, columns.layout, columns.features, _classes(estimator))
    kept = _keep(path, into)
    settings = {
        "named": "yes" if columns.named else "no",
        "text": "yes" if columns.text else "no",
        "narrow": "yes" if source.narrow else "no",
        "answers": " ".join(given.place for given in chosen),
    }
    write_native(into, NativeModel("sklearn", kept, signature, (), settings))
    methods = {given.spec.name: given.answer.call for given in chosen}
    return Imported(
        format=NATIVE,
        source_format=source_format,
        signature=signature,
        predict=lambda given: source.ask(methods, given),
        environment={
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
            **boosted.versions(estimator),
        },
        ranges=ranges,
        notes=("served by scikit-learn itself, as it is", *columns.notes, *loaded.notes),
        sample=rows,
        wide_inputs=True,
        scan=loaded.scan,
    )


def _keep(path: Path, into: Path) -> str:
    """Copy the file, or the folder, into the artifact; its name there."""
    if path.is_dir():
        shutil.copytree(path, into / "model", ignore=shutil.ignore_patterns("__pycache__"))
        return "model"
    shutil.copyfile(path, into / path.name)
    return path.name


@dataclass(frozen=True, slots=True)
class _Given:
    """An output: which of the estimator's answers it is, by place and candidate."""

    place: str
    answer: Answer
    spec: TensorSpec


def _look(source: Source, taken: Signature, rows: Tensors | None, made: Tensors) -> Tensors:
    """A few rows that the estimator accepts: of the sample, or generated ones.

    Raises:
        InvalidError: it accepts none of them.
    """
    look = made
    if rows is not None and all(len(array) > 1 for array in rows.values()):
        look = {name: array[:_LOOK] for name, array in rows.items()}
    trouble = _refusal(source, look)
    if trouble is None:
        return look
    source.narrow = taken.layout is Layout.MATRIX
    if source.narrow and _refusal(source, look) is None:
        return look
    raise InvalidError(
        f"the estimator refuses {'the sample' if rows is not None else 'generated rows'} "
        f"({reason(trouble)}): give a --sample of rows that it takes",
        field="sample",
    ) from trouble


def _refusal(source: Source, look: Tensors) -> Exception | None:
    first = next((answer for place in answers(source.estimator) for answer in place), None)
    if first is None:
        return InvalidError("it neither predicts nor transforms")
    try:
        source.ask({"": first.call}, look)
    except Exception as error:  # noqa: BLE001 - whatever a stranger's estimator raises
        return error
    return None


def _choose(source: Source, look: Tensors) -> list[_Given]:
    """For each thing that the estimator says, the first way of saying it that works.

    Raises:
        InvalidError: it says nothing that can be served.
    """
    found: list[_Given] = []
    for number, candidates in enumerate(answers(source.estimator)):
        for position, answer in enumerate(candidates):
            spec = _tried(source, answer, look)
            if spec is not None and all(spec.name != other.spec.name for other in found):
                found.append(_Given(f"{number}.{position}", answer, spec))
                break
    if not found:
        raise InvalidError(
            f"a {type(source.estimator).__name__} gives nothing that can be served: one row of "
            "numbers or texts for each row is wanted",
            field="file",
        )
    return found


def _tried(source: Source, answer: Answer, look: Tensors) -> TensorSpec | None:
    """The output that it is; None where it is none."""
    fewer = {name: array[:2] for name, array in look.items()}
    try:
        array, other = (np.asarray(source.ask({"": answer.call}, x)[""]) for x in (look, fewer))
    except Exception:  # noqa: BLE001 - another candidate may do
        return None
    rows = len(next(iter(look.values())))
    if array.shape[:1] != (rows,) or other.shape != (2, *array.shape[1:]):
        return None
    datatype = Datatype.FP32 if array.dtype == np.float32 else _KINDS.get(array.dtype.kind)
    if array.dtype.kind == "f" and datatype is None:
        datatype = Datatype.FP64
    if datatype is None:
        return None
    role = answer.role
    return TensorSpec(answer.name, datatype, (None, *array.shape[1:]), role)


def _classes(estimator: Any) -> tuple[Any, ...]:
    classes = getattr(estimator, "classes_", None)
    if classes is None or isinstance(classes, list) or np.ndim(classes) != 1:
        return ()
    plain = np.asarray(classes).tolist()
    return tuple(plain) if all(isinstance(v, str | int | float | bool) for v in plain) else ()


def bind(estimator: Any, model: NativeModel) -> tuple[Source, dict[str, Any]]:
    """A loaded estimator behind the signature that it came in with.

    Returns:
        The source, and the method of each output.

    Raises:
        InvalidError: it is not the one that `native.json` describes.
    """
    columns = _columns(model)
    source = Source(estimator, columns)
    source.narrow = model.settings.get("narrow") == "yes"
    offered = answers(estimator)
    methods: dict[str, Any] = {}
    places = model.settings.get("answers", "").split()
    try:
        for spec, place in zip(model.signature.outputs, places, strict=True):
            number, _, position = place.partition(".")
            methods[spec.name] = offered[int(number)][int(position)].call
    except (ValueError, IndexError) as error:
        raise InvalidError(
            f"this {type(estimator).__name__} does not give the outputs that native.json names"
        ) from error
    return source, methods


def _columns(model: NativeModel) -> Columns:
    signature: Signature = model.signature
    inputs: Sequence[TensorSpec] = signature.inputs
    if signature.layout is Layout.MATRIX:
        width = inputs[0].shape[1] or 0
        names = signature.features or tuple(f"x{i}" for i in range(width))
        kind = inputs[0].datatype
        kind = Datatype.FP32 if kind is Datatype.FP64 else kind
        columns = tuple(Column(name, kind) for name in names)
    else:
        columns = tuple(Column(spec.name, spec.datatype) for spec in inputs)
    return Columns(
        columns,
        named=model.settings.get("named") == "yes",
        text=model.settings.get("text") == "yes",
        layout=signature.layout,
        notes=(),
    )
