"""Recognises MLflow's model folders; the reading is in `read`. MLflow itself is not needed."""

from pathlib import Path
from typing import ClassVar

from modelworks.core.errors import MissingExtraError, ModelworksError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.formats import mlmodel
from modelworks.ext.importers.mlflow import flavors
from modelworks.plugins.load import available, load

_YAML = ("pyyaml==6.0.3",)
"""What reading `MLmodel` takes, in an environment of another importer's."""


class _Pinned:
    """Every environment that the importers of flavours pin, with what we need in it."""

    def __get__(self, instance: object, owner: type) -> tuple[tuple[str, ...], ...]:
        """Asked by the import's parent, which imports importers anyway."""
        found: list[tuple[str, ...]] = []
        for name in sorted(available("importers")):
            if name == owner.name:  # type: ignore[attr-defined] # the importer below
                continue
            try:
                pins = getattr(load("importers", name), "pinned", ())
            except (MissingExtraError, ImportError, AttributeError):
                continue
            found += [(*each, *_YAML) for each in pins]
        return tuple(found)


class MlflowImporter:
    """A folder with an `MLmodel` file: the flavour that loses least, by its own importer."""

    name: ClassVar[str] = "mlflow"
    formats: ClassVar[tuple[str, ...]] = flavors.FORMATS
    extra: ClassVar[str] = ""
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset(
        {"inputs", "layout", "factory", "runtime", "exporter"}
    )
    pinned = _Pinned()

    def sniff(self, path: Path) -> Sniffed | None:
        """By the file `MLmodel` in a folder."""
        try:
            if not (path / mlmodel.MLMODEL).is_file():
                return None
            chosen = flavors.format_of(mlmodel.read(path))
        except OSError:
            return None
        except ModelworksError:  # it is one of ours, and damaged: reading it says how
            chosen = flavors.PYFUNC
        return Sniffed(chosen, 100, runs_code=chosen != "mlflow-onnx")

    def requirements(self, path: Path, options: ImportOptions) -> tuple[str, ...]:
        """What a custom model was logged with, or what the flavour's own importer needs."""
        from modelworks.ext.importers.mlflow import read  # noqa: PLC0415 - as `read`

        lines, own = read.requirements(path, options)
        return lines if own or not lines else (*lines, *_YAML)

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Convert, or keep a custom model as it is; see `core.seams.Importer.read`."""
        from modelworks.ext.importers.mlflow import read  # noqa: PLC0415 - imports numpy

        return read.read(path, into, options)
