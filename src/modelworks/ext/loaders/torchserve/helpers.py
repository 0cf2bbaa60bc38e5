"""Small functions that handlers call, as TorchServe's `ts.utils` has them."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


class PredictionException(Exception):  # noqa: N818 - TorchServe's name
    """A handler's refusal, with the status to answer."""

    def __init__(self, message: str, error_code: int = 500) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """TorchServe measures a step; here it only runs."""
    return function


def list_classes_from_module(module: ModuleType, parent_class: Any = None) -> list[type]:
    """The classes that a module itself defines."""
    found = [
        each
        for _, each in sorted(vars(module).items())
        if isinstance(each, type) and each.__module__ == module.__name__
    ]
    return [each for each in found if parent_class is None or issubclass(each, parent_class)]


def load_label_mapping(mapping_file_path: str) -> dict[str, str] | None:
    """Class names by index; None where the archive has none."""
    path = Path(mapping_file_path)
    if not path.is_file():
        return None
    data = json.loads(path.read_bytes())
    listed = data.get("object_type_names")
    if isinstance(listed, list):
        return {str(at): name for at, name in enumerate(listed)}
    return {key: name[-1] if isinstance(name, list) else name for key, name in data.items()}


def map_class_to_label(
    probs: list[Any], mapping: dict[str, str] | None = None, lbl_classes: Any = None
) -> list[dict[str, Any]]:
    """One `{name: value}` a row; the index is the name where there is no mapping."""
    classes = lbl_classes or [range(len(row)) for row in probs]
    return [
        {(mapping[str(at)] if mapping else str(at)): value for at, value in zip(*row, strict=False)}
        for row in zip(classes, probs, strict=True)
    ]
