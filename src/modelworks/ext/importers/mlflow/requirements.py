"""What a model was logged with: the lines of `requirements.txt`, or those of `conda.yaml`."""

import sys
from pathlib import Path
from typing import Any

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.ext.formats import plain_yaml
from modelworks.ext.formats.mlmodel import MlModel
from modelworks.ext.importers.python.requirements import pinned

_FILE, _CONDA, _PYTHON = "requirements.txt", "conda.yaml", "python_env.yaml"
_MOST_BYTES = 256 << 10


def logged(model: MlModel) -> tuple[str, ...]:
    """Requirement lines as they stand there, without comments; empty = none were logged.

    Raises:
        InvalidError: the file cannot be read as one.
    """
    path = model.folder / _FILE
    if path.is_file():
        if path.stat().st_size > _MOST_BYTES:
            raise InvalidError(f"{_FILE} is longer than {_MOST_BYTES} bytes", field="file")
        cut = (line.partition(" #")[0].strip() for line in _text(path).splitlines())
        return tuple(line for line in cut if line and not line.startswith("#"))
    conda = model.folder / _CONDA
    return _conda(conda) if conda.is_file() else ()


def needed(model: MlModel) -> tuple[str, ...]:
    """The same with their versions, MLflow's own among them: the environment that it runs in.

    Raises:
        InvalidError: as `logged`, a line leaves its version open, or nothing says which MLflow.
        RefusedError: written by another minor version of Python than this one.
    """
    lines = logged(model)
    _same_python(model)
    if not any(line.lower().startswith("mlflow") for line in lines):
        version = model.origin.get("mlflow_version")
        if not version:
            raise InvalidError(
                f"{model.folder.name}: no {_FILE} says which MLflow runs this model; add one with "
                "its pinned requirements (mlflow==3.17.2)",
                field="file",
            )
        lines = (f"mlflow=={version}", *lines)
    return pinned(lines, _FILE)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidError(f"{path.name}: no UTF-8 text", field="file") from error


def _conda(path: Path) -> tuple[str, ...]:
    data = plain_yaml.read(path)
    entries = data.get("dependencies") if isinstance(data, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        lines = entry.get("pip") if isinstance(entry, dict) else None
        if isinstance(lines, list):
            return tuple(str(line).strip() for line in lines)
    return ()


def _same_python(model: MlModel) -> None:
    """Functions that cloudpickle wrote are byte code: of one minor version of Python."""
    settings = model.flavors.get("python_function", {})
    written = str(settings.get("python_version") or _python_of(model.folder) or "")
    minor = ".".join(written.split(".")[:2])
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    if minor and minor != mine and settings.get("cloudpickle_version"):
        raise RefusedError(
            f"{model.folder.name}: its code was pickled by Python {written}, and Modelworks runs "
            f"on {mine}, which cannot read it: run Modelworks on Python {minor}, or log the model "
            "again from code (python_model='model.py')",
            field="file",
        )


def _python_of(folder: Path) -> Any:
    path = folder / _PYTHON
    data = plain_yaml.read(path) if path.is_file() else None
    return data.get("python") if isinstance(data, dict) else None
