"""Recognises Keras's and TensorFlow's files; they are read in an environment of their own."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from modelworks.core.errors import MissingExtraError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.importers.keras import pins
from modelworks.ext.importers.keras.files import Format, recognise

if TYPE_CHECKING:
    from modelworks.ext.importers.keras.scan import Looked


class KerasImporter:
    """Keras archives, Keras files in HDF5, and TensorFlow's SavedModel folders."""

    name: ClassVar[str] = "keras"
    formats: ClassVar[tuple[str, ...]] = tuple(Format)
    extra: ClassVar[str] = "keras"
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset({"runtime"})
    pinned: ClassVar[tuple[tuple[str, ...], ...]] = (pins.requirements(),)

    def sniff(self, path: Path) -> Sniffed | None:
        """By magic bytes, and by the names inside."""
        found = recognise(path)
        return Sniffed(found[0].value, found[1], runs_code=True) if found else None

    def requirements(self, path: Path, options: ImportOptions) -> tuple[str, ...]:
        """TensorFlow's environment, for a file that may be opened; see `NeedsEnvironment`."""
        _scanned(path, options)
        return pins.requirements()

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Convert the file to `into/model.onnx`, or keep it; see `core.seams.Importer`."""
        looked = _scanned(path, options)
        try:
            from modelworks.ext.importers.keras import read  # noqa: PLC0415 - imports TensorFlow
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "reading Keras and TensorFlow models", self.extra, str(error.name)
            ) from error
        return read.read(path, into, options, looked)


def _scanned(path: Path, options: ImportOptions) -> "Looked":
    """Look into the file before anything of TensorFlow is imported."""
    try:
        from modelworks.ext.importers.keras import scan  # noqa: PLC0415 - imports h5py
    except ModuleNotFoundError as error:
        raise MissingExtraError("looking into Keras files", "keras", str(error.name)) from error
    return scan.look(path, trust=options.trust)
