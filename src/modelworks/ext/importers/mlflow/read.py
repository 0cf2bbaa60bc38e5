"""Reads a model folder of MLflow: by the importer of its flavour, or as a custom model."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from modelworks.core.errors import InvalidError
from modelworks.core.imports import Imported, ImportOptions, Runtime, refuse_unread
from modelworks.core.seams import Importer, NeedsEnvironment
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.ext.formats import mlmodel
from modelworks.ext.formats.mlmodel import MlModel
from modelworks.ext.importers.mlflow import custom, example
from modelworks.ext.importers.mlflow.agree import agree
from modelworks.ext.importers.mlflow.flavors import Chosen, choose, format_of
from modelworks.ext.importers.mlflow.requirements import logged, needed
from modelworks.plugins.sniffing import ask

_OWN_INPUTS = "torch-export"
_SHOWN = 8


def requirements(path: Path, options: ImportOptions) -> tuple[tuple[str, ...], bool]:
    """As `core.seams.NeedsEnvironment.requirements`, and whether they are the model's own."""
    model = mlmodel.read(path)
    chosen = choose(model)
    if _custom(model, chosen, options):
        custom.check(model, options)
        return needed(model), True
    assert chosen.file is not None  # noqa: S101 - a flavour has one
    inner = surest(chosen.file)
    asked = _asked(model, inner, chosen.file, options)
    if not isinstance(inner, NeedsEnvironment):
        return (), False
    return inner.requirements(chosen.file, asked), False


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Convert, or keep as it is; errors as in `core.seams.Importer.read`."""
    model = mlmodel.read(path)
    chosen = choose(model)
    if _custom(model, chosen, options):
        return custom.read(model, into, options)
    assert chosen.file is not None  # noqa: S101 - a flavour has one
    inner = surest(chosen.file)
    by = f"the importer '{inner.name}'"
    refuse_unread(options, inner.honours, f"{by} of its flavour", "this folder")
    asked = _asked(model, inner, chosen.file, options)
    with tempfile.TemporaryDirectory() as folder, _code(model, chosen, options):
        imported, notes = _delegated(inner, chosen.file, into, asked, model, Path(folder))
    signature, differences = agree(model, imported.signature)
    notes = [
        f"Read from the flavour {chosen.name} by {by} ({imported.source_format}).",
        *notes,
        *differences,
        *_passed_over(model, chosen),
    ]
    return replace(
        imported,
        source_format=format_of(model),
        signature=signature,
        notes=(*notes, *imported.notes),
        origin=model.origin,
    )


def surest(file: Path) -> Importer:
    """The importer that is surest of a file in a model's folder.

    Raises:
        InvalidError: none knows it; what is not installed is named.
    """
    asked = ask(file, but="mlflow")
    if asked.best is None:
        raise InvalidError(
            f"{file.name}, the file of the flavour, is of no kind that is understood{asked.absent}",
            field="file",
        )
    return asked.best[0]


def _custom(model: MlModel, chosen: Chosen, options: ImportOptions) -> bool:
    """Only MLflow can run it, or it brings code and is to stay as it is."""
    if not chosen.name:
        return True
    brings_code = bool(model.flavors[chosen.name].get("code"))
    return options.runtime is Runtime.NATIVE and brings_code


def _asked(model: MlModel, inner: Importer, file: Path, options: ImportOptions) -> ImportOptions:
    """What the flavour's importer is told: a network's inputs stand in the signature alone."""
    options = replace(options, importer="")
    found = inner.sniff(file)
    if inner.name != "torch" or options.inputs or (found and found.format == _OWN_INPUTS):
        return options
    if model.inputs.tensors:
        return replace(options, inputs=model.inputs.tensors)
    if model.inputs.columns and options.sample is None:
        spec = TensorSpec("x", Datatype.FP32, (None, len(model.inputs.columns)))
        return replace(options, inputs=(spec,))
    return options


def _delegated(
    inner: Importer, file: Path, into: Path, options: ImportOptions, model: MlModel, folder: Path
) -> tuple[Imported, list[str]]:
    """Read by the flavour's importer, with the logged example where the user gave no sample."""
    logged_example = None if options.sample else example.write(model, folder)
    if logged_example is None:
        return inner.read(file, into, options), []
    try:
        imported = inner.read(file, into, replace(options, sample=logged_example))
    except InvalidError as error:
        if error.field != "sample":
            raise
        note = f"The logged input example was not used: {error.message}."
        return inner.read(file, into, options), [note]
    if imported.sample is None:
        return imported, []
    return imported, ["The logged input example was used as the sample."]


@contextmanager
def _code(model: MlModel, chosen: Chosen, options: ImportOptions) -> Iterator[None]:
    """Modules that were logged with the model can be imported, where the owner vouches for it."""
    name = model.flavors[chosen.name].get("code")
    if not name or not options.trust:
        yield
        return
    folder = str(mlmodel.inside(model.folder, name, f"flavors.{chosen.name}.code"))
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _passed_over(model: MlModel, chosen: Chosen) -> list[str]:
    """Everything else that the folder says, and what becomes of it."""
    notes = []
    if chosen.others:
        notes.append(f"Other flavours were passed over: {', '.join(chosen.others)}.")
    lines = logged(model)
    if lines:
        more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        notes.append(
            f"Logged with {', '.join(lines[:_SHOWN])[:240]}{more}; the converted model needs none "
            "of them."
        )
    wrapped = model.flavors.get("python_function", {}).get("predict_fn")
    if wrapped not in {None, "predict"}:
        notes.append(f"MLflow called {wrapped} of the model; here every output is named.")
    if model.more:
        notes.append(f"Not carried over from MLmodel: {', '.join(model.more)[:160]}.")
    return notes
