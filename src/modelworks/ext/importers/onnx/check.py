"""Checks an ONNX model and lays it out for serving; imported in the sandbox only."""

import shutil
from pathlib import Path, PurePosixPath

import onnx
from onnx.external_data_helper import (
    ExternalDataInfo,
    _get_all_tensors,
    uses_external_data,
)

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.tensor import Signature
from modelworks.ext.importers import layouts
from modelworks.ext.importers.only import only_file
from modelworks.ext.importers.onnx import ENDING, MODEL
from modelworks.ext.importers.onnx.meaning import meaning, strip_zipmap
from modelworks.ext.importers.reasons import reason


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Check, strip what cannot be served, copy; see `core.seams.Importer.read`."""
    file = only_file(path, ENDING, MODEL)
    if file is None:
        raise InvalidError(
            f"{path.name}: one .onnx file is wanted at the top of the folder, or a model.onnx",
            field="file",
        )
    model = _parse(file)
    inside = path if path.is_dir() else None
    external = _external(model, file, inside)
    notes = [_versions(model)]
    classes = strip_zipmap(model)
    if classes is not None:
        notes.append(
            "ZipMap removed: probabilities come as one matrix, columns in the order of the classes"
        )
        onnx.save(model, into / MODEL)
    else:
        shutil.copyfile(file, into / MODEL)
    for name in external:
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.parent / name, target)
    try:
        onnx.checker.check_model(into / MODEL)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise InvalidError(
            f"{file.name} is no valid ONNX: {reason(error)}", field="file"
        ) from error
    own = layouts.seen_by("onnxruntime", into)
    outputs, found = meaning(model, own.outputs, classes)
    signature, sample = layouts.arrange(
        Signature(own.inputs, outputs, classes=found), options.layout, options.sample
    )
    if layouts.fixed_batch(signature):
        notes.append("the batch axis is fixed in the graph and was kept so")
    return Imported(
        format="onnx",
        source_format="onnx",
        signature=signature,
        predict=None,
        environment={"onnx": onnx.__version__},
        notes=tuple(notes),
        sample=sample,
    )


def _parse(file: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(file, load_external_data=False)
    except MemoryError:
        raise
    except Exception as error:  # protobuf's own errors have no base that the stubs know
        raise InvalidError(
            f"{file.name}: not an ONNX file, or cut short ({reason(error, 120)})", field="file"
        ) from error
    if not model.graph.node or not model.graph.output:
        raise InvalidError(f"{file.name}: the ONNX graph is empty", field="file")
    return model


def _external(model: onnx.ModelProto, file: Path, inside: Path | None) -> list[str]:
    """Relative names of the files that hold weights; all of them lie in the imported folder.

    Raises:
        RefusedError: a name that leads out of the folder, or is a link.
        InvalidError: a file that is missing or too short.
    """
    names: dict[str, None] = {}
    for tensor in _get_all_tensors(model):
        if not uses_external_data(tensor):
            continue
        info = ExternalDataInfo(tensor)
        location = PurePosixPath(str(info.location).replace("\\", "/"))
        if location.is_absolute() or ".." in location.parts or ":" in str(location):
            raise RefusedError(
                f"{file.name}: tensor '{tensor.name}' keeps its data at '{info.location}', "
                "outside of the model's folder",
                field="file",
            )
        if inside is None:
            raise InvalidError(
                f"{file.name} keeps weights in '{location}' beside it: import the folder that "
                "holds both",
                field="file",
            )
        data = file.parent / location
        if data.is_symlink() or not data.is_file():
            raise InvalidError(f"{file.name}: its data file '{location}' is missing", field="file")
        end = (info.offset or 0) + (info.length or 0)
        if end > data.stat().st_size:
            raise InvalidError(
                f"{file.name}: its data file '{location}' is cut short", field="file"
            )
        names[str(location)] = None
    return list(names)


def _versions(model: onnx.ModelProto) -> str:
    opsets = ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import)
    text = f"ONNX IR {model.ir_version}, operators {opsets}"
    producer = " ".join(f"{model.producer_name} {model.producer_version}".split())
    return f"{text}, written by {producer[:80]}" if producer else text
