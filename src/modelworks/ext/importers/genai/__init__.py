"""Folders of onnxruntime-genai's model builder: served as they are, so only checked."""

from pathlib import Path
from typing import ClassVar, Final

from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed

CONFIG: Final = "genai_config.json"


class GenaiImporter:
    """Reads folders with a `genai_config.json`: decoders of text."""

    name: ClassVar[str] = "genai"
    formats: ClassVar[tuple[str, ...]] = ("genai",)
    extra: ClassVar[str] = "language"
    experimental: ClassVar[bool] = True
    honours: ClassVar[frozenset[str]] = frozenset()

    def sniff(self, path: Path) -> Sniffed | None:
        """100 for a folder with the configuration, which no other has."""
        try:
            found = path.is_dir() and (path / CONFIG).is_file()
        except OSError:
            return None
        return Sniffed("genai", 100, runs_code=False) if found else None

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Check the folder and copy what belongs to it, see `core.seams.Importer.read`."""
        from modelworks.ext.importers.genai import check  # noqa: PLC0415 - imports the onnx library

        return check.read(path, into, options)
