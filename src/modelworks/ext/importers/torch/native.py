"""A PyTorch model as the library itself runs it; nothing is converted."""

import shutil
from pathlib import Path

import numpy as np
import torch

from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.native import NATIVE, NativeModel, write_native
from modelworks.core.tensor import Signature
from modelworks.ext.importers import samples
from modelworks.ext.importers.torch import call
from modelworks.ext.importers.torch.source import Source

_CODE = "code"


def keep(
    path: Path,
    into: Path,
    options: ImportOptions,
    source: Source,
    signature: Signature,
    sample: samples.Sample | None,
) -> Imported:
    """Copy the file, and the code of the user's that it needs, into the artifact."""
    shutil.copyfile(path, into / path.name)
    settings = {}
    if options.factory:
        name, _, function = options.factory.rpartition(":")
        folder = into / _CODE
        folder.mkdir()
        for file in sorted(Path(name).parent.glob("*.py")):
            shutil.copyfile(file, folder / file.name)
        settings["factory"] = f"{_CODE}/{Path(name).name}:{function}"
    write_native(into, NativeModel("torch", path.name, signature, (), settings))
    return Imported(
        format=NATIVE,
        source_format=source.format,
        signature=signature,
        predict=call.predictor(source, signature.inputs),
        environment={"torch": torch.__version__, "numpy": np.__version__},
        notes=(*source.notes, "served by PyTorch itself, as it is"),
        kind="network",
        scanned=source.names,
        scan=source.scan,
        sample=samples.tensors(sample, signature) if sample else None,
    )
