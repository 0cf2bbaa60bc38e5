"""Recognises LightGBM models; the reading is in `read`, which imports the library."""

import re
from pathlib import Path
from typing import ClassVar

from modelworks.core.errors import MissingExtraError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.importers.pickles.scan import scan

_TEXT = re.compile(rb"tree\r?\nversion=v\d")
_DUMP = re.compile(rb'\s*\{\s*"name"\s*:\s*"tree"')
_HEAD = 4096


class LightgbmImporter:
    """`Booster`, `LGBMClassifier`, `LGBMRegressor`, `LGBMRanker`."""

    name: ClassVar[str] = "lightgbm"
    formats: ClassVar[tuple[str, ...]] = (
        "lightgbm-txt",
        "lightgbm-pickle",
        "lightgbm-joblib",
        "lightgbm-json-dump",
    )
    extra: ClassVar[str] = "lightgbm"
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset({"layout", "runtime"})

    def sniff(self, path: Path) -> Sniffed | None:
        """The text format by its first lines, pickles by the class they begin with."""
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD)
        except OSError:
            return None
        if _TEXT.match(head):
            return Sniffed("lightgbm-txt", 100, runs_code=False)
        if _DUMP.match(head):
            return Sniffed("lightgbm-json-dump", 100, runs_code=False)
        found = scan(path)
        if found.root.startswith("lightgbm."):
            return Sniffed(f"lightgbm-{found.writer}", 95, runs_code=True)
        return None

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Convert to `into/model.onnx`, or keep it; see `core.seams.Importer.read`."""
        try:
            from modelworks.ext.importers.lightgbm import read  # noqa: PLC0415 - imports LightGBM
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "reading LightGBM models", self.extra, str(error.name)
            ) from error
        sniffed = self.sniff(path)
        return read.read(path, into, options, sniffed.format if sniffed else "")
