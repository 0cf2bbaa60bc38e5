"""A Python folder: code of the owner's that loads and runs a model which nothing else understands.

model.py           load(folder) -> model; predict(model, inputs) -> outputs
requirements.txt   every line pinned (numpy==2.4.6); an environment of its own is made of them
signature.json     what goes in and out, where --input, --sample and a trial do not say it
"""

from pathlib import Path
from typing import ClassVar

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.importers.python.requirements import pinned_lines

_MODEL = "model.py"


class PythonImporter:
    """Any folder with a `model.py` that defines `predict`; only by the owner's word."""

    name: ClassVar[str] = "python"
    formats: ClassVar[tuple[str, ...]] = ("python-folder",)
    extra: ClassVar[str] = ""
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset({"inputs", "runtime"})

    def sniff(self, path: Path) -> Sniffed | None:
        """A folder with `model.py` in it; an `MLmodel` beside it says that it is MLflow's."""
        try:
            if not (path / _MODEL).is_file() or (path / "MLmodel").exists():
                return None
        except OSError:
            return None
        return Sniffed("python-folder", 80, runs_code=True)

    def requirements(self, path: Path, options: ImportOptions) -> tuple[str, ...]:
        """The lines of `requirements.txt`; see `core.seams.NeedsEnvironment`."""
        _vouched(path, options)
        return pinned_lines(path)

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Copy the folder and try it; see `core.seams.Importer.read`."""
        _vouched(path, options)
        if not (path / _MODEL).is_file():
            raise InvalidError(f"{path.name}: no folder with a {_MODEL}", field="file")
        # Imported here: sniffing reads no sample files and needs no numpy.
        from modelworks.ext.importers.python import read  # noqa: PLC0415 - as said

        return read.read(path, into, options)


def _vouched(path: Path, options: ImportOptions) -> None:
    """Refuse before anything of the folder runs or is installed."""
    if not options.trust:
        raise RefusedError(
            f"{path.name}: a Python folder is code, and nothing runs it without your word: --trust "
            "says that you vouch for it",
            field="trust",
        )
