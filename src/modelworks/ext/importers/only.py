"""Finds the one model file that a user means by a path: the file, or the only one in a folder."""

from pathlib import Path


def only_file(path: Path, ending: str, favourite: str = "") -> Path | None:
    """The file itself, or at the top of a folder the only one of an ending.

    Args:
        path: what the user named.
        ending: `.onnx`.
        favourite: name of the one that is meant where there are several.

    Returns:
        None where there is no such file, or more than one.
    """
    if path.is_file():
        return path
    found = sorted(path.glob(f"*{ending}")) if path.is_dir() else []
    if favourite and path / favourite in found:
        return path / favourite
    return found[0] if len(found) == 1 else None
