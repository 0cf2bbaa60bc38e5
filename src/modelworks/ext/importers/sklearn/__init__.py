"""scikit-learn models: pickle, joblib and skops files, converted to ONNX by skl2onnx.

Only the recognising is here; the reading is in `convert`, which imports the libraries.
"""

import zipfile
from pathlib import Path
from typing import ClassVar

from modelworks.core.errors import MissingExtraError, RefusedError
from modelworks.core.imports import Imported, ImportOptions, Runtime
from modelworks.core.seams import Sniffed
from modelworks.ext.importers.pickles.scan import scan

_SCHEMA = "schema.json"


class SklearnImporter:
    """Any estimator or pipeline that skl2onnx converts."""

    name: ClassVar[str] = "sklearn"
    formats: ClassVar[tuple[str, ...]] = ("sklearn-pickle", "sklearn-joblib", "sklearn-skops")
    extra: ClassVar[str] = "sklearn"
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset({"inputs", "layout", "runtime"})

    def sniff(self, path: Path) -> Sniffed | None:
        """Pickles by the class they begin with, skops by the schema in the archive."""
        if path.is_dir():
            inner = _with_modules(path)
            known = _sniffed(inner) if inner is not None else None
            return known and Sniffed(known.format, 50, runs_code=True)
        return _sniffed(path) if path.is_file() else None

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Convert to `into/model.onnx`, or keep it; see `core.seams.Importer.read`."""
        native = options.runtime is Runtime.NATIVE
        if path.is_dir() and not (native and options.trust):
            raise RefusedError(
                f"{path.name}: a model with modules of its own is code, which no converter takes: "
                "--trust --runtime native serves it as it is, in a process of its own",
                field="file",
            )
        try:
            from modelworks.ext.importers.sklearn import convert  # noqa: PLC0415 - imports scikit-learn
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "reading scikit-learn models", self.extra, str(error.name)
            ) from error
        sniffed = self.sniff(path)
        source_format = sniffed.format if sniffed else "sklearn-pickle"
        if native:
            from modelworks.ext.importers.sklearn import native as kept  # noqa: PLC0415 - the same

            return kept.read(path, into, options, source_format)
        return convert.read(path, into, options, source_format)


def _sniffed(path: Path) -> Sniffed | None:
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


def _with_modules(path: Path) -> Path | None:
    """The only model file of a folder that otherwise holds Python modules."""
    try:
        names = [item for item in path.iterdir() if item.is_file()]
    except OSError:
        return None
    models = [item for item in names if _named_like_a_pickle(item)]
    modules = [item for item in names if item.suffix == ".py"]
    if len(models) != 1 or not modules or any(item.name == "model.py" for item in modules):
        return None
    return models[0]


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
