"""Checks OpenVINO IR and lays it out for serving; imported in the sandbox only."""

import shutil
from importlib.metadata import version
from pathlib import Path

from modelworks.core.errors import InvalidError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.tensor import Signature
from modelworks.ext.formats import ir
from modelworks.ext.importers import layouts
from modelworks.ext.importers.only import only_file
from modelworks.ext.importers.openvino import ENDING


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Check and copy; see `core.seams.Importer.read`."""
    file = only_file(path, ENDING)
    if file is None:
        raise InvalidError(
            f"{path.name}: one .xml file and its .bin are wanted at the top of the folder",
            field="file",
        )
    facts = ir.read(file)
    shutil.copyfile(file, into / ir.MODEL)
    if facts.weights:
        shutil.copyfile(ir.weights_of(file), into / ir.WEIGHTS)
    own = layouts.seen_by("openvino", into)
    signature, sample = layouts.arrange(own, options.layout, options.sample)
    return Imported(
        format="openvino-ir",
        source_format="openvino-ir",
        signature=signature,
        predict=None,
        environment={"openvino": version("openvino")},
        notes=_notes(facts, signature),
        kind="network",
        sample=sample,
    )


def _notes(facts: ir.Facts, signature: Signature) -> tuple[str, ...]:
    notes = [f"OpenVINO IR {facts.version} of {len(facts.layers)} kinds of layers"]
    if facts.runtime:
        notes[0] += f", written by OpenVINO {facts.runtime}"
    if "ReadValue" in facts.layers:
        notes.append("the model keeps a state; it is reset before every request")
    if layouts.fixed_batch(signature):
        notes.append("the batch axis is fixed in the file and was kept so")
    return tuple(notes)
