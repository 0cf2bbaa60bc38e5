"""Checks a LiteRT file and lays it out for serving; imported in the sandbox only."""

import shutil
from importlib.metadata import version
from pathlib import Path

from modelworks.core.errors import InvalidError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Engine, EngineOptions
from modelworks.core.tensor import Signature
from modelworks.ext.formats import tflite
from modelworks.ext.formats.tflite import Facts, Port
from modelworks.ext.importers import layouts, samples
from modelworks.ext.importers.litert import model_file
from modelworks.plugins.load import load

MODEL = "model.tflite"


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Check and copy; see `core.seams.Importer.read`."""
    file = model_file(path)
    if file is None:
        raise InvalidError(
            f"{path.name}: one .tflite file is wanted at the top of the folder", field="file"
        )
    engine: Engine = load("engines", "litert")()
    facts = tflite.read(file)
    session = engine.load(file, EngineOptions())
    try:
        own = session.signature
    finally:
        session.close()
    shutil.copyfile(file, into / MODEL)
    sample = samples.read(options.sample) if options.sample is not None else None
    signature = layouts.arrange(own, options.layout, sample)
    return Imported(
        format="tflite",
        source_format="tflite",
        signature=signature,
        predict=None,
        environment={"ai-edge-litert": version("ai-edge-litert")},
        notes=_notes(facts, signature),
        kind="network",
        sample=samples.tensors(sample, signature) if sample is not None else None,
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
    if signature.inputs and any(spec.shape[:1] != (None,) for spec in signature.inputs):
        notes.append("the batch axis is fixed in the file and was kept so")
    return tuple(notes)


def _step(port: Port) -> str:
    """How integers and real values belong together."""
    return (
        f"'{port.spec.name}' is quantized: real value = {port.scale:.9g} x "
        f"({port.spec.datatype} - {port.zero})"
    )
