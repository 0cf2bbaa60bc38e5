"""Runs code that the owner wrote: its modules are found, its mistakes are told by file and line."""

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from modelworks.core.errors import CrashedError, InvalidError, ModelworksError

_LONGEST = 300


def first_on_path(folder: Path) -> None:
    """Let the modules of a folder be found before all others."""
    place = str(folder)
    if place in sys.path:
        sys.path.remove(place)
    sys.path.insert(0, place)
    sys.dont_write_bytecode = True  # the folder cannot be written


def module_of(folder: Path, name: str) -> ModuleType:
    """A module of the owner's folder, which is first on the path from now on.

    Raises:
        InvalidError: it cannot be imported; file and line are named.
    """
    first_on_path(folder)
    known = getattr(sys.modules.get(name), "__file__", None)
    if known is not None and not Path(known).is_relative_to(folder):
        del sys.modules[name]  # of another folder, looked at before
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise InvalidError(f"{name}.py cannot be imported: {told(error, folder)}") from error


def told(error: BaseException, folder: Path) -> str:
    """An error of the owner's code in one line: its file and line, its class, its words."""
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename)
        if file.is_relative_to(folder):
            where = f"{file.relative_to(folder)}, line {frame.lineno}: "
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{Path(error.filename).name}, line {error.lineno}: "
    said = " ".join(str(error)[: _LONGEST * 8].split()).replace(f"{folder}/", "")
    text = f"{where}{type(error).__name__}: {said}"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def failure(error: Exception, folder: Path) -> ModelworksError:
    """What a `predict` raised, for the caller.

    A `ValueError` says that the values are not what the model takes: the caller's mistake. All
    else is the model's.
    """
    if isinstance(error, ModelworksError):
        return error
    if isinstance(error, ValueError):
        return InvalidError(f"the model refuses this input: {told(error, folder)}")
    return CrashedError(f"the model failed: {told(error, folder)}")
