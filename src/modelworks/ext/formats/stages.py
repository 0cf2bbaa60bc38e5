"""A model cut into stages that run one after the other: what lies in the artifact's folder.

`stages.json` and one folder a stage, each with a model file of its own. A stage takes exactly what
the one before it gives, in that order; names differ where one tensor is taken and handed on. The
first takes what the model takes, the last gives what the model gives. Above the stages lies what
the steps before the model need.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelworks.core import codec, digest
from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Signature, TensorSpec

STAGES: Final = "stages"
"""The artifact's format."""

FILE: Final = "stages.json"
VERSION: Final = 1
MOST: Final = 16
"""Stages of one model."""

_LARGEST: Final = 1 << 22  # bytes of the file
_FOLDER: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True, slots=True)
class Stage:
    """One of them.

    Attributes:
        folder: below the artifact's.
        inputs: what it takes, in the order of the stage before it.
        outputs: what it gives.
        digest: of its folder: who runs it elsewhere has the same one.
        weight_bytes: of its weights.
        format: of its model.
        engine: that runs it.
        options: the engine's own settings.
    """

    folder: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    digest: str = ""
    weight_bytes: int = 0
    format: str = "onnx"
    engine: str = "onnxruntime"
    options: tuple[tuple[str, str], ...] = ()

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""
        return Signature(self.inputs, self.outputs)


@dataclass(frozen=True, slots=True)
class Stages:
    """What `stages.json` says.

    Attributes:
        stages: in their order.
        by: what was shared out between them: `bytes` of weights, or `time`.
        compared: they gave the bits that the whole gave, when they were cut.
        version: of this format.
    """

    stages: tuple[Stage, ...]
    by: str = "bytes"
    compared: bool = False
    version: int = VERSION

    @property
    def signature(self) -> Signature:
        """Of the whole."""
        return Signature(self.stages[0].inputs, self.stages[-1].outputs)


def digest_of(folder: Path) -> str:
    """Of the files of one stage."""
    return digest.of_entries(digest.tree(folder))


def write_stages(into: Path, stages: Stages) -> None:
    """Write the file; the folders are the caller's."""
    (into / FILE).write_text(json.dumps(codec.encode(stages), indent=1) + "\n")


def read_stages(folder: Path, elsewhere: frozenset[int] = frozenset()) -> Stages:
    """What an artifact says.

    Args:
        folder: of the artifact.
        elsewhere: numbers of the stages whose folders need not be here, from 0.

    Raises:
        InvalidError: nothing, or what cannot be; `field` names it.
    """
    file = Path(folder) / FILE
    try:
        if file.stat().st_size > _LARGEST:
            raise InvalidError(f"{FILE} is larger than {_LARGEST} bytes", field="path")
        data: Any = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidError(f"{FILE} cannot be read: {error}"[:300], field="path") from error
    found = codec.decode(Stages, data)
    if found.version != VERSION:
        raise InvalidError(
            f"{FILE} is of version {found.version}; this Modelworks reads {VERSION}",
            field="version",
        )
    if not 1 <= len(found.stages) <= MOST:
        raise InvalidError(
            f"{FILE} has {len(found.stages)} stages; 1 to {MOST} are wanted", field="stages"
        )
    _check_folders(Path(folder), found, elsewhere)
    _check_ends(found)
    return found


def _check_folders(folder: Path, found: Stages, elsewhere: frozenset[int]) -> None:
    names = [stage.folder for stage in found.stages]
    for number, stage in enumerate(found.stages):
        where = f"{FILE}: stage {number}"
        if not _FOLDER.fullmatch(stage.folder) or names.count(stage.folder) > 1:
            raise InvalidError(
                f"{where} has a folder '{stage.folder[:40]}': a name of its own is wanted, of "
                "small letters and digits",
                field="folder",
            )
        if stage.format == STAGES:
            raise InvalidError(f"{where} is cut into stages itself", field="format")
        place = folder / stage.folder
        if number not in elsewhere and (place.is_symlink() or not place.is_dir()):
            raise InvalidError(
                f"{where}: the artifact has no folder '{stage.folder}'", field="path"
            )


def _check_ends(found: Stages) -> None:
    for number, (one, after) in enumerate(zip(found.stages, found.stages[1:], strict=False)):
        gives, takes = (
            [(spec.datatype, spec.shape) for spec in side] for side in (one.outputs, after.inputs)
        )
        if gives != takes:
            raise InvalidError(
                f"{FILE}: what stage {number} gives is not what stage {number + 1} takes",
                field="stages",
            )
