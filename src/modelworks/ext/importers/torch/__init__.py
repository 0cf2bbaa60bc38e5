"""Recognises PyTorch's files; the reading is in `read`, which imports the library."""

from pathlib import Path
from typing import ClassVar

from modelworks.core.errors import MissingExtraError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.importers.torch.container import DAMAGE, LEGACY, ZIP, kind_of, look

_SUFFIXES = {".pt", ".pth", ".pt2"}


class TorchImporter:
    """Exported programs, TorchScript, state dicts with a factory; pickled modules under trust."""

    name: ClassVar[str] = "torch"
    formats: ClassVar[tuple[str, ...]] = (
        "torch-export",
        "torch-script",
        "torch-state-dict",
        "torch-module",
        "safetensors",
        "torch-legacy",
        "torch-tar",
        "torch-old-export",
    )
    extra: ClassVar[str] = "torch"
    experimental: ClassVar[bool] = True  # no file of an older PyTorch was tried
    honours: ClassVar[frozenset[str]] = frozenset(
        {"inputs", "layout", "factory", "runtime", "exporter"}
    )

    def sniff(self, path: Path) -> Sniffed | None:
        """By magic bytes, and by the names inside an archive."""
        try:
            found = look(path)
        except DAMAGE:
            return self._damaged(path)
        if found is None:
            return self._damaged(path)
        return Sniffed(kind_of(path, found), 100, runs_code=found.format != "safetensors")

    def _damaged(self, path: Path) -> Sniffed | None:
        """A file of PyTorch's by its name, that begins as one and does not hold."""
        if path.suffix not in _SUFFIXES:
            return None
        try:
            with path.open("rb") as file:
                head = file.read(len(LEGACY))
        except OSError:
            return None
        return Sniffed("torch-state-dict", 40, runs_code=True) if head.startswith(ZIP) else None

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Convert to `into/model.onnx`, or keep it; see `core.seams.Importer.read`."""
        try:
            from modelworks.ext.importers.torch import read  # noqa: PLC0415 - imports PyTorch
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "reading PyTorch models", self.extra, str(error.name)
            ) from error
        return read.read(path, into, options)
