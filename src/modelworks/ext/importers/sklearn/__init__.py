"""scikit-learn models: pickle, joblib and skops files, converted to ONNX by skl2onnx.

Only the recognising is here; the reading is in `convert`, which imports the libraries.
"""

import zipfile
from pathlib import Path
from typing import ClassVar

from modelworks.core.errors import MissingExtraError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.importers.pickles.scan import scan

_SCHEMA = "schema.json"


class SklearnImporter:
    """Any estimator or pipeline that skl2onnx converts."""

    name: ClassVar[str] = "sklearn"
    formats: ClassVar[tuple[str, ...]] = ("sklearn-pickle", "sklearn-joblib", "sklearn-skops")
    extra: ClassVar[str] = "sklearn"
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset({"inputs", "layout"})

    def sniff(self, path: Path) -> Sniffed | None:
        """Pickles by the class they begin with, skops by the schema in the archive."""
        if not path.is_file():
            return None
        if _is_skops(path):
            return Sniffed("sklearn-skops", 100, runs_code=True)
        found = scan(path)
        if found.root.startswith("sklearn."):
            return Sniffed(f"sklearn-{found.writer}", 95, runs_code=True)
        if any(name.startswith("sklearn.") for name in found.globals):
            return Sniffed(f"sklearn-{found.writer}", 60, runs_code=True)
        if found.globals or _named_like_a_pickle(path):
            return Sniffed(f"sklearn-{found.writer}", 10, runs_code=True)
        return None

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Convert to `into/model.onnx`; see `core.seams.Importer.read`."""
        try:
            from modelworks.ext.importers.sklearn import convert  # noqa: PLC0415 - imports scikit-learn
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "reading scikit-learn models", self.extra, str(error.name)
            ) from error
        sniffed = self.sniff(path)
        return convert.read(path, into, options, sniffed.format if sniffed else "sklearn-pickle")


def _is_skops(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return False
        with zipfile.ZipFile(path) as archive:
            return _SCHEMA in archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return path.suffix.lower() == ".skops"


def _named_like_a_pickle(path: Path) -> bool:
    return path.suffix.lower() in {".pkl", ".pickle", ".joblib", ".skops"}
