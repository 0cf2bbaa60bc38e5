"""Checks OpenVINO IR and lays it out for serving; imported in the sandbox only."""

import shutil
from importlib.metadata import version
from pathlib import Path

from modelworks.core.errors import InvalidError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Engine, EngineOptions
from modelworks.core.tensor import Signature
from modelworks.ext.formats import ir
from modelworks.ext.importers import layouts, samples
from modelworks.ext.importers.openvino import model_file
from modelworks.plugins.load import load


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Check and copy; see `core.seams.Importer.read`."""
    file = model_file(path)
    if file is None:
        raise InvalidError(
            f"{path.name}: one .xml file and its .bin are wanted at the top of the folder",
            field="file",
        )
    engine: Engine = load("engines", "openvino")()
    facts = ir.read(file)
    shutil.copyfile(file, into / ir.MODEL)
    if facts.weights:
        shutil.copyfile(ir.weights_of(file), into / ir.WEIGHTS)
    session = engine.load(into, EngineOptions())
    try:
        own = session.signature
    finally:
        session.close()
    sample = samples.read(options.sample) if options.sample is not None else None
    signature = layouts.arrange(own, options.layout, sample)
    return Imported(
        format="openvino-ir",
        source_format="openvino-ir",
        signature=signature,
        predict=None,
        environment={"openvino": version("openvino")},
        notes=_notes(facts, signature),
        kind="network",
        sample=samples.tensors(sample, signature) if sample is not None else None,
    )


def _notes(facts: ir.Facts, signature: Signature) -> tuple[str, ...]:
    notes = [f"OpenVINO IR {facts.version} of {len(facts.layers)} kinds of layers"]
    if facts.runtime:
        notes[0] += f", written by OpenVINO {facts.runtime}"
    if "ReadValue" in facts.layers:
        notes.append("the model keeps a state; it is reset before every request")
    if signature.inputs and any(spec.shape[:1] != (None,) for spec in signature.inputs):
        notes.append("the batch axis is fixed in the file and was kept so")
    return tuple(notes)
