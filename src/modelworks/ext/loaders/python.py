"""Runs a Python folder: `model.py` with `load` and `predict`."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from modelworks.core.native import NativeModel
from modelworks.core.tensor import Tensors
from modelworks.ext.importers.python.bind import bind


class PythonLoader:
    """Calls `load(folder)` once, then `predict(model, inputs)` for every batch."""

    name: ClassVar[str] = "python"
    extra: ClassVar[str] = ""
    experimental: ClassVar[bool] = False

    def load(self, folder: Path, model: NativeModel) -> Callable[[Tensors], Tensors]:
        """See `core.seams.Loader.load`."""
        return bind((folder / model.source).resolve(), model.signature)
