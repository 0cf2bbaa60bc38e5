"""What a model was logged with: the lines of `requirements.txt`, or those of `conda.yaml`."""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.ext.formats import plain_yaml
from modelworks.ext.formats.mlmodel import MlModel

_FILE, _CONDA, _PYTHON = "requirements.txt", "conda.yaml", "python_env.yaml"
_MOST_BYTES = 256 << 10
_PINNED = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)")


def logged(model: MlModel) -> tuple[str, ...]:
    """Requirement lines as they stand there, without comments; empty = none were logged.

    Raises:
        InvalidError: the file cannot be read as one.
    """
    path = model.folder / _FILE
    if path.is_file():
        return _lines(path)
    conda = model.folder / _CONDA
    if conda.is_file():
        return _conda(conda)
    return ()


def needed(model: MlModel) -> tuple[str, ...]:
    """The same, or nothing where the present environment has exactly these versions.

    Raises:
        InvalidError: as `logged`, or there is no pin of MLflow to run the model with.
        RefusedError: written by another minor version of Python than this one.
    """
    lines = logged(model)
    _same_python(model)
    if not any(line.lower().startswith("mlflow") for line in lines):
        pin = model.origin.get("mlflow_version")
        if not pin:
            raise InvalidError(
                f"{model.folder.name}: no {_FILE} says which MLflow runs this model; add one with "
                "its pinned requirements (mlflow==3.17.2)",
                field="file",
            )
        lines = (f"mlflow=={pin}", *lines)
    return () if all(_here(line) for line in lines) else lines


def _lines(path: Path) -> tuple[str, ...]:
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise InvalidError(f"{path.name}: {size} bytes, {_MOST_BYTES} are allowed", field="file")
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidError(f"{path.name}: no UTF-8 text", field="file") from error
    cut = (line.partition(" #")[0].strip() for line in text.splitlines())
    return tuple(line for line in cut if line and not line.startswith("#"))


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


def _here(line: str) -> bool:
    """Whether a pinned line is what is installed."""
    pinned = _PINNED.fullmatch(line)
    if pinned is None:
        return False
    try:
        return version(pinned[1]).partition("+")[0] == pinned[2]
    except PackageNotFoundError:
        return False
