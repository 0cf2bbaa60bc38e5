"""OpenVINO IR: served as it is, so nothing is converted, only checked."""

from pathlib import Path
from typing import ClassVar

from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.importers.only import only_file

ENDING = ".xml"
_HEAD = 4096


class OpenVinoImporter:
    """Reads a `.xml` file with its `.bin` beside it, and folders with one such pair."""

    name: ClassVar[str] = "openvino"
    formats: ClassVar[tuple[str, ...]] = ("openvino-ir",)
    extra: ClassVar[str] = "openvino"
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset({"layout"})

    def sniff(self, path: Path) -> Sniffed | None:
        """100 for XML whose root is a `net` of layers; nothing is told by the name alone."""
        try:
            file = only_file(path, ENDING)
            if file is None:
                return None
            with file.open("rb") as stream:
                head = stream.read(_HEAD)
        except OSError:
            return None
        start = head.find(b"<net ")
        before = head[: max(start, 0)].lstrip(b"\xef\xbb\xbf \t\r\n")
        if start < 0 or (before and not before.startswith(b"<")):
            return None
        return Sniffed("openvino-ir", 100 if b"<layer" in head else 60, runs_code=False)

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Check the pair and copy it, see `core.seams.Importer.read`."""
        from modelworks.ext.importers.openvino import check  # noqa: PLC0415 - reaches the engine

        return check.read(path, into, options)
