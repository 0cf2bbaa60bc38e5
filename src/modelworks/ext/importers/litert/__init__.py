"""LiteRT (TensorFlow Lite) files: served as they are, so nothing is converted, only checked."""

from pathlib import Path
from typing import ClassVar

from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.importers.only import only_file

ENDING = ".tflite"
_IDENTIFIER = b"TFL3"


class LiteRtImporter:
    """Reads `.tflite` files, and folders with one of them."""

    name: ClassVar[str] = "litert"
    formats: ClassVar[tuple[str, ...]] = ("tflite",)
    extra: ClassVar[str] = "litert"
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset({"layout"})

    def sniff(self, path: Path) -> Sniffed | None:
        """100 for the mark of a LiteRT flatbuffer, 50 for a file that is only named like one."""
        try:
            file = only_file(path, ENDING)
            if file is None:
                return None
            with file.open("rb") as stream:
                head = stream.read(8)
        except OSError:
            return None
        if head[4:] == _IDENTIFIER:
            return Sniffed("tflite", 100, runs_code=False)
        if file.suffix.lower() == ENDING:
            return Sniffed("tflite", 50, runs_code=False)
        return None

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Check the file and copy it, see `core.seams.Importer.read`."""
        from modelworks.ext.importers.litert import check  # noqa: PLC0415 - reaches the engine

        return check.read(path, into, options)
