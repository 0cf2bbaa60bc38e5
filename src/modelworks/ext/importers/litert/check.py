"""Checks a LiteRT file and lays it out for serving; imported in the sandbox only."""

import shutil
from importlib.metadata import version
from pathlib import Path

from modelworks.core.errors import InvalidError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.tensor import Signature
from modelworks.ext.formats import tflite
from modelworks.ext.formats.tflite import Facts, Port
from modelworks.ext.importers import layouts
from modelworks.ext.importers.litert import ENDING
from modelworks.ext.importers.only import only_file
from modelworks.plugins.load import load

MODEL = "model.tflite"


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Check and copy; see `core.seams.Importer.read`."""
    file = only_file(path, ENDING)
    if file is None:
        raise InvalidError(
            f"{path.name}: one .tflite file is wanted at the top of the folder", field="file"
        )
    load("engines", "litert")  # first: a library that is missing is named with its cure
    facts = tflite.read(file)
    own = layouts.seen_by("litert", file)
    shutil.copyfile(file, into / MODEL)
    signature, sample = layouts.arrange(own, options.layout, options.sample)
    return Imported(
        format="tflite",
        source_format="tflite",
        signature=signature,
        predict=None,
        environment={"ai-edge-litert": version("ai-edge-litert")},
        notes=_notes(facts, signature),
        kind="network",
        sample=sample,
    )


def _notes(facts: Facts, signature: Signature) -> tuple[str, ...]:
    notes = ["LiteRT schema 3"]
    if facts.runtime:
        notes[0] += f", for TensorFlow Lite {facts.runtime} or newer"
    if facts.description:
        notes[0] += f", written by {facts.description[:80]}"
    if len(facts.signatures) > 1:
        notes.append(
            f"the file has the signatures {tflite.told(facts.signatures)}; "
            f"'{facts.signature}' is served"
        )
    notes += [_step(port) for port in (*facts.inputs, *facts.outputs) if port.scale]
    if facts.stateful:
        notes.append("the model keeps a state; it is reset before every request")
    if layouts.fixed_batch(signature):
        notes.append("the batch axis is fixed in the file and was kept so")
    return tuple(notes)


def _step(port: Port) -> str:
    """How integers and real values belong together."""
    return (
        f"'{port.spec.name}' is quantized: real value = {port.scale:.9g} x "
        f"({port.spec.datatype} - {port.zero})"
    )
