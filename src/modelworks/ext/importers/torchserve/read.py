"""Reads a model archive: the model by its own importer, or all of it kept with its handler."""

import ast
import tempfile
from dataclasses import replace
from pathlib import Path

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.imports import Exporter, Imported, ImportOptions, Runtime
from modelworks.core.seams import Importer
from modelworks.core.steps import Centre, DecodeImage, InputSteps, Resize
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.ext.importers.torchserve import archive, kept
from modelworks.ext.importers.torchserve.manifest import Manifest
from modelworks.ext.importers.torchserve.manifest import read as read_manifest
from modelworks.plugins import load as plugins

_IMAGES = {"image_classifier", "image_segmenter"}
_SIDE = 224
_STEP = DecodeImage(
    height=_SIDE,
    width=_SIDE,
    resize=Resize(shortest=256),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    centre=Centre.EVEN,
    orient=False,
)
"""What TorchServe's image handlers do to an image, by its documentation."""
_PIXELS = TensorSpec("x", Datatype.FP32, (None, 3, _SIDE, _SIDE))
_SHOWN = 6


def requirements(path: Path, options: ImportOptions) -> tuple[str, ...]:
    """As `core.seams.NeedsEnvironment.requirements`."""
    if options.runtime is not Runtime.NATIVE:
        return ()
    with tempfile.TemporaryDirectory() as work, archive.unpacked(path, Path(work)) as folder:
        return kept.requirements(read_manifest(folder))


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Convert the model, or keep it with its handler; errors as in `core.seams.Importer.read`."""
    kind = archive.kind_of(path) or archive.MAR
    with tempfile.TemporaryDirectory() as work, archive.unpacked(path, Path(work)) as folder:
        manifest = read_manifest(folder)
        if options.runtime is Runtime.NATIVE:
            imported = kept.read(manifest, into, options)
        else:
            imported = _converted(path, manifest, into, options)
    return replace(imported, source_format=kind, origin=manifest.origin)


def _converted(path: Path, manifest: Manifest, into: Path, options: ImportOptions) -> Imported:
    if manifest.custom:
        raise RefusedError(
            f"{path.name}: its handler {manifest.handler[:80]} is Python code around the model, "
            "which cannot be converted; --trust --runtime native keeps both as they are, in a "
            "process of their own; for the model alone, unpack the archive and import its model "
            "file",
            field="file",
        )
    if manifest.serialized is None:
        raise InvalidError(f"{path.name}: no model file in the archive", field="file")
    inner, asked = _asked(path, manifest, options)
    imported = inner.read(manifest.serialized, into, asked)
    steps: tuple[InputSteps, ...] = ()
    if manifest.handler in _IMAGES and _takes_pixels(imported):
        steps = (InputSteps("data", decode_image=_STEP),)
    if manifest.handler == "image_classifier":
        from modelworks.ext.importers.torchserve import labels  # noqa: PLC0415 - imports onnx

        imported = labels.with_probabilities(imported, into, manifest.labels)
    notes = (
        f"The model of the archive was read by the importer '{inner.name}' "
        f"({imported.source_format})."
    )
    return replace(
        imported, steps=steps, notes=(notes, *imported.notes, *_notes(manifest, bool(steps)))
    )


def _asked(
    path: Path, manifest: Manifest, options: ImportOptions
) -> tuple[Importer, ImportOptions]:
    """Who reads the model file, and what it is told.

    Raises:
        RefusedError: an eager model's class is code, and nobody vouches for it.
    """
    assert manifest.serialized is not None  # noqa: S101 - the caller looked
    asked = replace(options, importer="")
    if manifest.model_file is not None:
        if not options.trust:
            raise RefusedError(
                f"{path.name}: the class of its model is Python code in the archive "
                f"({manifest.model_file.name}); --trust runs it in the sandbox to convert the "
                "model, or archive it as TorchScript",
                field="trust",
            )
        asked = replace(asked, factory=f"{manifest.model_file}:{_only_class(manifest.model_file)}")
    onnx = manifest.serialized.suffix == ".onnx"
    inner: Importer = plugins.load("importers", "onnx" if onnx else "torch")()
    if onnx and options.inputs:
        raise InvalidError("--input means nothing for an ONNX model; leave it out", field="inputs")
    if onnx and options.exporter is not Exporter.AUTO:
        raise InvalidError(
            "--exporter means nothing for an ONNX model; leave it out", field="exporter"
        )
    found = inner.sniff(manifest.serialized)
    told = options.inputs or options.sample or (found and found.format == "torch-export")
    if manifest.handler in _IMAGES and not onnx and not told:
        asked = replace(asked, inputs=(_PIXELS,))
    return inner, asked


def _only_class(path: Path) -> str:
    """The one class that the file defines: its text is read, not run."""
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidError(f"{path.name}: no Python ({str(error)[:120]})", field="file") from error
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    if len(names) != 1:
        raise InvalidError(
            f"{path.name}: one class is wanted in it, as TorchServe wants it, not {len(names)}",
            field="file",
        )
    return names[0]


def _takes_pixels(imported: Imported) -> bool:
    inputs = imported.signature.inputs
    return len(inputs) == 1 and inputs[0].shape[1:] == (3, _SIDE, _SIDE)


def _notes(manifest: Manifest, decodes: bool) -> list[str]:  # noqa: FBT001 - one question
    notes = []
    if manifest.handler == "text_classifier":
        notes.append(
            "text_classifier cleaned the text and looked up its words: that is not carried over; "
            "the model takes token numbers."
        )
    elif manifest.handler == "image_segmenter":
        notes.append(
            "The softmax and the largest class of image_segmenter are not carried over: every "
            "class's score is answered."
        )
    elif manifest.handler == "object_detector":
        notes.append(
            "The threshold of object_detector is not carried over: all boxes are answered."
        )
    if manifest.handler in _IMAGES:
        notes.append(
            "Images are decoded, resized to 256, cropped to 224 and normalized as TorchServe did."
            if decodes
            else "The model does not take images of 224 x 224: it takes tensors, undecoded."
        )
    batch = {k: manifest.config[k] for k in ("batchSize", "maxBatchDelay") if k in manifest.config}
    if batch:
        told = ", ".join(f"{key} {value}" for key, value in batch.items())
        notes.append(f"The server batches by itself, whatever the configuration says ({told}).")
    left = sorted(manifest.config.keys() - batch.keys())
    lost = [
        *(f"configuration {key}"[:60] for key in left),
        *(f"manifest field {key}" for key in manifest.unknown),
        *manifest.extra,
        *([manifest.requirements.name] if manifest.requirements else []),
    ]
    if manifest.labels and manifest.handler != "image_classifier":
        lost.append("index_to_name.json")
    if lost:
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        notes.append(f"Not carried over: {', '.join(lost[:_SHOWN])[:240]}{more}.")
    return notes
