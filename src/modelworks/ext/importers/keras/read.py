"""Reads a Keras or TensorFlow model, converts it, and keeps the source for comparison."""

import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from modelworks.core.imports import Imported, ImportOptions, Runtime
from modelworks.core.native import NATIVE, NativeModel, write_native
from modelworks.core.tensor import Signature
from modelworks.ext.importers import layouts, samples
from modelworks.ext.importers.keras import pins
from modelworks.ext.importers.keras.convert import convert
from modelworks.ext.importers.keras.load import load
from modelworks.ext.importers.keras.scan import Looked
from modelworks.ext.importers.keras.source import Source

_TOLERANCE = (1e-4, 1e-3)  # absolute, relative: sums of thousands of float32 in another order
_LIBRARIES = ("tensorflow-cpu", "keras", "tf-keras", "tf2onnx", "onnx", "numpy", "h5py")


def read(path: Path, into: Path, options: ImportOptions, looked: Looked) -> Imported:
    """Convert to `into/model.onnx`, or keep the file; errors as in `core.seams.Importer.read`."""
    source = load(path, looked)
    sample = samples.read(options.sample) if options.sample else None
    inputs = tuple(port.spec for port in source.inputs)
    outputs = tuple(port.spec for port in source.outputs)
    signature = layouts.of_network(inputs, outputs, None, sample)
    native = options.runtime is Runtime.NATIVE
    if native:
        _keep(path, into, looked, signature)
    else:
        _convert(path, into, source)
    return Imported(
        format=NATIVE if native else "onnx",
        source_format=looked.format.value,
        signature=signature,
        predict=None if native else source.predict,
        environment=_environment(),
        ranges=source.ranges,
        notes=(*source.notes, *_notes(signature, looked)),
        tolerance=_TOLERANCE,
        kind="network",
        sample=samples.tensors(sample, signature) if sample else None,
        scan=looked.scan,
        origin={f"{name}_version": text for name, text in looked.writer.items()},
    )


def _convert(path: Path, into: Path, source: Source) -> None:
    if source.keep is None:
        convert(source, path, into / "model.onnx")
        return
    with tempfile.TemporaryDirectory(dir=into) as folder:
        source.keep(Path(folder))
        convert(source, Path(folder), into / "model.onnx")


def _keep(path: Path, into: Path, looked: Looked, signature: Signature) -> None:
    """The file as it is, with what the loader needs to know."""
    target = into / "source" / path.name
    target.parent.mkdir()
    if path.is_dir():
        shutil.copytree(path, target)
    else:
        shutil.copyfile(path, target)
    write_native(
        into,
        NativeModel(
            loader="keras",
            source=f"source/{path.name}",
            signature=signature,
            requirements=pins.requirements(),
            settings={"format": looked.format.value},
        ),
    )


def _notes(signature: Signature, looked: Looked) -> list[str]:
    notes = []
    if not signature.batch_axis:
        notes.append("The batch size is fixed, as in the model.")
    if any(len(spec.shape) == 4 for spec in signature.inputs):
        notes.append("Images stay as the model takes them: height, width, channels (NHWC).")
    if looked.scan.opened:
        notes.append("Python code in the file was opened in the sandbox, by the owner's word.")
    notes.append("Outputs are as the network gives them; class names are not in the file.")
    return notes


def _environment() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name.removesuffix("-cpu")] = version(name)
        except PackageNotFoundError:
            continue
    return found
