"""Chooses one of a model's flavours, the one that loses least, and finds its file."""

from dataclasses import dataclass
from pathlib import Path

from modelworks.core.errors import RefusedError
from modelworks.ext.formats.mlmodel import MlModel, inside

PYFUNC = "mlflow-pyfunc"

_PATHS = {
    "onnx": ("data",),
    "sklearn": ("pickled_model",),
    "xgboost": ("data",),
    "lightgbm": ("data",),
    "keras": ("data",),
    "tensorflow": ("data", "saved_model_dir"),
    "pytorch": ("model_data",),
}
"""Flavours that an importer of ours reads, the safest form first, and where their file is named."""

FORMATS = (*(f"mlflow-{name}" for name in _PATHS), PYFUNC)

# What MLflow calls the model in the folder that a flavour names.
_FILES = ("model.pt2", "model.pth", "model.keras", "model.h5", "model")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A flavour.

    Attributes:
        name: of it; "" = only MLflow itself can run the model.
        file: the model file or folder; None with `name` "".
        others: flavours that were passed over.
    """

    name: str
    file: Path | None
    others: tuple[str, ...]


def format_of(model: MlModel) -> str:
    """The source format: `mlflow-sklearn`, ..., `mlflow-pyfunc`."""
    return next((f"mlflow-{name}" for name in _PATHS if name in model.flavors), PYFUNC)


def choose(model: MlModel) -> Chosen:
    """The best flavour and its file.

    Raises:
        InvalidError: the file is not there.
        RefusedError: nothing in the folder can be run at all.
    """
    name = next((name for name in _PATHS if name in model.flavors), "")
    others = tuple(sorted(model.flavors.keys() - {name, "python_function"}))
    if not name:
        if "python_function" not in model.flavors:
            raise RefusedError(
                f"MLmodel has only the flavours {', '.join(others)}: none is read here, and "
                "without python_function MLflow cannot run it either",
                field="file",
            )
        return Chosen("", None, others)
    settings = model.flavors[name]
    key = next((key for key in _PATHS[name] if settings.get(key)), _PATHS[name][0])
    given = settings.get(key) or model.flavors.get("python_function", {}).get("data")
    return Chosen(name, _file(inside(model.folder, given, f"flavors.{name}.{key}")), others)


def _file(path: Path) -> Path:
    """The model in a folder of MLflow's; another folder is the model itself."""
    if path.is_file():
        return path
    found = [path / name for name in _FILES if (path / name).exists()]
    return found[0] if found else path
