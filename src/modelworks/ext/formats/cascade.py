"""A small form and a large one of the same model: the large one is asked where the small is unsure.

The artifact is a folder: `cascade.json`, the folders of both forms, and above them what the steps
before the model need.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core import codec
from modelworks.core.errors import InvalidError

CASCADE: Final = "cascade"
"""The artifact's format."""

FILE: Final = "cascade.json"
SMALL, LARGE = "small", "large"
"""Folders of the two forms."""

VERSION: Final = 1
_LARGEST: Final = 1 << 16  # bytes of the file


@dataclass(frozen=True, slots=True)
class Stage:
    """One of the two forms.

    Attributes:
        format: of it.
        engine: that runs it.
        options: the engine's own settings.
    """

    format: str
    engine: str
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Cascade:
    """What `cascade.json` says.

    Attributes:
        small: asked for every row.
        large: asked for rows that the small one is not sure of.
        output: name of the output whose columns are classes.
        logits: that output holds logits, and no probabilities.
        threshold: probability of the small one's own class; rows below it go on.
        version: of this format.
    """

    small: Stage
    large: Stage
    output: str
    logits: bool
    threshold: float
    version: int = VERSION


def write_cascade(into: Path, cascade: Cascade) -> None:
    """Write the file; the folders are the caller's."""
    (into / FILE).write_text(json.dumps(codec.encode(cascade), indent=1) + "\n")


def read_cascade(folder: Path) -> Cascade:
    """What an artifact says.

    Raises:
        InvalidError: nothing, or what cannot be; `field` names it.
    """
    file = folder / FILE
    try:
        if file.stat().st_size > _LARGEST:
            raise InvalidError(f"{FILE} is larger than {_LARGEST} bytes", field="path")
        data = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidError(f"{FILE} cannot be read: {error}"[:300], field="path") from error
    found = codec.decode(Cascade, data)
    if found.version != VERSION:
        raise InvalidError(
            f"{FILE} is of version {found.version}; this Modelworks reads {VERSION}",
            field="version",
        )
    if not (math.isfinite(found.threshold) and 0 <= found.threshold <= 1):
        raise InvalidError(f"{FILE}: the threshold is no probability", field="threshold")
    for name, stage in ((SMALL, found.small), (LARGE, found.large)):
        if stage.format == CASCADE:
            raise InvalidError(f"{FILE}: {name} is a cascade itself", field="format")
        if (folder / name).is_symlink() or not (folder / name).is_dir():
            raise InvalidError(f"{FILE}: the artifact has no folder '{name}'", field="path")
    return found


def sureness(answers: Any, *, logits: bool) -> Any:
    """Probability of each row's most probable class.

    Args:
        answers: `[rows, classes]`, at least one class.
        logits: they are no probabilities yet.

    Returns:
        `[rows]`, NaN where a row's answers are.
    """
    if not logits:
        return answers.max(axis=1)
    with np.errstate(invalid="ignore"):  # a row of infinities is sure of nothing
        return 1 / np.exp(answers - answers.max(axis=1, keepdims=True)).sum(axis=1)
