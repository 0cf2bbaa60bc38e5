"""Recognises TorchServe's model archives; the reading is in `read`. TorchServe is not needed."""

from pathlib import Path
from typing import ClassVar

from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.importers.torchserve import archive


class TorchserveImporter:
    """Archives of torch-model-archiver: the model, its handler, its labels."""

    name: ClassVar[str] = "torchserve"
    formats: ClassVar[tuple[str, ...]] = archive.FORMATS
    extra: ClassVar[str] = "torch"
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset({"inputs", "layout", "runtime", "exporter"})

    def sniff(self, path: Path) -> Sniffed | None:
        """By `MAR-INF/MANIFEST.json` in a zip archive, a compressed tar archive or a folder."""
        kind = archive.kind_of(path)
        return None if kind is None else Sniffed(kind, 100, runs_code=True)

    def requirements(self, path: Path, options: ImportOptions) -> tuple[str, ...]:
        """What a handler that is kept was archived with."""
        from modelworks.ext.importers.torchserve import read  # noqa: PLC0415 - as `read`

        return read.requirements(path, options)

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Convert the model, or keep it with its handler; see `core.seams.Importer.read`."""
        from modelworks.ext.importers.torchserve import read  # noqa: PLC0415 - imports numpy

        return read.read(path, into, options)
