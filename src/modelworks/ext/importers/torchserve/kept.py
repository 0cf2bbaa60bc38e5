"""An archive kept as it is: its handler answers bytes with bytes, as it did in TorchServe."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.native import NATIVE, NativeModel, write_native
from modelworks.core.seams import Loader
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.ext.importers import samples
from modelworks.ext.importers.python.requirements import pinned_lines
from modelworks.ext.importers.torchserve.manifest import Manifest
from modelworks.plugins import load as plugins

_TEXT = {"base_handler", "text_classifier"}
_CONTRACT = (
    "One element of 'body' is one request; JSON objects and lists reach the handler parsed, "
    "anything else as bytes; one element of 'response' is its answer."
)
_SIGNATURE = Signature(
    (TensorSpec("body", Datatype.BYTES, (None,)),),
    (TensorSpec("response", Datatype.BYTES, (None,)),),
)
"""One element a request: the body as it was posted, and what the handler answered to it."""


def requirements(manifest: Manifest) -> tuple[str, ...]:
    """The archive's requirement lines with the PyTorch that runs it; empty = it brings none.

    Raises:
        InvalidError: a line is none, or leaves its version open.
    """
    if manifest.requirements is None:
        return ()
    lines = pinned_lines(manifest.requirements.parent, manifest.requirements.name)
    if any(line.startswith("torch=") for line in lines):
        return lines
    return (*lines, f"torch=={version('torch').partition('+')[0]}")


def read(manifest: Manifest, into: Path, options: ImportOptions) -> Imported:
    """Copy the archive's files, start its handler once, and say how it is spoken to.

    Raises:
        RefusedError: nobody vouches for the handler, or it is one that is not run here.
        InvalidError: it does not start.
    """
    if not options.trust:
        raise RefusedError(
            f"the handler {manifest.handler[:80]} is code: --runtime native needs --trust",
            field="trust",
        )
    if manifest.handler in _TEXT:
        raise RefusedError(
            f"the handler {manifest.handler} is not run here: import the archive without "
            "--runtime native, which converts its model",
            field="runtime",
        )
    if options.inputs or options.layout:
        raise InvalidError(
            "a handler takes the bytes of a request: --input and --layout mean nothing for it",
            field="inputs" if options.inputs else "layout",
        )
    shutil.copytree(manifest.folder, into / "model", copy_function=shutil.copyfile)
    native = NativeModel(
        "torchserve",
        "model",
        _SIGNATURE,
        requirements(manifest),
        {
            "handler": manifest.handler,
            "batch": str(_batch(manifest)),
            "config": json.dumps(manifest.config, default=str),
        },
    )
    write_native(into, native)
    loader: Loader = plugins.load("loaders", "torchserve")()
    loader.load(into, native)
    bodies = samples.read(options.sample) if options.sample else None
    return Imported(
        format=NATIVE,
        source_format="",
        signature=_SIGNATURE,
        predict=None,
        environment={"torch": version("torch"), "numpy": np.__version__},
        notes=tuple(_notes(manifest, native)),
        sample=samples.tensors(bodies, _SIGNATURE) if bodies else None,
    )


def _batch(manifest: Manifest) -> int:
    """How many requests the handler is given at a time.

    Raises:
        InvalidError: the configuration says something else.
    """
    size = manifest.config.get("batchSize", 1)
    if type(size) is not int or not 1 <= size <= 10_000:
        raise InvalidError(f"batchSize of the model's configuration is {size!r}", field="file")
    return size


def _notes(manifest: Manifest, native: NativeModel) -> list[str]:
    notes = [
        f"Kept as it is: the handler {manifest.handler[:80]} answers, in a process of its own.",
        _CONTRACT,
    ]
    if native.requirements:
        notes.append(f"Its environment: {', '.join(native.requirements)[:300]}.")
    used = {"batchSize", "handler"}
    left = sorted(key for key in manifest.config if key not in used)
    lost = [f"configuration {key}"[:60] for key in left] + [
        f"manifest field {key}" for key in manifest.unknown
    ]
    if lost:
        notes.append(
            f"For TorchServe's own server, and seen by the handler only: {', '.join(lost)[:240]}."
        )
    return notes
